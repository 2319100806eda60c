//! The `signet` binary from outside: hermetic (own HOME, empty environment), against a stub that speaks Vault's wire.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

mod agent;
mod agent_time;
mod breakglass;
mod ca;
mod certs;
mod errors;
mod host;
mod host_enroll;
mod host_sync;
mod host_world;
mod hosts;
mod inspect;
mod login;
mod proxy;
mod reports;
mod revoke;
mod ssh;
mod stub;
mod tls;
mod trust;
mod world;
