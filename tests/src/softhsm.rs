//! A PKCS#11 token on this machine: SoftHSM, as Debian ships it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::workdir::Workdir;

/// The user PIN of every token.
pub const PIN: &str = "4711-0815";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token that one authority has.
#[derive(Debug)]
pub struct Token {
    folder: Workdir,
}

impl Token {
    /// A new one, with no key on it.
    pub fn empty() -> Self {
        let folder = Workdir::new();
        folder.folder("tokens");
        let conf = format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            folder.path().join("tokens").display()
        );
        folder.write("softhsm2.conf", &conf);
        let token = Self { folder };
        token.write_pin(PIN);
        token.add("signet");
        token
    }

    /// Adds a token of another label to the same machine, with the same PIN.
    pub fn add(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--pin", PIN])
            .args(["--so-pin", "87654321"])
            .env("SOFTHSM2_CONF", self.conf())
            .output()
            .expect("softhsm2-util; type: apt-get install softhsm2 opensc");
        assert!(made.status.success(), "{made:?}");
    }

    /// `[[key_holder]]` of the token with this label, for these mounts.
    pub fn key_holder(&self, name: &str, label: &str, mounts: &[&str]) -> String {
        let settings = self
            .settings()
            .replace("token_label = \"signet\"", &format!("token_label = \"{label}\""))
            .replace(", ", "\n");
        format!("\n[[key_holder]]\nname = \"{name}\"\nmounts = {mounts:?}\n{settings}\n")
    }

    /// What `SOFTHSM2_CONF` names.
    pub fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    /// Puts a PIN, right or wrong, where the settings say.
    pub fn write_pin(&self, pin: &str) {
        self.folder.write("pin", pin);
        std::fs::set_permissions(self.pin_file(), std::fs::Permissions::from_mode(0o600)).expect("mode 0600");
    }

    /// Where the settings say that the PIN is.
    pub fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    /// The keys that every use of the token needs.
    pub fn settings(&self) -> String {
        format!(
            "type = \"pkcs11\", module = \"{MODULE}\", token_label = \"signet\", pin_file = \"{}\", create = true",
            self.pin_file().display()
        )
    }

    /// A mount whose CA key is made on the token.
    pub fn mount(&self, name: &str, key_type: &str, bits: u32) -> String {
        format!(
            "\n[[mount]]\npath = \"{name}\"\nca_key = {{ {}, key_label = \"ca {name}\", key_type = \"{key_type}\", key_bits = {bits} }}\n",
            self.settings()
        )
    }

    /// `[seal]` with a key that is made on the token.
    pub fn seal(&self) -> String {
        format!(
            "\n[seal]\n{}\nkey_label = \"seal\"\n",
            self.settings().replace(", ", "\n")
        )
    }

    /// Takes it out of the machine.
    pub fn pull(&self) {
        let path = self.folder.path();
        std::fs::rename(path.join("tokens"), path.join("away")).expect("the token comes out");
    }

    /// Undoes [`Self::pull`].
    pub fn put_back(&self) {
        let path = self.folder.path();
        std::fs::rename(path.join("away"), path.join("tokens")).expect("the token goes in");
    }

    /// Has every call that looks at the token wait until the value is dropped: SoftHSM locks its files before it reads them.
    #[must_use]
    pub fn hang(&self) -> Hang {
        let mut held = Vec::new();
        for folder in std::fs::read_dir(self.folder.path().join("tokens")).expect("the tokens") {
            for file in std::fs::read_dir(folder.expect("a token").path()).expect("its files") {
                let file = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open(file.expect("a file").path())
                    .expect("a file of the token");
                rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
                held.push(file);
            }
        }
        Hang { _held: held }
    }

    /// The value of `SOFTHSM2_CONF`.
    pub fn environment(&self) -> String {
        self.conf().display().to_string()
    }
}

/// A token that answers nothing.
#[derive(Debug)]
pub struct Hang {
    _held: Vec<std::fs::File>,
}
