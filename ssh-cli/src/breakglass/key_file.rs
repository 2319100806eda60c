//! Break-glass keys in OpenSSH's own format, encrypted (aes256-ctr, bcrypt): `ssh-keygen` and `ssh` of any machine open them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use signet_core::subject_key::SubjectKey;
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData};
use ssh_key::rand_core::{TryRng as _, UnwrapErr};
use ssh_key::{Cipher, EcdsaCurve, Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::files;
use super::passphrase::Passphrase;
use crate::random::Kernel;
use crate::report::{Exit, Failure};

/// ssh-keygen's own default is 16 (24 since 9.4).
pub const ROUNDS_MIN: u32 = 16;
/// A minute and more: a file that asks for more than this would only keep somebody waiting.
pub const ROUNDS_MAX: u32 = 10_000;

/// What kind of key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyType {
    /// Ed25519, in a file
    Ed25519,
    /// ECDSA over P-256, in a file
    Ecdsa,
    /// Ed25519, in a FIDO security key
    #[value(name = "ed25519-sk")]
    Ed25519Sk,
    /// ECDSA over P-256, in a FIDO security key
    #[value(name = "ecdsa-sk")]
    EcdsaSk,
}

impl KeyType {
    /// ssh-keygen's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Ed25519Sk => "ed25519-sk",
            Self::EcdsaSk => "ecdsa-sk",
        }
    }

    /// Whether the key lives in a token.
    #[must_use]
    pub const fn is_security_key(self) -> bool {
        matches!(self, Self::Ed25519Sk | Self::EcdsaSk)
    }
}

/// Why a key cannot be made, sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Making or encrypting it failed.
    #[error("the key cannot be made")]
    Make(#[source] ssh_key::Error),
    /// Not a private key of OpenSSH's.
    #[error("`{path}` is not an OpenSSH private key")]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ssh_key::Error,
    },
    /// It would take for ever to open.
    #[error("`{path}` asks for {rounds} rounds of key derivation, more than {ROUNDS_MAX}")]
    TooManyRounds {
        /// Which file.
        path: PathBuf,
        /// How many.
        rounds: u32,
    },
    /// Wrong passphrase.
    #[error("the passphrase does not open `{path}`")]
    WrongPassphrase {
        /// Which file.
        path: PathBuf,
    },
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            KeyFileError::Make(_) => failure.hint("try again; if it stays so, use ssh-keygen and tell us"),
            KeyFileError::NotAKey { .. } => failure.hint("give the private key, the file without .pub"),
            KeyFileError::TooManyRounds { .. } => failure.hint("this is no file of `signet breakglass new`"),
            KeyFileError::WrongPassphrase { .. } => failure
                .hint("compare the groups with the page; the offline CA and the sealed key have a passphrase each"),
        }
    }
}

/// Makes a key in memory.
///
/// # Errors
/// [`KeyFileError::Make`]
pub fn generate(ecdsa: bool, comment: &str) -> Result<PrivateKey, KeyFileError> {
    let data = if ecdsa {
        EcdsaKeypair::random(&mut UnwrapErr(Kernel), EcdsaCurve::NistP256)
            .map(KeypairData::from)
            .map_err(KeyFileError::Make)?
    } else {
        KeypairData::from(Ed25519Keypair::random(&mut UnwrapErr(Kernel)))
    };
    PrivateKey::new(data, comment).map_err(KeyFileError::Make)
}

/// The encrypted file's text.
///
/// # Errors
/// [`KeyFileError::Make`]
pub fn seal(key: &PrivateKey, passphrase: &Passphrase, rounds: u32) -> Result<Zeroizing<String>, KeyFileError> {
    let mut salt = vec![0; 16];
    let random = |error| KeyFileError::Make(rng_failure(error));
    Kernel.try_fill_bytes(&mut salt).map_err(random)?;
    let check = Kernel.try_next_u32().map_err(random)?;
    key.encrypt_with(
        Cipher::Aes256Ctr,
        Kdf::Bcrypt { salt, rounds },
        check,
        passphrase.expose(),
    )
    .and_then(|sealed| sealed.to_openssh(LineEnding::LF))
    .map_err(KeyFileError::Make)
}

