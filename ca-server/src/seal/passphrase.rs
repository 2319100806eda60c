//! The passphrase seal: Argon2id makes a key of what a person or systemd knows, and that key wraps the root key. Salt and
//! parameters lie beside it, so that they can grow with the machines.

use std::path::PathBuf;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{RootKey, Seal, SealError, SealKind, unwrap_root, wrap_root};
use crate::random;
use crate::secret_file::{self, SecretFileError};
use crate::terminal;

const KIND: SealKind = SealKind::Passphrase;
/// RFC 9106, "Parameter Choice", second recommendation: 64 MiB, three passes, here with one lane.
const COST: Cost = Cost {
    memory_kib: 65_536,
    passes: 3,
    lanes: 1,
};
/// What a store may ask for: whoever writes it must not exhaust the memory of a server that starts.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;
/// Shorter ones are guessed in hours.
const CHARS_MIN: usize = 12;
const PROMPTS: u32 = 3;

/// Where the passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `LoadCredential=NAME:…` in the unit; systemd puts it below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A file of mode 0600.
    File(PathBuf),
    /// Whoever sits at the terminal when the server starts.
    Prompt,
}

/// A passphrase.
#[derive(Debug)]
pub struct PassphraseSeal {
    source: Source,
    cost: Cost,
}

/// What an Argon2id key costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The wrapped root key as it lies in the store: JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Wrapped {
    kdf: String,
    cost: Cost,
    salt: String,
    sealed: String,
}

impl PassphraseSeal {
    /// The place that the passphrase comes from; nothing is read yet.
    #[must_use]
    pub const fn new(source: Source) -> Self {
        Self { source, cost: COST }
    }

    /// One that costs nothing to try.
    #[cfg(test)]
    pub(crate) const fn cheap(source: Source) -> Self {
        let cost = Cost {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
        };
        Self { source, cost }
    }

    fn read(&self, prompt: &str) -> Result<Zeroizing<String>, SealError> {
        let text = match &self.source {
            Source::Credential(name) => secret_file::credential(name).map_err(file_error)?,
            Source::File(path) => secret_file::read(path).map_err(file_error)?,
            Source::Prompt => ask(prompt)?,
        };
        let passphrase = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
        if passphrase.chars().count() < CHARS_MIN {
            return Err(setup(format!(
                "the passphrase must have at least {CHARS_MIN} characters"
            )));
        }
        Ok(passphrase)
    }
}

impl Seal for PassphraseSeal {
    fn kind(&self) -> SealKind {
        KIND
    }

    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        let passphrase = self.read("New passphrase of the seal")?;
        if self.source == Source::Prompt && *ask("The same again")? != *passphrase {
            return Err(setup("the two passphrases differ; start again".to_owned()));
        }
        let mut salt = [0; 16];
        random::fill(&mut salt).map_err(|error| unavailable(error.to_string()))?;
        let key = derive(&passphrase, &salt, self.cost)?;
        let wrapped = Wrapped {
            kdf: "argon2id".to_owned(),
            cost: self.cost,
            salt: STANDARD.encode(salt),
            sealed: STANDARD.encode(wrap_root(KIND, &key, root_key)?),
        };
        serde_json::to_vec(&wrapped).map_err(|error| setup(error.to_string()))
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        let wrong = || SealError::WrongKey { kind: KIND };
        let wrapped: Wrapped = serde_json::from_slice(wrapped).map_err(|_| wrong())?;
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = wrapped.cost;
        if wrapped.kdf != "argon2id" || memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            return Err(wrong());
        }
        let salt = STANDARD.decode(&wrapped.salt).map_err(|_| wrong())?;
        let sealed = STANDARD.decode(&wrapped.sealed).map_err(|_| wrong())?;
        let attempts = if self.source == Source::Prompt { PROMPTS } else { 1 };
        for _ in 0..attempts {
            let passphrase = self.read("Passphrase of the seal")?;
            if let Ok(root) = unwrap_root(KIND, &*derive(&passphrase, &salt, wrapped.cost)?, &sealed) {
                return Ok(root);
            }
        }
        Err(wrong())
    }
}

fn derive(passphrase: &str, salt: &[u8], cost: Cost) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
    let params = params.map_err(|error| setup(format!("Argon2id: {error}")))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .map_err(|error| setup(format!("Argon2id: {error}")))?;
    Ok(key)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, SealError> {
    terminal::ask(prompt).map_err(|error| {
        setup(format!(
            "there is no terminal to ask on ({error}): start it by hand, or set `credential` or `file` in [seal]"
        ))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn file_error(error: SecretFileError) -> SealError {
    let reason = error.of("the passphrase file");
    match error {
        SecretFileError::Missing { .. } => unavailable(reason),
        _ => setup(reason),
    }
}

fn unavailable(reason: String) -> SealError {
    SealError::Unavailable { kind: KIND, reason }
}

fn setup(reason: String) -> SealError {
    SealError::Setup { kind: KIND, reason }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    fn seal_of(path: &Path, text: &str) -> PassphraseSeal {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        PassphraseSeal::cheap(Source::File(path.to_owned()))
    }

    #[test]
    fn only_the_same_passphrase_opens_and_the_parameters_lie_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let root = RootKey::new(Zeroizing::new([3; 32]));
        let seal = seal_of(&path, "correct horse battery staple\n");
        let wrapped = seal.wrap(&root).unwrap();
        assert!(
            String::from_utf8(wrapped.clone())
                .unwrap()
                .contains("\"memory_kib\":64")
        );
        assert_eq!(seal.unwrap(&wrapped).unwrap().expose(), root.expose());
        // The parameters that were written count, not those of a newer program.
        let newer = PassphraseSeal::new(Source::File(path.clone()));
        assert_eq!(newer.unwrap(&wrapped).unwrap().expose(), root.expose());
        let wrong = SealError::WrongKey { kind: KIND };
        assert_eq!(
            seal_of(&path, "correct horse battery stable")
                .unwrap(&wrapped)
                .unwrap_err(),
            wrong
        );
        assert_eq!(seal.unwrap(b"rubbish").unwrap_err(), wrong);
        let greedy = String::from_utf8(wrapped).unwrap().replace(":64", ":4000000000");
        assert_eq!(seal.unwrap(greedy.as_bytes()).unwrap_err(), wrong);
    }

    #[test]
    fn a_short_passphrase_an_open_file_and_an_absent_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let root = RootKey::new(Zeroizing::new([3; 32]));
        assert!(matches!(
            seal_of(&path, "short").wrap(&root).unwrap_err(),
            SealError::Setup { .. }
        ));
        let seal = seal_of(&path, "correct horse battery staple");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(seal.wrap(&root).unwrap_err().to_string().contains("chmod 600"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(seal.wrap(&root).unwrap_err(), SealError::Unavailable { .. }));
        let absent = PassphraseSeal::new(Source::Credential("absent".to_owned()));
        assert!(absent.wrap(&root).unwrap_err().to_string().contains("LoadCredential"));
    }
}
