//! One file a verb.

pub mod agent;
pub mod completions;
pub mod inspect;
pub mod login;
pub mod logout;
pub mod man;
pub mod roles;
pub mod sign;
pub mod ssh;
pub mod whoami;
