//! `signet-ca`: see `cli.rs` for the verbs and `serve.rs` for the life of the server.

use std::process::ExitCode;

use clap::Parser as _;
use signet_ca::cli::Cli;
use signet_ca::{command, hardening};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: secrets pass through parsers, HTTP and TLS, whose buffers know nothing of them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<mimalloc::MiMalloc> = ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    hardening::harden();
    // The heap is a few megabytes in small pieces: a huge page would be cleared and kept for each of them, which is most
    // of the time to start and of the memory at rest. A kernel that does not know the call has no such pages.
    rustix::thread::disable_transparent_huge_pages(true).ok();
    command::run(Cli::parse())
}
