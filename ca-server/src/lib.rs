//! The authority: serves Vault's SSH engine API, signs certificates and records each one. Read `issue.rs` first: it is the
//! path of a certificate; `authority.rs` is what everything hangs on; `serve.rs` is the life of the process.

pub mod authority;
pub mod aws;
pub mod barrier;
pub mod bundle;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod custody;
pub mod dev;
pub mod foundation;
pub mod hosts;
pub mod http;
pub mod issue;
pub mod keyring;
pub mod ledger;
pub mod listener;
pub mod logging;
pub mod login;
pub mod metrics;
pub mod mounts;
pub mod node;
pub mod pkcs11;
pub mod policy_dir;
pub mod random;
pub mod reload;
pub mod revocations;
pub mod rotation;
pub mod seal;
pub mod serve;
pub mod signer;
pub mod store;
pub mod tls;
pub mod tokens;
