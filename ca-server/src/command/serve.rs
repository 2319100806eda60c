//! `signet-ca serve`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::{command, serve};

/// Runs the authority.
#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration file
    #[arg(long, default_value = "signet.toml")]
    config: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match Config::from_file(&self.config) {
            Ok(config) => serve::run(config).map(|()| ExitCode::SUCCESS),
            Err(mistakes) => {
                command::print_mistakes(&mistakes);
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
