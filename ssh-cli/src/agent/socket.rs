//! One certificate's own agent socket, so that ssh sees exactly one identity and `MaxAuthTries` is never spent on others.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signet_core::time::UnixTime;

use super::identity::Identity;
use super::protocol::{self, Session};
use crate::clock::Clock;
use crate::frame;

/// Enough for a frame's bookkeeping; 200 connections must not cost 400 MiB of address space.
const STACK_BYTES: usize = 256 * 1024;

/// A socket that speaks the ssh-agent protocol for one identity and its predecessors. Removed when dropped.
#[derive(Debug)]
pub struct AgentSocket {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    identities: Mutex<Vec<Arc<Identity>>>,
    last_signature: AtomicU64,
    stopped: AtomicBool,
}

impl AgentSocket {
    /// Binds the socket, 0600, and serves it from a thread.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(path: PathBuf, clock: Clock) -> std::io::Result<Self> {
        let listener = listen(&path)?;
        let shared = Arc::new(Shared {
            clock,
            identities: Mutex::default(),
            last_signature: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        spawn("agent socket", move || accept(&listener, &serving))?;
        Ok(Self { path, shared })
    }

    /// Makes `identity` the one that is listed; older ones still sign until they end.
    pub fn put(&self, identity: Arc<Identity>) {
        let now = self.shared.clock.now();
        let mut identities = self.shared.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.retain(|old| old.valid_before() > now);
        identities.insert(0, identity);
        identities.truncate(3);
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When it last signed.
    #[must_use]
    pub fn last_signature(&self) -> UnixTime {
        UnixTime::from_secs(self.shared.last_signature.load(Ordering::Relaxed))
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        // Wakes the thread, which sits in accept().
        drop(UnixStream::connect(&self.path));
        drop(std::fs::remove_file(&self.path));
    }
}

/// Binds a socket that only its owner can use. The caller's folder is private already; the mode is the second lock.
///
/// # Errors
/// The system's.
pub fn listen(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// True when the process at the other end belongs to this user.
pub fn is_own(stream: &impl AsFd) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

/// Starts a small thread.
///
/// # Errors
/// The system's, when there are too many.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map(drop)
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if !is_own(&stream) {
            continue;
        }
        let shared = Arc::clone(shared);
        drop(spawn("agent connection", move || serve(stream, &shared)));
    }
}

fn serve(mut stream: UnixStream, shared: &Shared) {
    let mut session = Session::default();
    while let Ok(Some(request)) = frame::read(&mut stream) {
        let now = shared.clock.now();
        let identities: Vec<Arc<Identity>> = {
            let all = shared.identities.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter()
                .filter(|identity| identity.valid_before() > now)
                .cloned()
                .collect()
        };
        let answer = protocol::answer(&request, &identities, &mut session);
        if answer.first() == Some(&14) {
            shared.last_signature.store(now.secs(), Ordering::Relaxed);
        }
        if frame::write(&mut stream, &answer).is_err() {
            return;
        }
    }
}
