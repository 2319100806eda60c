//! The wire format, in process: requests go through the whole router, without a socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

mod custody;
mod desk;
mod guards;
mod hostile;
mod tokens;
mod transcripts;
