//! Images: the shared build run by Packer on a machine of its own, and what a host that starts from it lets in.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use signet_tests::binaries::system;
use signet_tests::estate::{DOMAIN, Estate, HOST_MOUNT};
use signet_tests::host::Host;
use signet_tests::keys::KeyFile;
use signet_tests::network::Network;
use signet_tests::packer::{self, Built};
use signet_tests::person::Ran;
use signet_tests::ssh::HERMETIC;
use signet_tests::tree::Tree;
use signet_tests::wait::until;
use signet_tests::workdir::Workdir;

/// An estate, and a machine on which an image of it was built.
struct Image {
    host: Host,
    built: Built,
    estate: Estate,
    network: Network,
}

fn flags(estate: &Estate) -> String {
    format!(
        "-address={} -tags=web -log=/var/log/auth.log -jitter=0s",
        estate.authority.address()
    )
}

impl Image {
    fn build(tree: Tree, after_bake: &str) -> Self {
        let network = Network::new();
        let estate = Estate::on(&network);
        let host = Host::with_sshd(&network, tree, "web-1");
        let built = packer::build(&host, &estate.inputs(), &flags(&estate), after_bake);
        Self {
            host,
            built,
            estate,
            network,
        }
    }

    /// Starts a machine from the image and gets it its name.
    fn boot(&self) {
        self.host.stop_sshd();
        self.host.first_boot();
        let token = self.estate.host_token(&self.estate.operator(), "web-1", &["web"]);
        self.host.write_mode("/run/token", &token, 0o600);
        let pid = self.host.read("/run/sshd.pid");
        let pid = format!("-sshd-pid={}", pid.trim());
        self.host
            .signet(&["host", "enroll", "-token-file=/run/token", &pid])
            .succeeded();
        // It was told to read its certificate, and takes its port away for a moment.
        until("sshd to be told", || self.host.log().contains("SIGHUP").then_some(()));
        self.host.await_sshd();
    }
}

/// Somebody at a machine of their own, which has the client and no key of any host.
struct Laptop {
    host: Host,
    address: String,
}

impl Laptop {
    fn of(person: &str, image: &Image, tree: Tree) -> Self {
        let host = Host::start(&image.network, tree, person);
        host.install_client();
        let names = format!("127.0.0.1 localhost\n{} web-1.{DOMAIN}\n", image.host.address());
        host.write("/etc/hosts", &names);
        host.copy_in(&image.estate.key_of(person), "/root/key", 0o600);
        host.copy_in(&image.estate.authority.tls_certificate(), "/root/tls.pem", 0o644);
        let laptop = Self {
            host,
            address: image.estate.authority.address(),
        };
        laptop.signet(&["login", "-key=/root/key"]).succeeded();
        let mount = format!("-mount-point={HOST_MOUNT}");
        laptop
            .signet(&["trust", &mount, &format!("-hostnames=*.{DOMAIN}")])
            .succeeded();
        laptop
    }

    fn signet(&self, words: &[&str]) -> Ran {
        let mut command = self.host.command(&[&["/usr/local/bin/signet"], words].concat());
        command
            .env("SIGNET_ADDR", &self.address)
            .env("SIGNET_CACERT", "/root/tls.pem");
        Ran::from(command.output().expect("nsenter starts"))
    }

    /// `signet ssh` to the host by its name, which has to prove it.
    fn ssh(&self, role: &str, account: &str) -> Ran {
        let (role, destination) = (format!("-role={role}"), format!("{account}@web-1.{DOMAIN}"));
        let strict = ["-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oUpdateHostKeys=no"];
        self.signet(&[&["ssh", &role, &destination], strict.as_slice(), &["id -un; hostname"]].concat())
    }
}

#[test]
fn an_image_is_built_and_lets_in_by_group_until_it_hears_of_a_revocation() {
    std::thread::scope(|scope| {
        for tree in Tree::all().into_iter().filter(|tree| tree.suite() != "bullseye") {
            scope.spawn(move || build_and_use(tree));
        }
    });
}

