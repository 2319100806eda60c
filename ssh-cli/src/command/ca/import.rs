//! A CA key of one's own, read from a file. An encrypted one is opened here and not by the server: a passphrase may guard
//! more than this key, while the key itself has to be sent anyhow.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use signet_core::signer::{ImportError, KeyFile, Signer as _, SoftwareSigner};
use zeroize::Zeroizing;

use crate::agent::server::keep_memory_private;
use crate::breakglass::files::read_secret;
use crate::report::{Exit, Failure};
use crate::terminal;

/// Longer than any key; a passphrase is shorter still.
const BYTES_MAX: u64 = 65_536;

/// A CA key in the form that Vault takes.
pub(super) struct CaKeyPair {
    /// PEM, or OpenSSH's format; not encrypted.
    pub(super) private: Zeroizing<String>,
    /// The public half's line.
    pub(super) public: String,
}

/// Reads a private key, and the `.pub` beside it if there is one, which must belong to it. `passphrase_file` may be `-`.
///
/// # Errors
/// [`Failure`]
pub(super) fn read(file: &Path, passphrase_file: Option<&Path>) -> Result<CaKeyPair, Failure> {
    keep_memory_private();
    let private = read_key(file)?;
    let public_file = public_half(file);
    let public = match std::fs::read_to_string(&public_file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&public_file, &error)),
    };
    let opened = |passphrase: Option<&str>| {
        SoftwareSigner::import(KeyFile {
            private: &private,
            public: public.as_deref(),
            passphrase,
        })
    };
    let given = passphrase_file.map(passphrase).transpose()?;
    let signer = match opened(given.as_ref().map(|text| text.as_str())) {
        Err(ImportError::Encrypted) => opened(Some(&ask(file)?)),
        other => other,
    };
    let signer = signer.map_err(|error| failure(file, &public_file, &error))?;
    let private = signer.to_private_pem().map_err(|error| {
        Failure::new(Exit::Failed, "the private key cannot be written out").cause(error.to_string())
    })?;
    Ok(CaKeyPair {
        private,
        public: signer.public_line(),
    })
}

fn read_key(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(file)
        .and_then(|open| open.take(BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| unreadable(file, &error))?;
    Ok(text)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("`{}` cannot be read", file.display())).cause(error.to_string())
}

fn public_half(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

fn passphrase(from: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = if from == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .take(BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| unreadable(from, &error))?;
        text
    } else {
        read_secret(from)?
    };
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn ask(file: &Path) -> Result<Zeroizing<String>, Failure> {
    terminal::ask_secret(&format!("Passphrase of {}: ", file.display())).map_err(|error| {
        Failure::usage(format!(
            "there is no terminal to ask for the passphrase of `{}`",
            file.display()
        ))
        .cause(error.to_string())
        .hint("use -passphrase-file")
    })
}

fn failure(file: &Path, public_file: &Path, error: &ImportError) -> Failure {
    let (file, public) = (file.display(), public_file.display());
    let (what, hint) = if let ImportError::Mismatch = error {
        (
            format!("`{public}` is not the public half of `{file}`"),
            "take it away: the public half is computed where there is no .pub beside the key",
        )
    } else if let ImportError::Public(_) = error {
        (
            format!("`{public}` is not a public key"),
            "take it away, or write it anew: ssh-keygen -y -f FILE > FILE.pub",
        )
    } else {
        (format!("`{file}` cannot be imported"), error.hint())
    };
    Failure::new(Exit::Usage, what).cause(error.to_string()).hint(hint)
}
