//! What a host needs of us: files that sshd reads, written so that no mistake and no power cut locks anybody out. Stock sshd,
//! no daemon; `command/host/` has the verbs.

pub mod accounts;
pub mod alarm;
pub mod apply;
pub mod authority;
pub mod authorized_keys;
pub mod backup;
pub mod bake;
pub mod bill;
pub mod bundle_source;
pub mod certificate;
pub mod config_text;
pub mod configure;
pub mod enroll;
pub mod files;
pub mod findings;
pub mod host_key;
pub mod image;
pub mod imds;
pub mod layout;
pub mod logins;
pub mod proof;
pub mod scan;
pub mod settings;
pub mod sshd;
pub mod state;
pub mod sync;
pub mod undo;
pub mod units;
pub mod why;
