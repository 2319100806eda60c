//! `sys/storage`: a backup of everything, encrypted under the seal, and the way back.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::keyholder::standing;
use crate::backup::take::{Taken, UPLOAD};
use crate::http::Permit;
use crate::http::ask::{Ask, NodeAsk};
use crate::http::body::ReadBodyError;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::http::stream::chunks;
use crate::ledger::EventKind;
use crate::node::Actor;
use crate::random;
use crate::seal::shamir::Share;

/// `GET sys/storage/backup`: the archive, while everybody else is served. It is recorded before its first byte leaves.
pub(super) async fn take(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    // One at a time: each takes as much disk as the store and the ledger.
    let turn = Turn::take(&ask.authority.foundation.backing_up).ok_or_else(|| {
        Problem::refused("already-in-progress", "another backup is being taken")
            .with_hint("wait until it has ended; its file is as good as another")
    })?;
    let event = ask
        .authority
        .ledger
        .event(EventKind::Backup)
        .caller(&permit.session().caller)
        .text("request_id", ask.request_id);
    ask.authority.ledger.record(event).await?;
    let authority = Arc::clone(ask.authority);
    let taken = tokio::task::spawn_blocking(move || Taken::of(&authority).map(|taken| (taken, turn)))
        .await
        .map_err(|error| Problem::internal(&error))?;
    let (taken, turn) = taken.map_err(|error| Problem::internal(&error))?;
    let (mut writer, chunks) = chunks();
    // A thread of its own: it may wait for a slow peer for as long as that takes.
    let send = move || {
        let _turn = turn;
        match taken.write(&mut writer).and_then(|()| writer.flush()) {
            Ok(()) => tracing::info!(position = taken.head().position, "a backup was taken"),
            Err(error) => {
                tracing::warn!(%error, "a backup was broken off");
                writer.fail(error);
            }
        }
    };
    let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(send);
    thread.map_err(|error| Problem::internal(&error))?;
    Ok(Reply::stream(chunks))
}

/// Where a client puts key shares, one a header: the body is the backup.
const SHARE: &str = "x-signet-key-share";
/// Bytes of a refused body that are read all the same, and how long that may take: whoever is refused holds nothing here.
const DRAINED: usize = 4 << 20;
const DRAINING: Duration = Duration::from_secs(5);
/// What may stand in front of a backup, and how long it may take to come.
const FRONT: usize = 256 << 10;
const FRONT_COMING: Duration = Duration::from_secs(30);

/// `PUT sys/storage/restore`: the body is a backup. On a server that nobody has initialised anybody may send one, as with
/// `sys/init`: it must open under the configured seal, or under the shares that come with it. Everywhere else it takes a
/// policy's permission. When it is answered the data is in place, and the server starts anew on it.
///
/// With `check=true` the body is only what stands in front of one, and nothing happens: whoever is about to send gigabytes
/// learns first that they would be taken.
pub(super) async fn restore(ask: &NodeAsk<'_>, mut body: Body) -> Result<Reply, Problem> {
    let answer = answer_restore(ask, &mut body).await;
    if answer.is_err() {
        // A client that is still sending would see its connection break, and no answer.
        let _slow_or_not = tokio::time::timeout(DRAINING, discard(body)).await.is_err();
    }
    answer
}

/// Reads a body without keeping any of it.
async fn discard(mut body: Body) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
        if bytes > DRAINED {
            return;
        }
    }
}

async fn answer_restore(ask: &NodeAsk<'_>, body: &mut Body) -> Result<Reply, Problem> {
    let foundation = ask.node.foundation();
    let actor = if ask.node.summary().initialised {
        standing(ask, None).await?
    } else {
        Actor::Address(ask.peer)
    };
    if !ask.node.can_restart() {
        return Err(Problem::NotOffered("restoring over the API in dev mode"));
    }
    let turn = Turn::take(&foundation.restoring).ok_or_else(|| {
        Problem::refused("already-in-progress", "another backup is being restored").with_hint("wait until it has ended")
    })?;
    let shares = ask.head.headers.get_all(SHARE).iter();
    let shares: Vec<Share> = shares
        .map(|text| Share::parse(text.to_str().unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    // Nothing is kept before it is known that it opens: on a server that nobody initialised strangers come here.
    let front = tokio::time::timeout(FRONT_COMING, front(body)).await;
    let front = front.map_err(|_| ReadBodyError::Broken)??;
    let (node, begun) = (Arc::clone(ask.node), front.clone());
    let opens = tokio::task::spawn_blocking(move || {
        let opens = node.opens_archive(&mut begun.as_slice(), &shares);
        opens.map(|()| shares)
    });
    let shares = opens.await.map_err(|error| Problem::internal(&error))??;
    if ask.fields.bool("check")?.unwrap_or(false) {
        return Ok(Reply::nothing());
    }
    let mut upload = Upload::begin(&foundation.config.data).map_err(|error| Problem::internal(&error))?;
    upload
        .receive(&front, body, foundation.config.limits.restore_bytes_max)
        .await?;
    let node = Arc::clone(ask.node);
    let restored = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        node.restore(upload.path(), &shares, &actor)
    });
    let outcome = restored.await.map_err(|error| Problem::internal(&error))??;
    Ok(Reply::data(json!({
        "restored_position": outcome.position,
        "backup_time": outcome.taken,
        "recovered": outcome.recovered,
        "tokens_dropped": outcome.aftermath.tokens,
        "missing": outcome.missing,
        "aside": outcome.aside.display().to_string(),
        "report": outcome.in_words(),
    })))
}

/// The begin of a body, with at least the two lines that stand in front of a backup, if they are there.
async fn front(body: &mut Body) -> Result<Vec<u8>, Problem> {
    let (mut front, mut lines) = (Vec::new(), 0);
    while lines < 2 && front.len() < FRONT {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame.map_err(|_| ReadBodyError::Broken)?.into_data() {
            lines += data.split(|byte| *byte == b'\n').count().saturating_sub(1);
            front.extend_from_slice(&data);
        }
    }
    Ok(front)
}

/// A backup on its way in, in a file that goes with the value.
struct Upload {
    path: PathBuf,
    file: Option<tokio::fs::File>,
}

impl Upload {
    fn begin(data: &Path) -> std::io::Result<Self> {
        let path = data.join(format!("{UPLOAD}{}", random::uuid()));
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        let file = Some(tokio::fs::File::from_std(file));
        Ok(Self { path, file })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    async fn receive(&mut self, front: &[u8], body: &mut Body, bytes_max: u64) -> Result<(), Problem> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let mut bytes = u64::try_from(front.len()).unwrap_or(u64::MAX);
        file.write_all(front).await.map_err(|error| Problem::internal(&error))?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| ReadBodyError::Broken)?.into_data() else {
                continue;
            };
            bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
            if bytes > bytes_max {
                let max_bytes = usize::try_from(bytes_max).unwrap_or(usize::MAX);
                return Err(ReadBodyError::TooLarge { max_bytes }.into());
            }
            file.write_all(&data).await.map_err(|error| Problem::internal(&error))?;
        }
        file.flush().await.map_err(|error| Problem::internal(&error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, file = %self.path.display(), "a restored backup stays until the next start");
        }
    }
}

/// The right to be the only one, given back when dropped.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(flag: &Arc<AtomicBool>) -> Option<Self> {
        (!flag.swap(true, Ordering::SeqCst)).then(|| Self(Arc::clone(flag)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
