//! The certificate that ssh-keygen made, compared with what it was told to make.

use signet_core::principal::Principal;
use signet_core::subject_key::SubjectKey;
use ssh_key::Certificate;

use super::{BACKDATE_SECS, Plan};
use crate::report::{Exit, Failure};

/// Reads the certificate, if every field of it is as planned.
///
/// # Errors
/// [`Failure`] naming the first field that is not.
pub(super) fn check(line: &str, plan: &Plan, subject: &SubjectKey, ca: &SubjectKey) -> Result<Certificate, Failure> {
    let wrong = |what: &str| {
        Failure::new(
            Exit::Failed,
            format!("the certificate that ssh-keygen made is wrong: {what}"),
        )
        .hint("compare the clocks, and the ssh-keygen that is found first")
    };
    let certificate = Certificate::from_openssh(line.trim()).map_err(|error| wrong(&error.to_string()))?;
    let blob = |key: &ssh_key::public::KeyData| ssh_key::PublicKey::from(key.clone()).to_bytes().unwrap_or_default();
    certificate.verify_signature().map_err(|_| wrong("its signature"))?;
    let principals: Vec<&str> = certificate.valid_principals().iter().map(String::as_str).collect();
    let wanted: Vec<&str> = plan.principals.iter().map(Principal::as_str).collect();
    let extensions: Vec<&str> = certificate.extensions().keys().map(String::as_str).collect();
    let critical: Vec<(&str, &str)> = certificate
        .critical_options()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let source = plan.source.as_ref().map(ToString::to_string);
    let wanted_critical: Vec<(&str, &str)> = source
        .iter()
        .map(|source| ("source-address", source.as_str()))
        .collect();
    let (after, before) = (certificate.valid_after(), certificate.valid_before());
    // ssh-keygen reads the clock itself, a moment after us.
    let late = before.checked_sub(plan.now.plus(plan.ttl_secs).secs());
    let checks = [
        (blob(certificate.public_key()) == subject.blob(), "its key"),
        (blob(certificate.signature_key()) == ca.blob(), "its CA"),
        (certificate.cert_type().is_user(), "its type"),
        (certificate.key_id() == plan.key_id.as_str(), "its key ID"),
        (certificate.serial() == plan.serial.get(), "its serial"),
        (principals == wanted, "its principals"),
        (extensions == ["permit-pty"], "its extensions"),
        (critical == wanted_critical, "its critical options"),
        (late.is_some_and(|secs| secs <= 120), "its end"),
        (
            before.checked_sub(after) == Some(plan.ttl_secs + BACKDATE_SECS),
            "its beginning",
        ),
    ];
    match checks.iter().find(|(right, _)| !right) {
        Some((_, what)) => Err(wrong(what)),
        None => Ok(certificate),
    }
}
