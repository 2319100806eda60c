//! CA keys that somebody brings along: OpenSSH's format and PEM, encrypted or not. The public half must belong to the
//! private one, which Vault does not check; where none is given it is computed.

mod encrypted;

use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use data_encoding::BASE64;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use ssh_key::private::KeypairData;
use zeroize::Zeroizing;

use super::{Curve, SignError, SoftwareKey, SoftwareSigner};
use crate::subject_key::{SubjectKey, SubjectKeyError};

/// OpenSSH's format, as its PEM label names it.
const OPENSSH: &str = "OPENSSH PRIVATE KEY";

/// Why a CA key cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not a private key in a known format.
    #[error("failed to parse private_key: it is neither OpenSSH's format nor PEM")]
    Private,
    /// More than one private key.
    #[error("failed to parse private_key: it holds {0} private keys, and one is wanted")]
    Several(usize),
    /// In a known format, but no key comes out.
    #[error(
        "failed to parse private_key: it is damaged, or it is no Ed25519, ECDSA (P-256, P-384, P-521) or RSA private key"
    )]
    Damaged,
    /// An RSA key that is too short, or longer than sshd takes.
    #[error("failed to parse private_key: it is an RSA key of {0} bits, and 2048 to 8192 are used")]
    RsaBits(u32),
    /// A private key behind a passphrase, which was not given.
    #[error("failed to parse private_key: it is encrypted, and no passphrase was given")]
    Encrypted,
    /// A passphrase for a key that has none.
    #[error("a passphrase was given, but private_key is not encrypted")]
    NotEncrypted,
    /// The two cannot be told apart.
    #[error("failed to parse private_key: the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// Encrypted in a way that nobody should use any more, or that is too new.
    #[error("failed to parse private_key: it is encrypted by {0}, which is not read here")]
    Encryption(String),
    /// Opening it would take more than a key file should.
    #[error("failed to parse private_key: opening it would take {found} {unit}, and at most {most} are allowed")]
    Cost {
        /// What is counted.
        unit: &'static str,
        /// How many the file wants.
        found: u64,
        /// How many it may want.
        most: u64,
    },
    /// A key type that makes no certificates.
    #[error("failed to parse private_key: keys of type {0} cannot sign certificates here")]
    Type(String),
    /// The public half does not parse; a certificate, for example.
    #[error("failed to parse public_key: {0}")]
    Public(SubjectKeyError),
    /// The two halves are of different keys.
    #[error("public_key does not belong to private_key")]
    Mismatch,
    /// The key does not sign.
    #[error(transparent)]
    SelfTest(#[from] SignError),
}

impl ImportError {
    /// What to do about it; `""` where the error says it all.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Private => "give the file as ssh-keygen or openssl wrote it, from `-----BEGIN` to the end",
            Self::Several(_) => "give a file with this key alone",
            Self::Damaged => {
                "see what OpenSSH says of the file: ssh-keygen -y -f FILE; if it opens there, rewrite a copy as PEM: ssh-keygen \
                 -p -m PEM -f COPY"
            }
            Self::RsaBits(_) => "make another key: a rotation leads hosts to it without failing a login",
            Self::Encrypted => "give the passphrase too, as private_key_passphrase",
            Self::NotEncrypted => "leave the passphrase out",
            Self::Passphrase => {
                "try it: ssh-keygen -y -f FILE asks for the passphrase as well; if it opens there, rewrite a copy as PEM: \
                 ssh-keygen -p -m PEM -f COPY"
            }
            Self::Encryption(_) => {
                "rewrite a copy: ssh-keygen -p -f COPY, or openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out COPY"
            }
            Self::Cost { .. } => {
                "rewrite a copy: ssh-keygen -p -a 100 -f COPY, or openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 600000 \
                 -in FILE -out COPY"
            }
            Self::Type(_) => "use Ed25519, ECDSA or RSA",
            Self::Public(_) => "give the line of the .pub file, or leave public_key out: it is computed",
            Self::Mismatch => {
                "give the line that ssh-keygen -y -f FILE prints, or leave public_key out: it is computed"
            }
            Self::SelfTest(_) => "",
        }
    }
}

/// A CA key as somebody has it.
#[derive(Clone, Copy)]
pub struct KeyFile<'a> {
    /// OpenSSH's format, or PEM: PKCS#1, SEC 1 or PKCS#8.
    pub private: &'a str,
    /// Its public half's line; computed where it is not given.
    pub public: Option<&'a str>,
    /// What opens the private half, where it is encrypted.
    pub passphrase: Option<&'a str>,
}

/// Never anything of it.
impl std::fmt::Debug for KeyFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile")
    }
}

impl SoftwareSigner {
    /// Imports a private key and checks that the public half belongs to it. Opening an encrypted one takes up to seconds.
    ///
    /// # Errors
    /// [`ImportError`] saying which half is wrong.
    pub fn import(file: KeyFile<'_>) -> Result<Self, ImportError> {
        let public = file.public.map(SubjectKey::parse).transpose();
        let public = public.map_err(ImportError::Public)?;
        let signer = Self::new(read_private(file.private, file.passphrase)?)?;
        match public {
            Some(public) if public != signer.public => Err(ImportError::Mismatch),
            Some(_) | None => Ok(signer),
        }
    }

    /// The key as a file without a passphrase, in the format that Vault writes and reads.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the key cannot be written out.
    ///
    /// # Security
    /// The text is the CA key itself.
    pub fn to_private_pem(&self) -> Result<Zeroizing<String>, SignError> {
        self.key.private_pem()
    }
}

