//! What a host needs of us: files that sshd reads, written so that no mistake and no power cut locks anybody out. Stock sshd,
//! no daemon; `command/host/` has the verbs.

pub mod layout;
