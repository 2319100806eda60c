//! The signet client: fetches an SSH certificate that lives for minutes and runs ssh.
//!
//! [`command`] has one file a verb; [`agent`] keeps keys in memory and serves them; [`vault`] is the wire; [`report`] is the
//! only place that prints an error, [`output`] the only one that prints anything else, [`config`] the only reader of the
//! environment, [`clock`] of the time, [`random`] of the random source.

pub mod agent;
pub mod argv;
pub mod breakglass;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod destination;
pub mod endpoint;
pub mod frame;
pub mod host;
pub mod login;
pub mod output;
pub mod proxy;
pub mod public_key_file;
pub mod random;
pub mod replace;
pub mod report;
pub mod secret_file;
pub mod ssh_command;
pub mod ssh_config;
pub mod terminal;
pub mod user_agent;
pub mod vault;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

use cli::{Cli, Verb};
use config::Environment;
use report::{Exit, Failure};

/// Runs the program with these words and gives its exit code.
#[must_use]
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let is_status = words.iter().skip(1).take(2).eq(["operator", "status"]);
    dispatch(words, &Environment::from_process()).unwrap_or_else(|failure| {
        let code = report::fail(&failure);
        // There 2 means sealed, so a wrong flag must not end in it.
        if is_status { Exit::Failed.code() } else { code }
    })
}

fn dispatch(words: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<u8, Failure> {
    let mut tree = Cli::command();
    tree.build();
    let words = argv::rewrite(&tree, words)?;
    let parsed = tree.try_get_matches_from_mut(words);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => return output::text(&error.render().to_string()).map(|()| 0),
        Err(error) => return Err(report::from_clap(&error)),
    };
    match cli.verb {
        Verb::Ssh(args) => command::ssh::run(&args, environment),
        Verb::Agent(args) => command::agent::run(&args, environment),
        Verb::Login(args) => command::login::run(&args, environment),
        Verb::Logout(args) => command::logout::run(&args, environment),
        Verb::Whoami(args) => command::whoami::run(&args, environment),
        Verb::Roles(args) => command::roles::run(&args, environment),
        Verb::Sign(args) => command::sign::run(&args, environment),
        Verb::Inspect(args) => command::inspect::run(&args, environment),
        Verb::Revoke(args) => command::revoke::run(&args, environment),
        Verb::Revocations(verb) => command::revocations::run(&verb, environment),
        Verb::Certs(verb) => command::certs::run(&verb, environment),
        Verb::Ca(verb) => command::ca::run(&verb, environment),
        Verb::Trust(args) => command::trust::run(&args, environment),
        Verb::Hosts(verb) => command::hosts::run(&verb, environment),
        Verb::Audit(verb) => command::audit::run(&verb, environment),
        Verb::Operator(verb) => command::operator::run(&verb, environment),
        Verb::Host(verb) => command::host::run(&verb, environment),
        Verb::Breakglass(verb) => command::breakglass::run(&verb, environment),
        Verb::Completions(args) => command::completions::run(&args),
        Verb::Man(args) => command::man::run(&args),
    }
}
