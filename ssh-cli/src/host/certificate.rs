//! The host certificate: what is checked before sshd is told to show it. A wrong one locks nobody out, but it makes clients
//! fall back to trust on first use, so it never replaces a right one.

use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Certificate, PublicKey};

/// As `[A-Za-z0-9_][A-Za-z0-9._:-]*`: DNS names and addresses, never a pattern, which ssh up to 9.2 refuses and later ones
/// honour.
const NAME_BYTES_MAX: usize = 253;

/// A host certificate that was read; only [`HostCertificate::verify`] says that it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    line: String,
    key: SubjectKey,
    names: Vec<String>,
    valid_after: UnixTime,
    valid_before: UnixTime,
}

/// Why a host certificate is not put in place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostCertificateError {
    /// Not a certificate.
    #[error("it is no certificate: {0}")]
    Unreadable(String),
    /// For users.
    #[error("it is a user certificate")]
    NotHost,
    /// sshd would say nothing and show its plain key.
    #[error("it is for another key than this host's")]
    OtherKey,
    /// Not by the authority's host CA.
    #[error("it is signed by {0}, which is not the authority's host CA")]
    OtherCa(String),
    /// The signature does not fit.
    #[error("its signature is wrong")]
    BadSignature,
    /// No name: ssh up to 9.2 would take it for every host.
    #[error("it holds no name")]
    NoName,
    /// A name that is none.
    #[error("it holds `{0}`, which is no host's name")]
    BadName(String),
    /// Other names than the authority said.
    #[error("its names are not those that the authority gave")]
    OtherNames,
    /// Host certificates have no critical options; ssh refuses one that has.
    #[error("it holds critical options")]
    CriticalOptions,
    /// Ended.
    #[error("it ended at {valid_before}, and it is {now} on this machine")]
    Ended {
        /// Its end.
        valid_before: UnixTime,
        /// The local time.
        now: UnixTime,
    },
}

impl HostCertificate {
    /// Reads a line without believing it.
    ///
    /// # Errors
    /// [`HostCertificateError::Unreadable`] and [`HostCertificateError::NotHost`].
    pub fn parse(line: &str) -> Result<Self, HostCertificateError> {
        Self::read(line).map(|(certificate, _)| certificate)
    }

    /// Reads a line and checks everything that sshd and ssh will check: host type, our key, one of the CA keys, its
    /// signature, its names, no critical options, not over.
    ///
    /// # Errors
    /// [`HostCertificateError`]; the first thing that is wrong.
    pub fn verify(
        line: &str,
        key: &SubjectKey,
        ca_keys: &[SubjectKey],
        now: UnixTime,
    ) -> Result<Self, HostCertificateError> {
        let (certificate, raw) = Self::read(line)?;
        if certificate.key != *key {
            return Err(HostCertificateError::OtherKey);
        }
        let ca = subject_key(raw.signature_key())?;
        if !ca_keys.contains(&ca) {
            return Err(HostCertificateError::OtherCa(ca.fingerprint()));
        }
        raw.verify_signature().map_err(|_| HostCertificateError::BadSignature)?;
        if raw.critical_options().iter().next().is_some() {
            return Err(HostCertificateError::CriticalOptions);
        }
        if certificate.names.is_empty() {
            return Err(HostCertificateError::NoName);
        }
        if let Some(bad) = certificate.names.iter().find(|name| !is_name(name)) {
            return Err(HostCertificateError::BadName(bad.clone()));
        }
        let valid_before = certificate.valid_before;
        if valid_before <= now {
            return Err(HostCertificateError::Ended { valid_before, now });
        }
        Ok(certificate)
    }

    fn read(line: &str) -> Result<(Self, Certificate), HostCertificateError> {
        let unreadable = |error: ssh_key::Error| HostCertificateError::Unreadable(error.to_string());
        let raw = Certificate::from_openssh(line.trim()).map_err(unreadable)?;
        if raw.cert_type() != CertType::Host {
            return Err(HostCertificateError::NotHost);
        }
        let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        let certificate = Self {
            // As it was sent, without a comment: another encoder's bytes might differ from the signed ones.
            line: words.join(" "),
            key: subject_key(raw.public_key())?,
            names: raw.valid_principals().to_vec(),
            valid_after: UnixTime::from_secs(raw.valid_after()),
            valid_before: UnixTime::from_secs(raw.valid_before()),
        };
        Ok((certificate, raw))
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n", self.line)
    }

