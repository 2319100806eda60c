//! Reads the encoded fields with the `ssh-key` crate, which shares no code with the encoder, and compares each with the
//! plan. A mistake in the encoder becomes a refusal instead of a certificate that hosts read differently.

use ssh_key::Certificate;
use ssh_key::certificate::OptionsMap;

use crate::options::Options;
use crate::plan::CertificatePlan;
use crate::request::CertType;
use crate::signer::SignError;
use crate::subject_key::SubjectKey;

/// Checks that `tbs` reads back as `plan`, signed by `ca_key`.
pub(super) fn check(plan: &CertificatePlan, ca_key: &SubjectKey, tbs: &[u8]) -> Result<(), SignError> {
    let certificate = read(tbs)?;
    let resolved = plan.resolved();
    let cert_type = match resolved.cert_type() {
        CertType::User => ssh_key::certificate::CertType::User,
        CertType::Host => ssh_key::certificate::CertType::Host,
    };
    let same_principals = || {
        let read = certificate.valid_principals();
        read.len() == resolved.principals().len()
            && read
                .iter()
                .zip(resolved.principals())
                .all(|(read, planned)| read == planned.as_str())
    };
    let fields = [
        ("nonce", certificate.nonce() == plan.nonce()),
        ("serial", certificate.serial() == plan.serial().get()),
        ("type", certificate.cert_type() == cert_type),
        ("key id", certificate.key_id() == resolved.key_id().as_str()),
        ("principals", same_principals()),
        (
            "valid after",
            certificate.valid_after() == plan.validity().valid_after().secs(),
        ),
        (
            "valid before",
            certificate.valid_before() == plan.validity().valid_before().secs(),
        ),
        (
            "critical options",
            same_options(certificate.critical_options(), resolved.critical_options()),
        ),
        (
            "extensions",
            same_options(certificate.extensions(), resolved.extensions()),
        ),
        ("public key", same_key(certificate.public_key(), resolved.key())),
        ("signature key", same_key(certificate.signature_key(), ca_key)),
    ];
    match fields.iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(SignError::ReadBack(field)),
        None => Ok(()),
    }
}

fn read(tbs: &[u8]) -> Result<Certificate, SignError> {
    // The reader wants a signature behind the fields; its value is not looked at here.
    const SIGNATURE_HEAD: &[u8] = b"\0\0\0\x53\0\0\0\x0bssh-ed25519\0\0\0\x40";
    const SIGNATURE_BYTES: usize = 64;
    let length = tbs.len() + SIGNATURE_HEAD.len() + SIGNATURE_BYTES;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(tbs);
    bytes.extend_from_slice(SIGNATURE_HEAD);
    bytes.resize(length, 0);
    Certificate::from_bytes(&bytes).map_err(|_| SignError::ReadBack("layout"))
}

fn same_options(read: &OptionsMap, planned: &Options) -> bool {
    read.len() == planned.len()
        && read
            .iter()
            .zip(planned)
            .all(|((name, value), (planned_name, planned_value))| {
                name == planned_name && value == planned_value.as_str()
            })
}

fn same_key(read: &ssh_key::public::KeyData, planned: &SubjectKey) -> bool {
    use ssh_encoding::Encode as _;
    let mut blob = Vec::with_capacity(planned.blob().len());
    read.encode(&mut blob).is_ok() && blob == planned.blob()
}
