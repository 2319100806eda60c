//! The server's TLS identity: certificate files that somebody gave, or a self-signed certificate made at first start.
//! Files are read again on SIGHUP; connections in progress keep what they have.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::secret_file::write_new;

const CERTIFICATE_FILE: &str = "tls.crt";
const KEY_FILE: &str = "tls.key";

/// Why there is no TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file holds no PEM of the wanted kind.
    #[error("`{}` holds no {wanted}: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// The parser's reason.
        reason: String,
    },
    /// Others can read the private key.
    #[error("`{}` can be read by everybody on this machine: run `chmod o-rwx` on it", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit, or the key is of an unknown kind.
    #[error("the certificate and its key cannot be used together")]
    Unusable(#[source] rustls::Error),
    /// The self-signed certificate cannot be made.
    #[error("a self-signed certificate cannot be made")]
    SelfSigned(#[source] rcgen::Error),
}

/// The certificate that is presented, and where it comes from.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Presented>,
}

#[derive(Debug)]
struct Presented(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Reads the files that somebody gave.
    ///
    /// # Errors
    /// [`TlsError`] saying which file is wrong.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let first = read(certificate, key)?;
        let current = Arc::new(Presented(ArcSwap::from_pointee(first)));
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
        })
    }

    /// Uses the self-signed certificate in the data folder; makes it, for `names`, where there is none.
    ///
    /// # Errors
    /// [`TlsError`] when it cannot be read or made.
    pub fn self_signed(data: &Path, names: &[String]) -> Result<Self, TlsError> {
        let (certificate, key) = (data.join(CERTIFICATE_FILE), data.join(KEY_FILE));
        if !(certificate.exists() && key.exists()) {
            make_self_signed(&certificate, &key, names)?;
        }
        Self::from_files(&certificate, &key)
    }

    /// Reads the files again. What was presented before stays when they are wrong.
    ///
    /// # Errors
    /// [`TlsError`] saying which file is wrong.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.0.store(Arc::new(read(&self.certificate, &self.key)?));
        Ok(())
    }

    /// SHA-256 of the certificate that is presented, as `AA:BB:…`: what people compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let current = self.current.0.load();
        let der = current.cert.first().map_or(&[][..], |certificate| certificate.as_ref());
        let hex: Vec<String> = digest(&SHA256, der)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        hex.join(":")
    }

    /// The file that clients give as `-ca-cert` when the certificate is self-signed.
    #[must_use]
    pub fn certificate_file(&self) -> &Path {
        &self.certificate
    }

    /// The configuration of the listener: TLS 1.2 and 1.3, HTTP/1.1 and 2, sessions resumed by tickets.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] when the crypto provider fails.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Presented>::clone(&self.current);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new().map_err(TlsError::Unusable)?;
        // A client that comes back needs one; each costs the handshake an encryption and a write.
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

/// aws-lc-rs, named at each use so that no second provider can slip in as the process's default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path, wanted, reason: String| TlsError::Pem {
        path: path.to_owned(),
        wanted,
        reason,
    };
    let text = read_file(certificate)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem(certificate, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(pem(
            certificate,
            "certificate",
            "no CERTIFICATE block was found".to_owned(),
        ));
    }
    let key_der =
        PrivateKeyDer::from_pem_slice(&read_key(key)?).map_err(|error| pem(key, "private key", error.to_string()))?;
    CertifiedKey::from_der(chain, key_der, &provider()).map_err(TlsError::Unusable)
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

fn read_key(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsError> {
    const OTHERS: u32 = 0o007;
    let metadata = fs::metadata(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })?;
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(TlsError::KeyExposed { path: path.to_owned() });
    }
    read_file(path).map(zeroize::Zeroizing::new)
}

/// A leaf certificate without the CA flag: with it, strict clients refuse to see it as a server's.
fn make_self_signed(certificate: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
    let pair = rcgen::KeyPair::generate().map_err(TlsError::SelfSigned)?;
    let mut params = rcgen::CertificateParams::new(names.to_vec()).map_err(TlsError::SelfSigned)?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "signet-ca self-signed");
    params
        .extended_key_usages
        .push(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let made = params.self_signed(&pair).map_err(TlsError::SelfSigned)?;
    let write = |path: &Path, bytes: &[u8]| {
        // A half that a crash left behind is of no use without the other.
        let removed = fs::remove_file(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        removed
            .and_then(|()| write_new(path, bytes))
            .map_err(|source| TlsError::File {
                path: path.to_owned(),
                source,
            })
    };
    // The certificate comes last: where it is, its key is too.
    write(key, zeroize::Zeroizing::new(pair.serialize_pem()).as_bytes())?;
    write(certificate, made.pem().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_made_once_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = Tls::self_signed(data.path(), &names).unwrap();
        let again = Tls::self_signed(data.path(), &names).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
        assert!(first.server_config().is_ok());
        let mode = fs::metadata(data.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_wrong_reload_keeps_what_was_presented() {
        let data = tempfile::tempdir().unwrap();
        let tls = Tls::self_signed(data.path(), &["localhost".to_owned()]).unwrap();
        let before = tls.fingerprint();
        fs::write(data.path().join(CERTIFICATE_FILE), "nonsense").unwrap();
        assert!(matches!(
            tls.reload(),
            Err(TlsError::Pem {
                wanted: "certificate",
                ..
            })
        ));
        assert_eq!(tls.fingerprint(), before);
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let tls = Tls::self_signed(data.path(), &["localhost".to_owned()]).unwrap();
        fs::set_permissions(data.path().join(KEY_FILE), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::KeyExposed { .. })));
    }
}
