//! The `signet` binary from outside: hermetic (own HOME, empty environment), against a stub that speaks Vault's wire.

mod agent;
mod inspect;
mod login;
mod reports;
mod ssh;
mod stub;
mod world;