fn read_private(text: &str, passphrase: Option<&str>) -> Result<SoftwareKey, ImportError> {
    let (label, body) = only_block(text)?;
    if body.contains("Proc-Type:") {
        // RFC 1421's headers; its key derivation is one round of MD5, and no library that is looked after has it.
        return Err(ImportError::Encryption(
            "PEM's old way (Proc-Type: 4,ENCRYPTED)".to_owned(),
        ));
    }
    let der = decoded(body).ok_or(ImportError::Damaged)?;
    if label != OPENSSH && label != "ENCRYPTED PRIVATE KEY" && passphrase.is_some() {
        return Err(ImportError::NotEncrypted);
    }
    match label {
        OPENSSH => from_openssh(&encrypted::openssh(&der, passphrase)?),
        "ENCRYPTED PRIVATE KEY" => encrypted::pkcs8(&der, passphrase),
        "RSA PRIVATE KEY" => from_pkcs1(&der),
        "EC PRIVATE KEY" => each_curve(|curve| EcdsaKeyPair::from_private_key_der(curve.signing(), &der).ok()),
        "PRIVATE KEY" => from_pkcs8(&der),
        other => Err(ImportError::Type(other.trim_end_matches(" PRIVATE KEY").to_owned())),
    }
}

/// Label and body of the text's one private key. What stands around it, such as `EC PARAMETERS` or remarks, is passed over
/// (RFC 7468, "Explanatory text").
fn only_block(text: &str) -> Result<(&str, &str), ImportError> {
    let (mut found, mut count, mut rest) = (None, 0_usize, text);
    while let Some((label, after)) = rest
        .split_once("-----BEGIN ")
        .and_then(|(_, after)| after.split_once("-----"))
    {
        let is_key = label.ends_with("PRIVATE KEY") && label.len() <= 32 && !label.contains(char::is_control);
        match after.split_once(&format!("-----END {label}-----")) {
            Some((body, after)) => {
                rest = after;
                if is_key {
                    count = count.saturating_add(1);
                    found = Some((label, body));
                }
            }
            None if is_key => return Err(ImportError::Damaged),
            None => rest = after,
        }
    }
    match (found, count) {
        (Some(block), 1) => Ok(block),
        (None, _) => Err(ImportError::Private),
        (Some(_), several) => Err(ImportError::Several(several)),
    }
}

/// The bytes of a body, whatever the length of its lines: OpenSSH breaks them elsewhere than PEM, and some tools nowhere.
fn decoded(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut compact = Zeroizing::new(Vec::with_capacity(body.len()));
    compact.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    BASE64.decode(&compact).ok().map(Zeroizing::new)
}

fn each_curve(make: impl Fn(Curve) -> Option<EcdsaKeyPair>) -> Result<SoftwareKey, ImportError> {
    Curve::ALL
        .into_iter()
        .find_map(|curve| make(curve).map(|key| SoftwareKey::Ecdsa(curve, key)))
        .ok_or(ImportError::Damaged)
}

fn from_pkcs1(der: &[u8]) -> Result<SoftwareKey, ImportError> {
    RsaKeyPair::from_der(der)
        .map(SoftwareKey::Rsa)
        .map_err(|_| match rsa::RsaPrivateKey::from_pkcs1_der(der) {
            Ok(key) => unusual_rsa(&key),
            Err(_) => ImportError::Damaged,
        })
}

fn from_pkcs8(der: &[u8]) -> Result<SoftwareKey, ImportError> {
    if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(SoftwareKey::Ed25519(key));
    }
    if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
        return Ok(SoftwareKey::Rsa(key));
    }
    if let Ok(key) = rsa::RsaPrivateKey::from_pkcs8_der(der) {
        return Err(unusual_rsa(&key));
    }
    each_curve(|curve| EcdsaKeyPair::from_pkcs8(curve.signing(), der).ok())
}

/// Of an RSA key that aws-lc-rs does not take: its length is what is wrong with it, or else its numbers.
fn unusual_rsa(key: &rsa::RsaPrivateKey) -> ImportError {
    match key.n().bits() {
        2048..=8192 => ImportError::Damaged,
        bits => ImportError::RsaBits(bits),
    }
}

fn from_openssh(key: &ssh_key::PrivateKey) -> Result<SoftwareKey, ImportError> {
    let made = match key.key_data() {
        KeypairData::Ed25519(pair) => from_ed25519(pair),
        KeypairData::Ecdsa(pair) => {
            let curve = Curve::ALL
                .into_iter()
                .find(|curve| curve.ssh_curve_name() == pair.curve().as_str());
            curve.and_then(|curve| {
                let algorithm = curve.signing();
                EcdsaKeyPair::from_private_key_and_public_key(
                    algorithm,
                    pair.private_key_bytes(),
                    pair.public_key_bytes(),
                )
                .ok()
                .map(|key| SoftwareKey::Ecdsa(curve, key))
            })
        }
        KeypairData::Rsa(pair) => {
            let der = rsa::RsaPrivateKey::try_from(pair)
                .ok()
                .and_then(|key| key.to_pkcs1_der().ok());
            return from_pkcs1(der.ok_or(ImportError::Damaged)?.as_bytes());
        }
        _ => return Err(ImportError::Type(key.algorithm().to_string())),
    };
    made.ok_or(ImportError::Damaged)
}

/// The public half is computed from the seed: a file whose halves differ would sign with one key and name another
/// (RUSTSEC-2022-0093).
fn from_ed25519(pair: &ssh_key::private::Ed25519Keypair) -> Option<SoftwareKey> {
    let seed = Zeroizing::new(pair.private.to_bytes());
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    (public.as_bytes() == &pair.public.0)
        .then(|| Ed25519KeyPair::from_seed_and_public_key(seed.as_slice(), public.as_bytes()).ok())
        .flatten()
        .map(SoftwareKey::Ed25519)
}
