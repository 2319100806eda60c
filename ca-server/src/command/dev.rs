//! `signet-ca dev`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use secrecy::SecretString;

use crate::config::environment;
use crate::dev::{self, DevOptions};

/// Runs a throw-away authority on this machine.
#[derive(Debug, Args)]
pub struct Dev {
    /// A loopback address
    #[arg(long, default_value = "127.0.0.1:8200")]
    listen: SocketAddr,
    /// The root token; `SIGNET_DEV_ROOT_TOKEN` keeps it out of the process list; made at random when absent
    #[arg(long, value_name = "TOKEN")]
    root_token: Option<SecretString>,
    /// A policies folder instead of the built-in examples
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// A data folder to keep; otherwise a temporary one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Dev {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let root_token = self
            .root_token
            .or_else(|| environment("SIGNET_DEV_ROOT_TOKEN").map(SecretString::from));
        let Self {
            listen, policies, data, ..
        } = self;
        dev::run(DevOptions {
            listen,
            root_token,
            policies,
            data,
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
