//! `signet-ca check`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::{command, serve};

/// Checks configuration and policies without starting.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration file
    #[arg(long, default_value = "signet.toml")]
    config: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mistakes = match Config::from_file(&self.config) {
            Ok(config) => serve::check(&config),
            Err(mistakes) => mistakes,
        };
        command::print_mistakes(&mistakes);
        if !mistakes.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        writeln!(std::io::stdout(), "{}: no mistakes", self.config.display())?;
        Ok(ExitCode::SUCCESS)
    }
}
