//! The ledger's text: what a record looks like, how records are chained, and how a chain is checked.
//!
//! Each record is one line of JSON. Its `hash` is the SHA-256 of the line up to `,"hash":`, and `prev` is the hash of the
//! record before it, so that changing, removing, inserting or moving any record shows. Writing lines durably is
//! `ca-server/src/ledger.rs`.

mod chain;
mod event;
mod search;
#[cfg(test)]
mod tests;
mod verify;

pub use chain::{ChainHash, Head, seal};
pub use event::{Event, EventKind, IssueContext};
pub use search::{Query, QueryError};
pub use verify::{Finding, Verification, Verifier};