    /// The key that it certifies.
    #[must_use]
    pub const fn key(&self) -> &SubjectKey {
        &self.key
    }

    /// The names in it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it ends.
    #[must_use]
    pub const fn valid_before(&self) -> UnixTime {
        self.valid_before
    }

    /// When two thirds of its life are over.
    #[must_use]
    pub const fn renewal_time(&self) -> UnixTime {
        let life = self.valid_after.secs_until(self.valid_before);
        self.valid_after.plus(life / 3 * 2)
    }
}

fn subject_key(key: &KeyData) -> Result<SubjectKey, HostCertificateError> {
    let unreadable = |error: &dyn std::fmt::Display| HostCertificateError::Unreadable(error.to_string());
    let line = PublicKey::from(key.clone())
        .to_openssh()
        .map_err(|error| unreadable(&error))?;
    SubjectKey::parse(&line).map_err(|error| unreadable(&error))
}

/// Whether a text can be a host's name or address.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.starts_with(['-', '.']) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use ssh_key::PrivateKey;
    use ssh_key::certificate::Builder;
    use ssh_key::private::Ed25519Keypair;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn public(seed: u8) -> SubjectKey {
        subject_key(key(seed).public_key().key_data()).unwrap()
    }

    fn line(kind: CertType, change: impl FnOnce(&mut Builder)) -> String {
        let subject = key(1).public_key().key_data().clone();
        let mut builder = Builder::new(vec![1; 32], subject, NOW.secs() - 300, NOW.secs() + 600).unwrap();
        builder.serial(1).unwrap().key_id("host").unwrap();
        builder.cert_type(kind).unwrap();
        change(&mut builder);
        builder.sign(&key(9)).unwrap().to_openssh().unwrap()
    }

    fn named(name: &str) -> String {
        line(CertType::Host, |builder| {
            builder.valid_principal(name).unwrap();
        })
    }

    #[test]
    fn only_a_right_host_certificate_is_put_in_place() {
        let verify = |line: &str| HostCertificate::verify(line, &public(1), &[public(8), public(9)], NOW);
        let good = verify(&format!("{} comment", named("web-1.example.com"))).unwrap();
        assert_eq!(good.names(), ["web-1.example.com"]);
        assert_eq!(good.renewal_time(), NOW.plus(300));
        assert!(!good.text().contains("comment"));
        let user = line(CertType::User, |builder| {
            builder.valid_principal("a").unwrap();
        });
        let critical = line(CertType::Host, |builder| {
            builder.valid_principal("a").unwrap().critical_option("x", "").unwrap();
        });
        let any = line(CertType::Host, |builder| {
            builder.all_principals_valid().unwrap();
        });
        assert_eq!(verify(&user), Err(HostCertificateError::NotHost));
        assert_eq!(verify(&critical), Err(HostCertificateError::CriticalOptions));
        assert_eq!(verify(&any), Err(HostCertificateError::NoName));
        assert_eq!(
            verify(&named("*.example.com")),
            Err(HostCertificateError::BadName("*.example.com".to_owned()))
        );
        assert!(matches!(
            verify("ssh-ed25519 AAAA"),
            Err(HostCertificateError::Unreadable(_))
        ));
        let right = named("a");
        let with = |key: &SubjectKey, ca: &[SubjectKey], now| HostCertificate::verify(&right, key, ca, now);
        assert_eq!(with(&public(2), &[public(9)], NOW), Err(HostCertificateError::OtherKey));
        assert!(matches!(
            with(&public(1), &[public(8)], NOW),
            Err(HostCertificateError::OtherCa(_))
        ));
        assert!(matches!(
            with(&public(1), &[], NOW),
            Err(HostCertificateError::OtherCa(_))
        ));
        assert!(matches!(
            with(&public(1), &[public(9)], NOW.plus(600)),
            Err(HostCertificateError::Ended { .. })
        ));
    }
}
