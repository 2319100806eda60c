//! Asking the agent, and starting it when there is none. The warm path: one connection, one frame each way.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use secrecy::SecretString;

use super::control::{self, Answer, Question};
use super::runtime_dir::RuntimeDir;
use super::server::CONTROL_SOCKET;
use crate::config::Environment;
use crate::frame;

/// Held by whoever starts an agent, so that 200 parallel askers start one.
const START_LOCK: &str = "start.lock";
/// An agent that ends just when it is asked is started again this often.
const TRIES: usize = 5;

/// The agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It could not be started.
    #[error("the agent cannot be started")]
    Start(#[source] std::io::Error),
    /// It ended or misbehaved.
    #[error("the agent does not answer")]
    Silent(#[source] std::io::Error),
}

/// Asks, starting an agent when there is none.
///
/// # Errors
/// [`AskError`]; an authority's refusal is an [`Answer::Failed`].
pub fn ask(
    dir: &RuntimeDir,
    environment: &Environment,
    question: &Question,
    token: Option<&SecretString>,
) -> Result<Answer, AskError> {
    let body = control::write_question(question, token);
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for _ in 0..TRIES {
        match exchange(dir, &body) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
        start(dir, environment).map_err(AskError::Start)?;
    }
    Err(AskError::Silent(last))
}

/// Asks only if an agent is there.
#[must_use]
pub fn ask_running(dir: &RuntimeDir, question: &Question, token: Option<&SecretString>) -> Option<Answer> {
    exchange(dir, &control::write_question(question, token)).ok()
}

fn exchange(dir: &RuntimeDir, body: &[u8]) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(dir.join(CONTROL_SOCKET))?;
    frame::write(&mut stream, body)?;
    let answer = frame::read(&mut stream)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    control::read_answer(&answer).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Starts an agent and waits until it can be asked. The child detaches itself; it gets neither token nor arguments that
/// say anything.
fn start(dir: &RuntimeDir, environment: &Environment) -> std::io::Result<()> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(START_LOCK))?;
    lock.lock()?;
    if UnixStream::connect(dir.join(CONTROL_SOCKET)).is_ok() {
        return Ok(());
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args(["agent", "-detached"])
        .env_clear()
        .envs(environment.for_agent())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut ready = [0];
    let pipe = child.stdout.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
    if pipe.read(&mut ready)? == 0 {
        // It ended without a word: another agent holds the lock and is about to end. Give it the moment.
        std::thread::sleep(Duration::from_millis(20));
        child.wait()?;
    }
    Ok(())
}