const fn rng_failure(_: rustix::io::Errno) -> ssh_key::Error {
    ssh_key::Error::RngFailure
}

/// How many rounds take about `wanted` on this machine.
#[must_use]
pub fn rounds_for(wanted: Duration) -> u32 {
    let probe = Kdf::Bcrypt {
        salt: vec![7; 16],
        rounds: ROUNDS_MIN,
    };
    let started = Instant::now();
    let mut output = [0; 48];
    if probe.derive("calibration", &mut output).is_err() {
        return ROUNDS_MIN;
    }
    let each = started.elapsed().as_nanos() / u128::from(ROUNDS_MIN);
    let rounds = wanted.as_nanos() / each.max(1);
    // 32 at least, also on a machine that is busy at this moment.
    u32::try_from(rounds)
        .unwrap_or(ROUNDS_MAX)
        .clamp(ROUNDS_MIN * 2, ROUNDS_MAX)
}

/// Reads a private key file, encrypted or not.
///
/// # Errors
/// [`KeyFileError`], or the file system's.
pub fn read(path: &Path) -> Result<PrivateKey, Failure> {
    let text = files::read(path)?;
    let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|source| KeyFileError::NotAKey {
        path: path.to_owned(),
        source,
    })?;
    match key.kdf() {
        Kdf::Bcrypt { rounds, .. } if *rounds > ROUNDS_MAX => Err(KeyFileError::TooManyRounds {
            path: path.to_owned(),
            rounds: *rounds,
        }
        .into()),
        _ => Ok(key),
    }
}

/// Decrypts a key.
///
/// # Errors
/// [`KeyFileError::WrongPassphrase`]
pub fn open(key: &PrivateKey, path: &Path, passphrase: &Passphrase) -> Result<PrivateKey, KeyFileError> {
    let wrong = || KeyFileError::WrongPassphrase { path: path.to_owned() };
    let opened = key.decrypt(passphrase.expose()).map_err(|_| wrong())?;
    // The public half stands unencrypted in the file; what was decrypted must belong to it.
    (opened.public_key().key_data() == key.public_key().key_data())
        .then_some(opened)
        .ok_or_else(wrong)
}

/// The public half, checked as every key is.
///
/// # Errors
/// [`Failure`]
pub fn public(key: &PrivateKey) -> Result<SubjectKey, Failure> {
    let blob = key
        .public_key()
        .to_bytes()
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    SubjectKey::from_blob(blob).map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// Has ssh-keygen make a key in a security key. It asks for touch, PIN and passphrase itself, on the terminal.
///
/// # Errors
/// [`Failure`], most often because no security key is there.
pub fn make_in_token(
    kind: KeyType,
    path: &Path,
    comment: &str,
    rounds: u32,
    verify_required: bool,
) -> Result<SubjectKey, Failure> {
    let mut command = Command::new("ssh-keygen");
    command
        .args([
            "-q",
            "-t",
            kind.as_str(),
            "-C",
            comment,
            "-a",
            &rounds.to_string(),
            "-f",
        ])
        .arg(path);
    if verify_required {
        command.args(["-O", "verify-required"]);
    }
    // Its questions are for the person; our stdout is for the result.
    command.stdout(Stdio::from(std::io::stderr()));
    let status = command.status().map_err(|error| keygen_missing(&error))?;
    if !status.success() {
        return Err(Failure::new(
            Exit::Failed,
            format!("ssh-keygen could not make a `{}` key", kind.as_str()),
        )
        .hint("plug in a FIDO security key (and install libfido2), or use -type=ed25519, which needs none"));
    }
    let mut line = path.as_os_str().to_owned();
    line.push(".pub");
    let line = files::read(Path::new(&line))?;
    SubjectKey::parse(line.trim()).map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// ssh-keygen is not there.
#[must_use]
pub fn keygen_missing(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "`ssh-keygen` cannot be run")
        .cause(error.to_string())
        .hint("install OpenSSH's client (package openssh-client)")
}
