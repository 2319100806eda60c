//! The agent's process: one per user, ended with its last certificate.

use std::fs::File;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::control::{self, Answer, Question};
use super::runtime_dir::RuntimeDir;
use super::socket::{is_own, listen, spawn};
use crate::clock::Clock;
use crate::frame;
use crate::report::{Exit, Failure};

/// How patient an agent is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long it stays with nothing to serve.
    pub grace: Duration,
    /// How long it sleeps at most: the wall clock can jump (a laptop wakes up), so nothing is waited for longer.
    pub look_again: Duration,
}

impl Pace {
    /// How a person's agent behaves.
    pub const USUAL: Self = Self {
        grace: Duration::from_secs(10),
        look_again: Duration::from_secs(30),
    };
    /// With nothing to serve it looks more often, so that it ends in time.
    const IDLE: Duration = Duration::from_secs(1);
}

/// The agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another agent of this user is there.
    #[error("an agent is already running")]
    Running,
    /// A file or socket failed.
    #[error("the agent cannot use `{path}`")]
    Io {
        /// Which one.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Name of the control socket in the runtime folder.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Held by the running agent.
const AGENT_LOCK: &str = "agent.lock";

/// Serves until there is nothing left to serve. `ready` is called once askers can connect.
///
/// # Errors
/// [`AgentError`].
pub fn run(dir: &RuntimeDir, ready: impl FnOnce()) -> Result<(), AgentError> {
    harden();
    serve(dir, &Clock::system(), Pace::USUAL, ready)
}

/// The same without changing the process, by any clock and at any pace.
///
/// # Errors
/// [`AgentError`].
pub fn serve(dir: &RuntimeDir, clock: &Clock, pace: Pace, ready: impl FnOnce()) -> Result<(), AgentError> {
    let _lock = lock(&dir.join(AGENT_LOCK))?;
    let path = dir.join(CONTROL_SOCKET);
    let listener = listen(&path).map_err(|source| io_error(&path, source))?;
    sweep(dir, &path);
    let desk = Arc::new(Desk {
        cache: Cache::new(dir.clone(), clock.clone()),
        busy: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
    });
    let serving = Arc::clone(&desk);
    spawn("control", move || accept(&listener, &serving)).map_err(|source| io_error(&path, source))?;
    ready();
    desk.work(pace);
    drop(std::fs::remove_file(&path));
    Ok(())
}

/// What the threads share.
struct Desk {
    cache: Cache,
    busy: AtomicUsize,
    stopped: AtomicBool,
}

/// Removes what an agent that was killed left behind.
fn sweep(dir: &RuntimeDir, control: &Path) {
    let entries = std::fs::read_dir(dir.path()).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path != control) {
        if path
            .extension()
            .is_some_and(|end| end == "sock" || end == "known_hosts")
        {
            drop(std::fs::remove_file(path));
        }
    }
}

/// One agent per user: the lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<File, AgentError> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|source| io_error(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(AgentError::Running),
        Err(std::fs::TryLockError::Error(source)) => Err(io_error(path, source)),
    }
}

/// Keys in memory stay there: no core file, no debugger of the same user, files private by default. A kernel without these
/// leaves what the folder's mode gives.
fn harden() {
    use rustix::process::{Resource, Rlimit, setrlimit, umask};
    keep_memory_private();
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .ok();
    umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Makes this process undumpable; undone by exec, so that it says nothing about ssh.
pub fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
}

fn accept(listener: &UnixListener, desk: &Arc<Desk>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        if !is_own(&stream) {
            continue;
        }
        let serving = Arc::clone(desk);
        desk.busy.fetch_add(1, Ordering::SeqCst);
        let started = spawn("asker", move || {
            talk(&mut stream, &serving);
            serving.busy.fetch_sub(1, Ordering::SeqCst);
        });
        if started.is_err() {
            desk.busy.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn talk(stream: &mut UnixStream, desk: &Desk) {
    // Whoever connects asks at once; a silent peer must not keep the agent alive.
    if stream.set_read_timeout(Some(Duration::from_secs(10))).is_err() {
        return;
    }
    while let Ok(Some(body)) = frame::read(stream) {
        let answer = desk.answer(&body);
        if frame::write(stream, &control::write_answer(&answer)).is_err() {
            return;
        }
    }
}

impl Desk {
    /// Tends the cache until it has been empty for a while, or somebody says stop.
    fn work(&self, pace: Pace) {
        let mut idle_since = Instant::now();
        loop {
            let busy = self.busy.load(Ordering::SeqCst) != 0;
            if self.stopped.load(Ordering::SeqCst) {
                // Whoever asked for the end gets an answer first.
                if !busy {
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            let idle = self.cache.held() == 0 && !busy;
            if !idle {
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= pace.grace {
                return;
            }
            let idle_wait = pace.look_again.min(Pace::IDLE);
            self.cache.tend(if idle { idle_wait } else { pace.look_again });
        }
    }

    fn answer(&self, body: &[u8]) -> Answer {
        match control::read_question(body) {
            Some((Question::Certificate(request), token)) => match self.cache.certificate(*request, token) {
                Ok(handle) => Answer::Certificate(Box::new(handle)),
                Err(failure) => Answer::Failed(failure),
            },
            Some((Question::Forget, token)) => Answer::Held(self.cache.forget(token.as_ref())),
            Some((Question::Status, _)) => Answer::Held(self.cache.held()),
            Some((Question::Stop, _)) => {
                self.stopped.store(true, Ordering::SeqCst);
                self.cache.clear();
                Answer::Held(0)
            }
            None => Answer::Failed(
                Failure::new(Exit::Failed, "the running agent is of another version of signet")
                    .hint("end it (`signet agent -stop`) and try again"),
            ),
        }
    }
}

fn io_error(path: &Path, source: std::io::Error) -> AgentError {
    AgentError::Io {
        path: path.display().to_string(),
        source,
    }
}
