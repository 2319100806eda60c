//! The harness of the end-to-end tests: the real `sshd`, `ssh`, `ssh-keygen` and `ssh-agent`, and our own two binaries as
//! they ship, each in folders of their own. Nothing here waits a fixed time: it waits for what it wants to see.

pub mod agent;
pub mod api;
pub mod authority;
pub mod binaries;
pub mod canary;
pub mod estate;
pub mod fleet;
pub mod folder_host;
pub mod host;
pub mod imds;
pub mod issuer;
pub mod issuing;
pub mod keys;
pub mod kmip;
pub mod load;
pub mod moto;
pub mod network;
pub mod packer;
pub mod person;
pub mod python;
pub mod relay;
pub mod site;
pub mod slides;
pub mod softhsm;
pub mod ssh;
pub mod sshd;
pub mod team;
pub mod tree;
pub mod wait;
pub mod workdir;
