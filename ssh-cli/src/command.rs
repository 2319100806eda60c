//! One file a verb.

pub mod agent;
pub mod audit;
pub mod breakglass;
pub mod ca;
pub mod certs;
pub mod completions;
pub mod host;
pub mod hosts;
pub mod inspect;
pub mod login;
pub mod logout;
pub mod man;
pub mod operator;
pub mod revocations;
pub mod revoke;
pub mod roles;
pub mod sign;
pub mod ssh;
pub mod trust;
pub mod whoami;
