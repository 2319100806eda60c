//! End-to-end tests, one program so that they run side by side. Each module is one promise seen from outside.

mod aws_kms;
mod crash;
mod custody;
mod first_login;
mod full_disk;
mod host_trust;
mod hostile_requests;
mod hostile_words;
mod ledger;
mod login;
mod openssh_hosts;
mod openssh_refusals;
mod openssh_users;
mod operations;
mod pkcs11;
mod revoked_group;
mod shared_certificate;
