//! The `signet` binary; everything is in the library.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: tokens and shares pass through parsers, HTTP and TLS, whose buffers know nothing of them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    signet_cli::agent::server::keep_memory_private();
    ExitCode::from(signet_cli::run(std::env::args_os()))
}
