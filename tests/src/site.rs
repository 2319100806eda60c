//! A host that is to trust a CA without an authority: the CA's key, a break-glass key, and the machine that both are for.

use std::path::PathBuf;
use std::process::Command;

use crate::binaries::system;
use crate::host::Host;
use crate::keys::KeyFile;
use crate::network::Network;
use crate::person::Ran;
use crate::ssh::HERMETIC;
use crate::tree::Tree;
use crate::workdir::Workdir;

/// A CA without an authority, a break-glass key, and the machine that both are for.
#[derive(Debug)]
pub struct Site {
    /// The machine, with sshd and our client.
    pub host: Host,
    /// Where keys and certificates lie.
    pub folder: Workdir,
    /// The CA.
    pub ca: KeyFile,
    /// The break-glass key.
    pub sealed: KeyFile,
    known_hosts: PathBuf,
    _network: Network,
}

impl Site {
    /// A machine of this release.
    pub fn new(tree: Tree) -> Self {
        Self::with_disk(tree, "1g")
    }

    /// As [`Self::new`], with a disk of this size (`"96m"`).
    pub fn with_disk(tree: Tree, size: &str) -> Self {
        let (network, folder) = (Network::new(), Workdir::new());
        let host = Host::with_disk(&network, tree, "web-1", size);
        host.install_client();
        host.start_sshd();
        let ca = KeyFile::ed25519(folder.path(), "ca");
        let sealed = KeyFile::ed25519(folder.path(), "sealed");
        host.write("/root/ca.pub", &format!("{}\n", ca.public_line()));
        host.write(
            "/root/breakglass.keys",
            &format!("restrict,pty {}\n", sealed.public_line()),
        );
        let known_hosts = folder.write("known_hosts", &format!("{} {}\n", host.address(), host.host_key()));
        Self {
            host,
            folder,
            ca,
            sealed,
            known_hosts,
            _network: network,
        }
    }

    /// Bakes the CA and the break-glass key, and starts sshd anew.
    pub fn bake(&self, more: &[&str]) -> Ran {
        let ran = self.bake_only(more);
        // Without systemd nobody tells sshd; it reads everything but its configuration at each login.
        if ran.code == Some(0) {
            self.restart_sshd();
        }
        ran
    }

    /// As [`Self::bake`], and leaves sshd alone.
    pub fn bake_only(&self, more: &[&str]) -> Ran {
        let words = [
            "host",
            "bake",
            "-ca-keys=/root/ca.pub",
            "-principals=ubuntu=backend,on-call",
            "-principals=root=on-call",
            "-breakglass=/root/breakglass.keys",
        ];
        self.host.signet(&[words.as_slice(), more].concat())
    }

    /// Starts sshd anew: it reads its configuration at its start only.
    pub fn restart_sshd(&self) {
        self.host.stop_sshd();
        self.host.start_sshd();
    }

    /// A fresh key with a certificate of the site's CA; `words` are ssh-keygen's.
    pub fn certificate(&self, name: &str, words: &[&str]) -> KeyFile {
        self.certificate_of(&self.ca, name, words)
    }

    /// As [`Self::certificate`], of another CA.
    pub fn certificate_of(&self, ca: &KeyFile, name: &str, words: &[&str]) -> KeyFile {
        let key = KeyFile::ed25519(self.folder.path(), name);
        let signed = Command::new(system("ssh-keygen"))
            .args(["-q", "-s"])
            .arg(ca.path())
            .args(["-I", name])
            .args(words)
            .arg(key.path().with_extension("pub"))
            .status();
        assert!(signed.unwrap().success(), "ssh-keygen signs {name}");
        key
    }

    /// Whether ssh gets in with this key and the certificate beside it.
    pub fn opens(&self, account: &str, key: &KeyFile) -> bool {
        let output = Command::new(system("ssh"))
            .args(HERMETIC)
            .arg(format!("-oUserKnownHostsFile={}", self.known_hosts.display()))
            .args([
                "-oIdentitiesOnly=yes",
                "-oIdentityAgent=none",
                "-oConnectTimeout=20",
                "-n",
                "-T",
                "-i",
            ])
            .arg(key.path())
            .arg(format!("{account}@{}", self.host.address()))
            .arg("true")
            .output();
        output.unwrap().status.success()
    }

    /// What a file tree looks like: names, modes, owners and contents.
    pub fn fingerprint(&self, folder: &str) -> String {
        let script = format!(
            "cd {folder}; find . -printf '%p %m %u %y\\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum"
        );
        self.host.shell(&script).succeeded().stdout
    }

    /// Exit code and words of `signet host check`.
    pub fn check(&self) -> (Option<i32>, String) {
        let ran = self.host.signet(&["host", "check"]);
        (ran.code, ran.stdout)
    }
}

/// Runs a test on every release at once.
pub fn on_each_release(test: impl Fn(Tree) + Sync) {
    std::thread::scope(|scope| {
        for tree in Tree::all() {
            let test = &test;
            scope.spawn(move || test(tree));
        }
    });
}

/// A KRL of the real ssh-keygen, in which serial 66 and the key ID `stolen` are revoked.
pub fn krl(site: &Site) -> PathBuf {
    let words = site.folder.write("words", "serial: 66\nid: stolen\n");
    let list = site.folder.path().join("krl");
    let status = Command::new(system("ssh-keygen"))
        .args(["-q", "-k", "-s"])
        .arg(site.ca.path().with_extension("pub"))
        .arg("-f")
        .arg(&list)
        .arg(&words)
        .status();
    assert!(status.unwrap().success(), "ssh-keygen makes a KRL");
    list
}

/// A trust bundle as `PROTOCOL.sshsig` has it, signed by the real ssh-keygen.
pub fn bundle(site: &Site, signer: &KeyFile, version: u64, valid_for_secs: i64) -> String {
    bundle_of(site, &[&site.ca], signer, version, valid_for_secs)
}

/// As [`bundle`], with these CAs.
pub fn bundle_of(site: &Site, cas: &[&KeyFile], signer: &KeyFile, version: u64, valid_for_secs: i64) -> String {
    let list = Command::new(system("base64"))
        .arg("-w0")
        .arg(krl(site))
        .output()
        .unwrap();
    let now = Command::new(system("date")).arg("+%s").output().unwrap();
    let now: i64 = String::from_utf8(now.stdout).unwrap().trim().parse().unwrap();
    let content = serde_json::json!({
        "authority": "test",
        "mount": "ssh",
        "version": version,
        "issued": now - 1,
        "valid_until": now + valid_for_secs,
        "user_ca_keys": cas.iter().map(|ca| ca.public_line()).collect::<Vec<_>>(),
        "krl_version": 1,
        "krl": String::from_utf8(list.stdout).unwrap(),
        "rules": [
            { "tags": [], "accounts": { "root": ["on-call"] } },
            { "tags": ["web"], "accounts": { "ubuntu": ["backend"] } },
            { "tags": ["db"], "accounts": { "deploy": ["backend"] } },
        ],
        "bundle_keys": [signer.public_line()],
    });
    let lines = format!("signet-trust-bundle-v1\n{content}\n");
    let path = site.folder.write(&format!("bundle-{version}"), &lines);
    let status = Command::new(system("ssh-keygen"))
        .args(["-q", "-Y", "sign", "-n", "trust-bundle.signet", "-f"])
        .arg(signer.path())
        .arg(&path)
        .status();
    assert!(status.unwrap().success());
    let armor = format!("{}.sig", path.display());
    let text = lines + &std::fs::read_to_string(&armor).unwrap();
    std::fs::remove_file(armor).unwrap();
    text
}