fn build_and_use(tree: Tree) {
    let image = Image::build(tree, "true");
    assert_eq!(image.built.ran.code, Some(0), "{tree}: {}", image.built.ran.stdout);
    let bill = image.built.bill().expect("a bill of trust");
    let ca_key = image.estate.authority.anonymous().ca_key("ssh");
    let ca_key = ssh_key::PublicKey::from_openssh(&ca_key)
        .expect("a key")
        .fingerprint(ssh_key::HashAlg::Sha256);
    assert_eq!(bill["user_ca_keys"][0]["fingerprint"], ca_key.to_string(), "{bill}");
    let proof = bill["proof"].as_array().expect("what was proven");
    assert!(
        proof.len() > 5 && !bill["proof"].to_string().contains("failed"),
        "{bill}"
    );
    assert!(!image.host.path("/tmp/signet-bake").exists());
    assert!(!image.host.path("/etc/ssh/ssh_host_ed25519_key").exists());
    let wanted = "/etc/systemd/system/multi-user.target.wants/signet-host-enroll.service";
    assert!(image.host.path(wanted).is_symlink(), "the image enrols when it boots");

    image.boot();
    let refused = plain_ssh(&image);
    assert!(
        refused.stderr.contains("Permission denied"),
        "the build's key: {}",
        refused.stderr
    );

    let alice = Laptop::of("alice", &image, tree);
    let ran = alice.ssh("backend", "ubuntu").succeeded();
    assert_eq!(ran.stdout, "ubuntu\nweb-1\n", "{tree}: {}", ran.stderr);
    let line = image.host.log_line("Accepted publickey for ubuntu");

    let dana = Laptop::of("dana", &image, tree);
    let ran = dana.ssh("backend", "ubuntu");
    assert_eq!(ran.code, Some(3), "the authority refuses: {}", ran.stderr);
    let ran = dana.ssh("data", "ubuntu");
    assert!(
        ran.stderr.contains("Permission denied"),
        "the host refuses: {}",
        ran.stderr
    );
    assert_eq!(ran.code, Some(255));

    // Alice's certificate is revoked, and her agent still holds it.
    let serial = line
        .split("(serial ")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .expect("a serial");
    let body = json!({"serial": serial, "reason": "lost laptop"});
    image.estate.operator().write("ssh/revoke", &body);
    alice.ssh("backend", "ubuntu").succeeded();
    let synced = image.host.signet(&["host", "sync", "-now"]);
    assert_eq!(synced.code, Some(0), "{}{}", synced.stdout, synced.stderr);
    let ran = alice.ssh("backend", "ubuntu");
    assert!(ran.stderr.contains("Permission denied"), "{tree}: {}", ran.stderr);
    image.host.log_line("revoked by file");

    let checked = image.host.signet(&["host", "check"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
}

/// The key that the build came with, tried again.
fn plain_ssh(image: &Image) -> Ran {
    let mut ssh = Command::new(system("ssh"));
    // First value wins on ssh's command line.
    ssh.args([
        "-oStrictHostKeyChecking=no",
        "-oUserKnownHostsFile=/dev/null",
        "-oIdentitiesOnly=yes",
    ])
    .args(HERMETIC)
    .arg("-i")
    .arg(image.built.key.path())
    .arg(format!("ubuntu@{}", image.host.address()))
    .arg("true");
    Ran::from(ssh.output().expect("ssh starts"))
}

#[test]
fn a_build_that_leaves_a_key_behind_fails() {
    let Some(tree) = Tree::any() else { return };
    let planted = [
        (
            "Packer's key in another account",
            "mkdir -p /home/deploy/.ssh && echo ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVTTvqKEDoOhFHHSRKqDrAWWqNGOCXPWNAXVdRFzuCR packer_5f0 > /home/deploy/.ssh/authorized_keys",
            "/home/deploy/.ssh/authorized_keys",
        ),
        (
            "root's authorized_keys",
            "mkdir -p /root/.ssh && echo ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVTTvqKEDoOhFHHSRKqDrAWWqNGOCXPWNAXVdRFzuCR me > /root/.ssh/authorized_keys",
            "/root/.ssh/authorized_keys",
        ),
        ("a host key", "ssh-keygen -A", "/etc/ssh/ssh_host_ed25519_key"),
    ];
    std::thread::scope(|scope| {
        for (name, after_bake, path) in planted {
            scope.spawn(move || {
                let image = Image::build(tree, after_bake);
                let printed = &image.built.ran.stdout;
                assert_eq!(image.built.ran.code, Some(1), "{name}: {printed}");
                assert!(printed.contains(path), "{name}: {printed}");
                assert!(
                    image.built.bill().is_none(),
                    "{name}: no bill comes out of a build that failed"
                );
            });
        }
    });
}

#[test]
fn ansible_bakes_a_host_that_is_in_use_and_changes_nothing_the_second_time() {
    // The one tree with Python.
    let Some(tree) = Tree::all().into_iter().find(|tree| tree.suite() == "bookworm") else {
        return;
    };
    let network = Network::new();
    let estate = Estate::on(&network);
    let (host, folder) = (Host::with_sshd(&network, tree, "web-1"), Workdir::new());
    let key = KeyFile::ed25519(folder.path(), "ansible");
    packer::as_a_cloud_starts_it(&host, &key);
    let play = || {
        let pid = host.read("/run/sshd.pid");
        let flags: Vec<_> = flags(&estate).split(' ').map(str::to_owned).collect();
        let flags = [flags, vec![format!("-sshd-pid={}", pid.trim())]].concat();
        let variables = json!({"signet_inputs": estate.inputs(), "signet_bake_flags": flags});
        let mut ansible = Command::new(system("ansible-playbook"));
        ansible
            .args(["-i", &format!("{},", host.address()), "-u", "ubuntu", "--private-key"])
            .arg(key.path())
            .args(["-e", &variables.to_string()])
            .arg(packer::ami().join("ansible/site.yml"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("ANSIBLE_HOST_KEY_CHECKING", "False")
            .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
        Ran::from(ansible.output().expect("ansible starts")).succeeded().stdout
    };
    let first = play();
    assert!(first.contains("changed=1 "), "{first}");
    let second = play();
    assert!(second.contains("changed=0 "), "{second}");
    // What opened the host before still does; the bake only adds.
    let checked = host.signet(&["host", "check"]);
    assert!(
        checked.stdout.contains("backend"),
        "{}{}",
        checked.stdout,
        checked.stderr
    );
}

#[test]
fn cloud_init_bakes_a_stock_image_at_its_first_boot() {
    let Some(tree) = Tree::any() else { return };
    let network = Network::new();
    let estate = Estate::on(&network);
    let host = Host::with_sshd(&network, tree, "web-1");
    let inputs = estate.inputs();
    for name in ["signet", "trust-bundle"] {
        host.copy_in(&inputs.join(name), &format!("/srv/{name}"), 0o644);
    }
    host.copy_in(&packer::ami().join("bake.sh"), "/srv/bake.sh", 0o644);
    host.copy_in(&estate.authority.tls_certificate(), "/srv/ca_cert.pem", 0o644);
    let template = std::fs::read_to_string(packer::ami().join("cloud-init/user-data.yaml")).unwrap();
    let sum = |path: &str| host.run(&["sha256sum", path]).succeeded().stdout[..64].to_owned();
    let encoded = STANDARD.encode(std::fs::read(inputs.join("breakglass")).unwrap());
    let filled = template
        .replace(
            "@BUNDLE_KEY@",
            std::fs::read_to_string(inputs.join("bundle_keys.pub")).unwrap().trim(),
        )
        .replace("@BREAKGLASS_BASE64@", &encoded)
        .replace("@SIGNET_SHA256@", &sum("/srv/signet"))
        .replace("@BAKE_SHA256@", &sum("/srv/bake.sh"))
        .replace("@DOWNLOADS@", "file:///srv")
        .replace("@AUTHORITY@", &estate.authority.address());
    let rest = filled
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains('@'));
    assert_eq!(rest.count(), 0, "{filled}");

    // As cloud-init does it: first the files, then the commands.
    let data = yaml(&filled);
    assert_eq!(
        (&data["allow_public_ssh_keys"], &data["ssh_deletekeys"]),
        (&json!(false), &json!(true))
    );
    for file in data["write_files"].as_array().unwrap() {
        let (path, content) = (file["path"].as_str().unwrap(), file["content"].as_str().unwrap());
        let content = match file["encoding"].as_str() {
            Some("b64") => String::from_utf8(STANDARD.decode(content).unwrap()).unwrap(),
            _ => content.to_owned(),
        };
        host.write(path, &content);
    }
    for command in data["runcmd"].as_array().unwrap() {
        let words: Vec<_> = command
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        host.run(&words).succeeded();
    }
    assert_eq!(host.read("/etc/ssh/signet/principals/ubuntu").trim(), "backend");
    assert!(
        host.read("/usr/local/share/signet/bill-of-trust.json")
            .contains("SHA256:")
    );
}

/// YAML as cloud-init's own parser reads it.
fn yaml(text: &str) -> serde_json::Value {
    let script = "import sys, json, yaml; json.dump(yaml.safe_load(sys.argv[1]), sys.stdout)";
    let read = Command::new("/usr/bin/python3").args(["-c", script, text]).output();
    let read = Ran::from(read.expect("python3, which Ansible needs")).succeeded();
    serde_json::from_str(&read.stdout).expect("JSON")
}
