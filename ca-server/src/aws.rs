//! AWS without its SDK: KMS and STS by signed POSTs (Signature Version 4, by aws-sigv4), and the chain of credentials that
//! AWS's tools have. No secret is in an error or a log. The seal and the signer of the same name stand on it.

pub mod credentials;
pub mod kms;
mod runtime;
mod sts;
#[cfg(test)]
mod tests;
mod transport;

pub use self::runtime::{later, wait_for};

/// Why AWS did not do it, by what is to be done. `Display` holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// It may work in a moment: no connection, no answer in time, throttled, a fault of theirs, a clock that is wrong.
    #[error("{0}")]
    Unavailable(String),
    /// They answered and refuse: no permission, a key that is disabled or not there.
    #[error("{0}")]
    Refused(String),
    /// The ciphertext is not this key's or was bound to another context.
    #[error("{0}")]
    WrongKey(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Setup(String),
}
