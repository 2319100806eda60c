//! `signet agent`: the process that holds keys and certificates.

use std::io::Write as _;

use clap::Args;

use crate::agent::client::ask_running;
use crate::agent::control::{Answer, Question};
use crate::agent::runtime_dir::RuntimeDir;
use crate::agent::server;
use crate::cli::value;
use crate::config::Environment;
use crate::output;
use crate::report::{Exit, Failure};

/// Flags of `signet agent`.
#[derive(Debug, Args)]
#[command(after_help = "`signet ssh` starts an agent when it needs one; it ends by itself with its last certificate.")]
pub struct AgentArgs {
    /// Say how many certificates the running agent holds
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub status: bool,
    /// Make the running agent forget everything and end
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub stop: bool,
    /// Leave the terminal; what `signet ssh` uses
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth)]
    pub detached: bool,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &AgentArgs, environment: &Environment) -> Result<u8, Failure> {
    let dir = RuntimeDir::open(environment.runtime_dir())?;
    if args.stop || args.status {
        let question = if args.stop { Question::Stop } else { Question::Status };
        let text = match ask_running(&dir, &question, None) {
            Some(Answer::Held(count)) if args.status => format!("the agent holds {count} certificates\n"),
            Some(_) if args.stop => "the agent has ended\n".to_owned(),
            Some(_) => {
                return Err(Failure::new(
                    Exit::Failed,
                    "the agent gave an answer that makes no sense",
                ));
            }
            None => "no agent is running\n".to_owned(),
        };
        return output::text(&text).map(|()| 0);
    }
    if args.detached {
        // The starter's terminal must not be able to end it; a failure leaves it attached, no more.
        rustix::process::setsid().ok();
    }
    server::run(&dir, || announce(args.detached))?;
    Ok(0)
}

/// One byte tells the starter that it can ask; then the pipe is let go, or the starter's own pipe would never end.
fn announce(detached: bool) {
    if !detached {
        return;
    }
    let mut out = std::io::stdout();
    drop(out.write_all(b"\n").and_then(|()| out.flush()));
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        rustix::stdio::dup2_stdout(&null).ok();
    }
}
