//! Break-glass while everything else is down, one thing after the other and then all at once: `signet breakglass drill` through
//! the real doors of hosts of each Debian release, and who hears of it. The table in docs/how-to/break-glass.md is this
//! test's outcome.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use signet_tests::agent::SshAgent;
use signet_tests::binaries::system;
use signet_tests::estate::{DOMAIN, Estate, ROLE};
use signet_tests::host::Host;
use signet_tests::keys::KeyFile;
use signet_tests::network::Network;
use signet_tests::person::Person;
use signet_tests::ssh::HERMETIC;
use signet_tests::tree::Tree;
use signet_tests::workdir::Workdir;

/// The whole of C's clock as sshd asks for it, in 1970. libfaketime does the same, and would have to be built for each release.
const CLOCK_OF_1970: &str = "long time(long *at) { if (at) *at = 60; return 60; }\n";

/// What opens: a certificate of the authority, door B (a certificate of the offline CA), door A (the sealed key).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Opens {
    certificate: bool,
    door_b: bool,
    door_a: bool,
}

const ALL: Opens = Opens {
    certificate: true,
    door_b: true,
    door_a: true,
};
const GLASS_ONLY: Opens = Opens {
    certificate: false,
    door_b: true,
    door_a: true,
};
const SEALED_KEY_ONLY: Opens = Opens {
    certificate: false,
    door_b: false,
    door_a: true,
};

/// The two people with the break-glass keys, at a machine without a network but for the hosts'.
struct Glass {
    folder: Workdir,
    person: Person,
    certificate: PathBuf,
    passphrase: PathBuf,
}

impl Glass {
    fn new() -> Self {
        let (folder, person) = (Workdir::new(), Person::using("https://127.0.0.1:1"));
        let keys = folder.path().join("keys");
        let out = format!("-out={}", keys.display());
        person.run(&["breakglass", "new", &out, "-kdf-rounds=16"]).succeeded();
        let passphrase = |key: &str| {
            let page = std::fs::read_to_string(keys.join(format!("pages/{key}-passphrase.svg"))).unwrap();
            let secret = signet_cli::breakglass::page::secret_of(&page).unwrap();
            let file = folder.write(&format!("{key}.passphrase"), &secret);
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            file
        };
        let (of_ca, of_key) = (passphrase("breakglass_ca"), passphrase("breakglass_key"));
        let issued = person.run(&[
            "breakglass",
            "issue",
            "-format=json",
            "-who=ada",
            "-reason=drill",
            &format!("-ca={}", keys.join("breakglass_ca").display()),
            &format!("-passphrase-file={}", of_ca.display()),
            &format!("-out={}", folder.path().display()),
        ]);
        let issued: Value = serde_json::from_str(&issued.succeeded().stdout).unwrap();
        let certificate = folder.path().join(issued["certificate"].as_str().unwrap());
        Self {
            person,
            certificate,
            passphrase: of_key,
            folder,
        }
    }

