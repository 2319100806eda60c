//! The only reader of the environment: names, fall-backs to Vault's and OpenBao's, and the folders that are ours.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::secret_file::{self, SecretFileError};

/// What the environment says, read once.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    home: Option<PathBuf>,
    config_dir: Option<PathBuf>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Environment")
    }
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// There is no home folder to keep it in.
    #[error("there is no configuration folder to keep the token in")]
    NoFolder,
    /// Reading or writing failed.
    #[error("the token file `{path}` cannot be used")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("the token file `{path}` has mode {mode:04o}; others can read it")]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Far longer than any token.
const TOKEN_FILE_BYTES_MAX: u64 = 64 * 1024;

/// In which order a setting is looked for: ours, Vault's, OpenBao's.
const PREFIXES: [&str; 3] = ["SIGNET_", "VAULT_", "BAO_"];

impl Environment {
    /// Reads this process's environment.
    #[must_use]
    pub fn from_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self {
            variables: variables.collect(),
            home: dirs::home_dir(),
            config_dir: dirs::config_dir(),
        }
    }

    /// `SIGNET_<name>`, else `VAULT_<name>`, else `BAO_<name>`; an empty value counts as unset.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<String> {
        PREFIXES
            .iter()
            .find_map(|prefix| self.plain(&format!("{prefix}{name}")))
    }

    /// One variable by its full name; an empty value counts as unset.
    #[must_use]
    pub fn plain(&self, name: &str) -> Option<String> {
        let value = self.variables.get(name)?.to_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The person's home folder.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// `~/x` with the home folder put in.
    #[must_use]
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }

    /// Where sockets and temporary files live: `$XDG_RUNTIME_DIR/signet`, else a folder of this user in the system's
    /// temporary folder.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        match self.plain("XDG_RUNTIME_DIR") {
            Some(base) if Path::new(&base).is_absolute() => Path::new(&base).join("signet"),
            _ => std::env::temp_dir().join(format!("signet-{}", rustix::process::geteuid().as_raw())),
        }
    }

    /// The variables an agent needs: where its folders are and which roots to believe, but no token.
    #[must_use]
    pub fn for_agent(&self) -> Vec<(&str, &OsString)> {
        const KEPT: [&str; 7] = [
            "HOME",
            "PATH",
            "LANG",
            "TMPDIR",
            "XDG_RUNTIME_DIR",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ];
        KEPT.iter()
            .filter_map(|name| self.variables.get_key_value(*name))
            .map(|(name, value)| (name.as_str(), value))
            .collect()
    }

    /// The token: from the environment, our token file, then Vault's.
    ///
    /// # Errors
    /// [`TokenFileError::Io`] when a token file is there and cannot be read, [`TokenFileError::TooOpen`] when others can.
    pub fn token(&self) -> Result<Option<SecretString>, TokenFileError> {
        if let Some(token) = self.setting("TOKEN") {
            return Ok(Some(SecretString::from(token.trim().to_owned())));
        }
        let files = [
            self.token_file(),
            self.home.as_ref().map(|home| home.join(".vault-token")),
        ];
        for path in files.into_iter().flatten() {
            match secret_file::read(&path, TOKEN_FILE_BYTES_MAX) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => return Ok(Some(SecretString::from(text.trim().to_owned()))),
                Err(SecretFileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(SecretFileError::Io(source)) => return Err(TokenFileError::Io { path, source }),
                Err(SecretFileError::TooOpen { mode }) => return Err(TokenFileError::TooOpen { path, mode }),
            }
        }
        Ok(None)
    }

    /// True when the token comes from a variable, which no `login` or `logout` can change.
    #[must_use]
    pub fn token_variable(&self) -> Option<String> {
        PREFIXES
            .iter()
            .map(|prefix| format!("{prefix}TOKEN"))
            .find(|name| self.plain(name).is_some())
    }

    /// `<configuration folder>/signet/token`.
    #[must_use]
    pub fn token_file(&self) -> Option<PathBuf> {
        Some(self.config_dir.as_ref()?.join("signet").join("token"))
    }

    /// Stores the token, 0600, by rename: nobody ever reads a half-written or a world-readable one.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn store_token(&self, token: &SecretString) -> Result<PathBuf, TokenFileError> {
        let path = self.token_file().ok_or(TokenFileError::NoFolder)?;
        let write = || -> std::io::Result<()> {
            let folder = path.parent().ok_or(std::io::ErrorKind::NotFound)?;
            std::fs::create_dir_all(folder)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
            let fresh = folder.join(format!(".token.{}", std::process::id()));
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(token.expose_secret().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|source| TokenFileError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Removes our token file; answers whether there was one.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn remove_token(&self) -> Result<bool, TokenFileError> {
        let path = self.token_file().ok_or(TokenFileError::NoFolder)?;
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(TokenFileError::Io { path, source }),
        }
    }

    /// An environment for tests.
    #[must_use]
    pub fn for_test(variables: &[(&str, &str)], home: &Path) -> Self {
        Self {
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
                .collect(),
            home: Some(home.to_owned()),
            config_dir: Some(home.join(".config")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_wins_over_vaults_and_vaults_over_openbaos() {
        let home = tempfile::tempdir().unwrap();
        let all = [("BAO_ADDR", "b"), ("VAULT_ADDR", "v"), ("SIGNET_ADDR", "s")];
        for (from, want) in [(0, "s"), (1, "v"), (2, "b")] {
            let environment = Environment::for_test(all.get(..3 - from).unwrap(), home.path());
            assert_eq!(environment.setting("ADDR").unwrap(), want);
        }
        assert_eq!(
            Environment::for_test(&[("SIGNET_ADDR", ""), ("VAULT_ADDR", "v")], home.path())
                .setting("ADDR")
                .unwrap(),
            "v"
        );
    }

    #[test]
    fn a_stored_token_is_private_and_read_before_vaults() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::for_test(&[], home.path());
        assert!(environment.token().unwrap().is_none());
        let vaults = home.path().join(".vault-token");
        std::fs::write(&vaults, "hvs.vault\n").unwrap();
        let open = |mode| std::fs::set_permissions(&vaults, std::fs::Permissions::from_mode(mode)).unwrap();
        open(0o644);
        let refused = environment.token().unwrap_err();
        assert!(matches!(refused, TokenFileError::TooOpen { mode: 0o644, .. }));
        open(0o600);
        assert_eq!(environment.token().unwrap().unwrap().expose_secret(), "hvs.vault");
        let path = environment
            .store_token(&SecretString::from("hvs.ours".to_owned()))
            .unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(environment.token().unwrap().unwrap().expose_secret(), "hvs.ours");
        assert!(environment.remove_token().unwrap());
        assert!(!environment.remove_token().unwrap());
    }
}
