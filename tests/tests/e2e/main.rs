//! End-to-end tests, one program so that they run side by side. Each module is one promise seen from outside.

mod aws_kms;
mod breakglass;
mod crash;
mod custody;
mod ec2_enrolment;
mod first_login;
mod full_disk;
mod host_bake;
mod host_faults;
mod host_trust;
mod hostile_requests;
mod hostile_words;
mod image_files;
mod images;
mod ledger;
mod login;
mod metadata_service;
mod namespace_hosts;
mod openssh_hosts;
mod openssh_refusals;
mod openssh_users;
mod operations;
mod pkcs11;
mod revoked_group;
mod rotation;
mod shared_certificate;
