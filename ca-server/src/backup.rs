//! Backups, and the way back: one archive encrypted under the seal, taken while the server serves; restoring it; and what must
//! be done to any data that was put back to an older state before it may serve.

pub mod aftermath;
pub mod archive;
pub mod restore;
pub mod swap;
pub mod take;
#[cfg(test)]
mod tests;

/// The store's file in the data folder.
pub(crate) const STORE: &str = "store.db";
