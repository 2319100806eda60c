//! A SoftHSM token for one test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use signet_ca::config::{PinSource, Pkcs11Config, Pkcs11Token, TokenName};

pub(crate) const PIN: &str = "4711-0815";
pub(crate) const LABEL: &str = "signet test";
const FOLDER: &str = "SIGNET_TEST_TOKEN";

/// A token in a folder.
#[derive(Debug)]
pub(crate) struct SoftHsm {
    folder: PathBuf,
}

/// Runs `body` in a process of its own that sees one freshly initialised token. `test` is the test's full name.
pub(crate) fn with_token(test: &str, body: impl FnOnce(&SoftHsm)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return body(&SoftHsm { folder: folder.into() });
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("tokens")).unwrap();
    let conf = path.join("softhsm2.conf");
    std::fs::write(
        &conf,
        format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            path.join("tokens").display()
        ),
    )
    .unwrap();
    write_pin(path, PIN);
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            LABEL,
            "--pin",
            PIN,
            "--so-pin",
            "87654321",
        ])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .expect("softhsm2-util; type: apt-get install softhsm2 opensc");
    assert!(made.status.success(), "{made:?}");
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", &conf)
        .env("PKCS11SPY", module())
        .env("PKCS11SPY_OUTPUT", path.join("spy.log"))
        .env(FOLDER, path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    print!("{said}");
}

fn write_pin(folder: &Path, pin: &str) {
    let path = folder.join("pin");
    std::fs::write(&path, format!("{pin}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// SoftHSM's module.
pub(crate) fn module() -> PathBuf {
    PathBuf::from("/usr/lib/softhsm/libsofthsm2.so")
}

impl SoftHsm {
    /// The folder of the test.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes another PIN into the PIN file.
    pub(crate) fn write_pin(&self, pin: &str) {
        write_pin(&self.folder, pin);
    }

    /// The token, as `signet.toml` would describe it.
    pub(crate) fn token(&self) -> Pkcs11Token {
        Pkcs11Token {
            module: module(),
            token: TokenName::Label(LABEL.to_owned()),
            pin: PinSource::File(self.folder.join("pin")),
            sessions: 2,
            queue: 4,
            timeout: Duration::from_secs(5),
        }
    }

    /// The token through `OpenSC`'s spy, which logs each call.
    pub(crate) fn spied_token(&self) -> Pkcs11Token {
        Pkcs11Token {
            module: PathBuf::from("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"),
            ..self.token()
        }
    }

    /// How often a function was called, as the spy has it.
    pub(crate) fn calls(&self, function: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.join("spy.log")).unwrap_or_default();
        log.lines().filter(|line| line.ends_with(function)).count()
    }

    /// A key of this label, made if it is not there.
    pub(crate) fn key(&self, label: &str) -> Pkcs11Config {
        Pkcs11Config {
            token: self.token(),
            key_label: label.to_owned(),
            create: true,
        }
    }

    /// Pulls the token out.
    pub(crate) fn pull(&self) {
        std::fs::rename(self.folder.join("tokens"), self.folder.join("away")).unwrap();
    }

    /// Puts it back.
    pub(crate) fn put_back(&self) {
        std::fs::rename(self.folder.join("away"), self.folder.join("tokens")).unwrap();
    }
}
