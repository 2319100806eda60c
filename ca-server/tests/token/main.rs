//! Keys on a real PKCS#11 token: SoftHSM's. SoftHSM reads its configuration from the environment, which a test must not
//! change, so each test runs its own program once more with a token of its own.

mod keys;
mod pool;
mod seal;
mod softhsm;
