//! The agent: keys that live only in memory, certificates for them, and the sockets that serve both to ssh.
//!
//! [`run`] is the process behind `signet agent`; [`client`] is how `signet ssh` asks it; [`obtain`] is the one place where a
//! key is made and certified, also used without an agent.

pub mod cache;
pub mod client;
pub mod control;
pub mod identity;
pub mod obtain;
pub mod protocol;
pub mod runtime_dir;
pub mod server;
pub mod socket;
