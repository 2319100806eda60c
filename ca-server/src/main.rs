//! `signet-ca`: see `cli.rs` for the verbs and `serve.rs` for the life of the server.

use std::process::ExitCode;

use clap::Parser as _;
use signet_ca::cli::Cli;
use signet_ca::command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::run(Cli::parse())
}
