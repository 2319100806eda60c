//! The pure domain of signet: who may have which SSH certificate, and the bytes of it.
//!
//! Nothing here reads the clock, the random source, the environment, the disk or the network: all of that comes in as
//! parameters, so that every decision can be tested as a table. The path of a certificate is
//! [`request::SigningRequest`] → [`caller::Caller`] → [`plan::Resolved`] → [`plan::Grant`] → [`plan::CertificatePlan`] →
//! [`certificate::SignedCertificate`]; each step is made by exactly one function, so none can be skipped.

pub mod access;
pub mod breakglass;
pub mod caller;
pub mod cases;
pub mod certificate;
pub mod denial;
pub mod ec2_document;
pub mod enrollment;
pub mod host_policy;
pub mod inspect;
pub mod key_id;
pub mod krl;
pub mod ledger;
pub mod mistake;
pub mod options;
pub mod people;
pub mod plan;
pub mod policy_set;
pub mod principal;
pub mod request;
pub mod role;
pub mod serial;
pub mod signer;
pub mod source_address;
pub mod sshsig;
pub mod subject_key;
pub mod template;
pub mod time;
pub mod toml_reader;
pub mod trust_bundle;
pub mod vault_value;