    fn document(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("keys/breakglass.keys")).unwrap()
    }

    /// The drill's exit code and report, through these doors.
    fn drill(&self, host: &TrustingHost, doors: &[&str]) -> (Option<i32>, Value) {
        let certificate = self.certificate.display().to_string();
        let identity = certificate.strip_suffix("-cert.pub").unwrap();
        let key = self.folder.path().join("keys/breakglass_key");
        let mut words = vec![
            "breakglass".to_owned(),
            "drill".to_owned(),
            "-format=json".to_owned(),
            format!("-host={}", host.host.address()),
            format!("-known-hosts={}", host.known_hosts.display()),
        ];
        if doors.contains(&"B") {
            words.push(format!("-certificate={certificate}"));
            words.push(format!("-identity={identity}"));
        }
        if doors.contains(&"A") {
            words.push(format!("-key={}", key.display()));
            words.push(format!("-passphrase-file={}", self.passphrase.display()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = self.person.run(&words);
        let report = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no report: {}", ran.stderr));
        (ran.code, report)
    }
}

/// A baked and enrolled host, with a local alarm.
struct TrustingHost {
    tree: Tree,
    name: String,
    host: Host,
    known_hosts: PathBuf,
    alice: KeyFile,
}

impl TrustingHost {
    fn new(network: &Network, tree: Tree, estate: &Estate, glass: &Glass, alice: &KeyFile) -> Self {
        let operator = estate.operator();
        let host = Host::with_disk(network, tree, tree.suite(), "160m");
        host.install_client();
        host.start_sshd();
        let anonymous = estate.authority.anonymous();
        host.write("/root/bundle", &anonymous.get("ssh/trust-bundle").text);
        host.write("/root/bundle.pub", &anonymous.get("ssh/trust-bundle/public_key").text);
        host.write("/root/token", &estate.host_token(&operator, tree.suite(), &["web"]));
        host.write("/root/breakglass.keys", &glass.document());
        host.copy_in(&estate.authority.tls_certificate(), "/etc/signet-tls.pem", 0o644);
        host.write_mode(
            "/etc/ssh/signet/alarm",
            "#!/bin/sh\ncat >> /var/log/breakglass-alarms\n",
            0o755,
        );
        let address = format!("-address={}", estate.authority.address());
        host.signet(&[
            "host",
            "bake",
            "-bundle=/root/bundle",
            "-bundle-key=/root/bundle.pub",
            "-breakglass=/root/breakglass.keys",
            &address,
            "-ca-cert=/etc/signet-tls.pem",
            "-log=/var/log/auth.log",
            "-jitter=0s",
        ])
        .succeeded();
        host.signet(&["host", "enroll", "-token-file=/root/token"]).succeeded();
        host.stop_sshd();
        host.start_sshd();
        host.signet(&["host", "sync", "-now"]).succeeded();
        host.shell("cp -a /etc/ssh /root/kept").succeeded();
        let known_hosts = glass.folder.write(
            &format!("known_hosts-{}", tree.suite()),
            &format!("{} {}\n", host.address(), host.host_key()),
        );
        Self {
            tree,
            name: format!("{}.{DOMAIN}", tree.suite()),
            host,
            known_hosts,
            alice: alice.clone(),
        }
    }

    /// Whether the certificate of the authority opens `ubuntu`.
    fn enters(&self) -> bool {
        let output = Command::new(system("ssh"))
            .args(HERMETIC)
            .arg(format!("-oUserKnownHostsFile={}", self.known_hosts.display()))
            .args(["-oIdentitiesOnly=yes", "-oIdentityAgent=none", "-n", "-T", "-i"])
            .arg(self.alice.path())
            .arg(format!("ubuntu@{}", self.host.address()))
            .arg("true")
            .output();
        output.unwrap().status.success()
    }

    fn damage(&self, script: &str) {
        self.host.shell(script).succeeded();
    }

    fn put_back(&self) {
        self.damage("rm -f /filler; rm -rf /etc/ssh; cp -a /root/kept /etc/ssh");
    }

    /// An sshd whose clock says 1970.
    fn start_sshd_in_1970(&self, clock: &Path) {
        self.host.stop_sshd();
        self.host.copy_in(clock, "/run/clock.so", 0o755);
        self.damage("LD_PRELOAD=/run/clock.so /usr/sbin/sshd");
        signet_tests::wait::until("sshd of 1970", || {
            std::net::TcpStream::connect((self.host.address(), 22)).ok().map(drop)
        });
    }

    /// The drill's report and the certificate say just this.
    fn assert_opens(&self, glass: &Glass, what: &str, want: Opens) {
        let (code, report) = glass.drill(self, &["B", "A"]);
        let seen = |key: &str| {
            let checks = report["checks"].as_array().unwrap();
            let check = checks.iter().find(|check| check["key"] == key).unwrap();
            assert!(
                check["seen"] == "let in" || check["seen"] == "refused",
                "{}, {what}: {report}",
                self.tree
            );
            check["seen"] == "let in"
        };
        let found = Opens {
            certificate: self.enters(),
            door_b: seen("certificate of the offline CA"),
            door_a: seen("sealed key"),
        };
        assert_eq!(found, want, "{}, {what}: {report}", self.tree);
        assert!(!seen("the same key without its certificate"), "{}, {what}", self.tree);
        let passes = want.door_a && want.door_b;
        assert_eq!(report["passed"], passes, "{}, {what}: {report}", self.tree);
        assert_eq!(code, Some(i32::from(!passes)), "{}, {what}: {report}", self.tree);
    }
}

fn on_each(hosts: &[TrustingHost], act: impl Fn(&TrustingHost) + Sync) {
    std::thread::scope(|scope| {
        for host in hosts {
            let act = &act;
            scope.spawn(move || act(host));
        }
    });
}

/// A certificate of the authority for alice, beside her key.
fn certify(estate: &Estate, folder: &Workdir) -> KeyFile {
    let agent = SshAgent::start(folder.path());
    let mut add = Command::new(system("ssh-add"));
    add.env("SSH_AUTH_SOCK", agent.socket())
        .arg("-q")
        .arg(estate.key_of("alice"));
    assert!(add.status().unwrap().success());
    let alice = Person::using(&estate.authority.address())
        .with("SSH_AUTH_SOCK", agent.socket().to_str().unwrap())
        .with("SIGNET_CACERT", estate.authority.tls_certificate().to_str().unwrap());
    alice.run(&["login", "-method=ssh-key"]).succeeded();
    let subject = KeyFile::ed25519(folder.path(), "alice-now");
    let public_key = subject.path().with_extension("pub");
    let role = format!("-role={ROLE}");
    let certificate = alice.run(&["sign", &role, "-field=signed_key", public_key.to_str().unwrap()]);
    subject.put_certificate(&certificate.succeeded().stdout);
    subject
}

/// Compiled here, for no release's libc: it asks for nothing.
fn clock_of_1970(folder: &Workdir) -> PathBuf {
    let source = folder.write("clock.c", CLOCK_OF_1970);
    let library = folder.path().join("clock.so");
    let compiled = Command::new(system("cc"))
        .args(["-shared", "-fPIC", "-nostdlib", "-fno-builtin", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(compiled.unwrap().success(), "cc makes the clock of 1970");
    library
}

#[test]
fn break_glass_opens_whatever_else_is_down_and_is_told() {
    let trees = Tree::all();
    if trees.is_empty() {
        return;
    }
    let (network, folder, glass) = (Network::new(), Workdir::new(), Glass::new());
    let mut estate = Estate::on(&network);
    let alice = certify(&estate, &folder);
    let clock = clock_of_1970(&folder);
    let hosts: Vec<TrustingHost> = std::thread::scope(|scope| {
        let made: Vec<_> = trees
            .iter()
            .map(|&tree| {
                let (network, estate, glass, alice) = (&network, &estate, &glass, &alice);
                scope.spawn(move || TrustingHost::new(network, tree, estate, glass, alice))
            })
            .collect();
        made.into_iter().map(|host| host.join().unwrap()).collect()
    });

    // With everything up: both doors open, the authority hears of both, and so does the local alarm.
    on_each(&hosts, |host| {
        host.assert_opens(&glass, "nothing is down", ALL);
        host.host.log_line("Accepted publickey for ubuntu");
        host.host.signet(&["host", "sync", "-now"]).succeeded();
        let alarms = host.host.read("/var/log/breakglass-alarms");
        assert_eq!(alarms.lines().count(), 2, "{}: {alarms}", host.tree);
    });
    for host in &hosts {
        let used = uses(&estate, host);
        assert_eq!(used.len(), 2, "{}: {used:?}", host.tree);
        let by_certificate = used.iter().filter(|record| record["key_type"] == "ED25519-CERT");
        let key_ids: Vec<_> = by_certificate.filter_map(|record| record["key_id"].as_str()).collect();
        assert!(
            key_ids.len() == 1 && key_ids[0].starts_with("breakglass/ada/"),
            "{}: {used:?}",
            host.tree
        );
    }

    // From here on there is no authority: no login, no store, no provider, no new certificate.
    estate.authority.stop();
    on_each(&hosts, |host| one_thing_after_the_other(host, &glass, &clock));

    // It comes back, and hears of everything that the hosts' logs had room for.
    estate.authority.start();
    on_each(&hosts, |host| {
        host.host.signet(&["host", "sync", "-now"]).succeeded();
    });
    for host in &hosts {
        let alarms = host.host.read("/var/log/breakglass-alarms").lines().count();
        assert_eq!(uses(&estate, host).len(), alarms, "{}: as the local alarm", host.tree);
    }
}

/// What can be down on a host whose authority is away: each for itself, then all of it.
fn one_thing_after_the_other(host: &TrustingHost, glass: &Glass, clock: &Path) {
    host.assert_opens(glass, "authority stopped", ALL);

    host.damage("echo garbage > /etc/ssh/signet/revoked.krl");
    host.assert_opens(glass, "KRL corrupt", GLASS_ONLY);
    host.put_back();

    host.damage("sed -i '1i garbage' /etc/ssh/signet/user_ca.pub");
    host.assert_opens(glass, "CA file corrupt", GLASS_ONLY);
    host.put_back();

    host.damage("cat /dev/zero > /filler 2>/dev/null || true");
    host.assert_opens(glass, "disk full", ALL);
    host.put_back();

    host.damage("echo garbage > /etc/ssh/signet/trust-bundle");
    host.assert_opens(glass, "trust bundle damaged", ALL);
    host.put_back();

    host.damage("echo 'TrustedUserCAKeys /etc/ssh/other.pub' > /etc/ssh/sshd_config.d/05-other.conf");
    host.host.stop_sshd();
    host.host.start_sshd();
    host.assert_opens(glass, "a drop-in of others wins", GLASS_ONLY);
    host.put_back();

    host.start_sshd_in_1970(clock);
    host.assert_opens(glass, "clock at 1970", SEALED_KEY_ONLY);

    // All of it at once.
    host.damage(
        "for file in revoked.krl user_ca.pub trust-bundle principals/ubuntu; do echo garbage > /etc/ssh/signet/$file; done; \
         cat /dev/zero > /filler 2>/dev/null || true",
    );
    host.assert_opens(glass, "all at once", SEALED_KEY_ONLY);
    let (code, report) = glass.drill(host, &["A"]);
    assert_eq!((code, &report["passed"]), (Some(0), &Value::Bool(true)), "{report}");
    host.host.stop_sshd();
    host.host.start_sshd();
    host.assert_opens(glass, "all but the clock at once", GLASS_ONLY);
    host.put_back();

    // And without the keys themselves: the drill is what finds that out.
    host.damage("rm /etc/ssh/signet/breakglass_keys");
    let nothing = Opens {
        certificate: true,
        door_b: false,
        door_a: false,
    };
    host.assert_opens(glass, "breakglass_keys missing", nothing);
    host.put_back();

    let away = host.host.signet(&["host", "sync", "-now"]);
    assert_eq!(away.code, Some(5), "{}: {}", host.tree, away.stderr);
    let alarms = host.host.read("/var/log/breakglass-alarms").lines().count();
    assert!(alarms > 4, "{}: {alarms} alarms without the authority", host.tree);
}

/// The ledger's records of break-glass on a host.
fn uses(estate: &Estate, host: &TrustingHost) -> Vec<Value> {
    let mut records = estate.authority.records("breakglass");
    records.retain(|record| record["host"] == host.name.as_str());
    records
}
