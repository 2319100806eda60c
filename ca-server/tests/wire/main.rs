//! The wire format, in process: requests go through the whole router, without a socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

mod bundle;
mod certificates;
mod custody;
mod desk;
mod guards;
mod host_reports;
mod host_site;
mod hostile;
mod hosts;
mod issuers;
mod revocation;
mod tokens;
mod transcripts;
// What signs identity documents is one for both crates' tests.
#[path = "../../../ca-core/tests/ec2_document/signer.rs"]
mod signer;
