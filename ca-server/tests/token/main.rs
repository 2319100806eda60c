//! Keys on a real PKCS#11 token: SoftHSM's. SoftHSM reads its configuration from the environment, which a test must not
//! change, so each test runs its own program once more with a token of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, says what it measured, and reads the environment that it made for itself"
)]

mod keys;
mod pool;
mod seal;
mod softhsm;
