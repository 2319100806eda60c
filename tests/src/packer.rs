//! Packer 1.6.6 and the build of `ami/packer/local`, run against a host.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::system;
use crate::host::Host;
use crate::keys::KeyFile;
use crate::person::Ran;
use crate::workdir::Workdir;

/// A build that has run.
#[derive(Debug)]
pub struct Built {
    /// How Packer ended.
    pub ran: Ran,
    /// The key of the build, which must open nothing any more.
    pub key: KeyFile,
    folder: Workdir,
}

impl Built {
    /// The bill of trust that came out beside the image, if one did.
    pub fn bill(&self) -> Option<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.path().join("bill.json")).ok()?;
        Some(serde_json::from_str(&text).expect("JSON"))
    }
}

/// The folder of the project's image files.
pub fn ami() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree")
        .join("ami")
}

/// Makes `host` what a cloud starts a build on (a login user who may become root, with the build's key), and builds.
pub fn build(host: &Host, inputs: &Path, bake_flags: &str, after_bake: &str) -> Built {
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "packer_key");
    as_a_cloud_starts_it(host, &key);
    let mut packer = Command::new(system("packer"));
    packer.args(["build", "-color=false"]);
    for (name, value) in [
        ("inputs", inputs.display().to_string()),
        ("bill", folder.path().join("bill.json").display().to_string()),
        ("host", host.address().to_string()),
        ("user", "ubuntu".to_owned()),
        ("key", key.path().display().to_string()),
        ("bake_flags", bake_flags.to_owned()),
        ("after_bake", after_bake.to_owned()),
    ] {
        packer.arg(format!("-var={name}={value}"));
    }
    // The folder is Packer's too: its cache and its plugins' sockets.
    packer
        .arg(ami().join("packer/local"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env("PACKER_CACHE_DIR", folder.folder("cache"))
        .env("CHECKPOINT_DISABLE", "1");
    Built {
        ran: Ran::from(packer.output().expect("packer starts")),
        key,
        folder,
    }
}

/// A login user who may become root, and the key that the cloud was asked for.
pub fn as_a_cloud_starts_it(host: &Host, key: &KeyFile) {
    host.write_mode(
        "/etc/sudoers.d/90-cloud-init-users",
        "ubuntu ALL=(ALL) NOPASSWD:ALL\n",
        0o440,
    );
    let line = format!("{}\n", key.public_line());
    host.write("/home/ubuntu/.ssh/authorized_keys", &line);
}
