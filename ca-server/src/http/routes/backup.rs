//! `sys/storage`: a backup of everything, encrypted under the seal.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backup::take::Taken;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::http::stream::chunks;
use crate::ledger::EventKind;

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
