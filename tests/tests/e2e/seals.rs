//! Every seal: founded, killed, started, open again, its certificates accepted by the real sshd. Then from each to each other
//! and back, killed in the middle of each migration, with the CA key that hosts trusted from the beginning.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::keys::{KeyFile, describe};
use signet_tests::kmip::Kmip;
use signet_tests::moto::{Moto, REGION};
use signet_tests::softhsm::Token;
use signet_tests::ssh::Ssh;
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::team::{ROLE, Team};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name, write};

/// In the words of `[seal] type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    KeyFile,
    Shamir,
    Passphrase,
    AwsKms,
    Pkcs11,
    Kmip,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::KeyFile,
        Self::Shamir,
        Self::Passphrase,
        Self::AwsKms,
        Self::Pkcs11,
        Self::Kmip,
    ];

    /// Such a server founds its store at its first start; others wait for `sys/init`.
    fn founds_itself(self) -> bool {
        matches!(self, Self::KeyFile | Self::Passphrase)
    }
}

/// Where a debug build can be stopped in a migration (`ca-server/src/custody.rs`): the old seal is open and the new one not yet
/// asked; it has wrapped; that is in the ledger; that is in the store and not yet in use.
const STOPS: [&str; 4] = ["reseal-begun", "reseal-wrapped", "reseal-recorded", "reseal-written"];

/// What seals stand on, one for all servers.
struct Services {
    moto: Moto,
    token: Token,
    kmip: Kmip,
}

/// A server under one seal after the other, somebody who logs in to it, and a host that trusts its first CA key.
struct Scene<'a> {
    services: &'a Services,
    name: String,
    kind: Kind,
    /// Key shares or recovery keys: two of three.
    keys: Vec<String>,
    authority: Authority,
    issuer: Issuer,
    key: KeyFile,
    ca_key: String,
    sshd: Sshd,
    folder: Workdir,
}

impl<'a> Scene<'a> {
    /// Founds a server under a seal.
    fn founded(services: &'a Services, kind: Kind) -> Self {
        let folder = Workdir::new();
        let passphrase = folder.write("passphrase", "correct horse battery staple\n");
        std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600)).expect("mode 0600");
        let (issuer, key) = (Issuer::new(), KeyFile::ed25519(folder.path(), "job"));
        let name = format!("{kind:?}");
        let seal = section(services, &name, folder.path(), kind, "seal");
        let config = format!("{}{seal}", issuer.config(folder.path()));
        let environment = [
            ("AWS_ACCESS_KEY_ID", services.moto.text("key")),
            ("AWS_SECRET_ACCESS_KEY", services.moto.text("secret")),
            ("SOFTHSM2_CONF", &services.token.environment()),
        ];
        let authority = Authority::serve_sealed_with(policies, &config, &environment);
        let keys = found(&authority, &issuer, kind);
        let ca_key = authority.anonymous().ca_key("ssh");
        let sshd = SshdSetup::trusting(&ca_key).build();
        Self {
            services,
            name,
            kind,
            keys,
            authority,
            issuer,
            key,
            ca_key,
            sshd,
            folder,
        }
    }

    fn health(&self) -> u16 {
        self.authority.anonymous().get("sys/health").status
    }

    /// Opens by itself, or by two of the three shares.
    fn opens(&self) {
        if self.kind == Kind::Shamir {
            assert_eq!(self.health(), 503, "it waits for its shares");
            give(&self.authority.anonymous(), &self.keys[1..], false);
        }
        until("the seal to open", || (self.health() == 200).then_some(()));
    }

    fn is_killed_and_opens_again(&mut self) {
        self.authority.kill();
        self.authority.start();
        self.opens();
    }

    /// A CI job logs in and has its key signed by the first CA key.
    fn signs(&self) {
        let api = self.authority.api(&self.authority.ci_token(&self.issuer));
        assert_eq!(api.ca_key("ssh"), self.ca_key);
        let signed = api.sign("ssh", ROLE, &self.key.public_line(), &login_name());
        let description = describe(&self.key.put_certificate(signed.signed_key()));
        assert!(description.contains(&login_name()), "{description}");
    }

    fn sshd_accepts(&self) {
        let login = Ssh::to(&self.sshd).key(&self.key).run("true");
        assert!(login.accepted, "{}\n{}", login.stderr, self.sshd.log());
    }

    /// Goes to another seal, killed at each step on its way.
    fn migrates(&mut self, to: Kind) {
        let from = self.kind;
        println!("{}: {from:?} -> {to:?}", self.name);
        self.authority.kill();
        self.set_seals(&[(to, "seal"), (from, "seal.previous")]);
        let by_people = from == Kind::Shamir || to == Kind::Shamir;
        if by_people {
            // Killed after the first of two shares: both are asked for again.
            self.authority.start();
            give(&self.authority.anonymous(), &self.keys[..1], true);
            self.authority.kill();
        }
        for stop in STOPS {
            self.authority.set_environment("SIGNET_STOP_AT", Some(stop));
            if by_people {
                self.authority.start();
                let status = self.authority.anonymous().get("sys/seal-status");
                let found = (&status.body["migration"], &status.body["progress"]);
                assert_eq!(found, (&json!(true), &json!(0)), "nothing has changed: {}", status.text);
                self.gives_shares_until(stop);
            } else {
                self.authority.start_until_it_says(stop);
            }
            self.authority.kill();
        }
        self.authority.set_environment("SIGNET_STOP_AT", None);
        self.kind = to;
        self.authority.start();
        self.opens();
        let status = self.authority.anonymous().get("sys/seal-status");
        assert_eq!(status.body["n"], 3, "the shares are the same people's: {}", status.text);
        self.signs();
    }

    /// Nobody answers the last of them.
    fn gives_shares_until(&mut self, stop: &str) {
        let before = self.authority.log().len();
        let (api, keys) = (self.authority.anonymous(), self.keys[..2].to_vec());
        std::thread::spawn(move || {
            for key in keys {
                api.try_send("POST", "sys/unseal", Some(&json!({"key": key, "migrate": true})));
            }
        });
        self.authority.says(stop, before);
    }

    fn set_seals(&self, seals: &[(Kind, &str)]) {
        let tables = seals
            .iter()
            .map(|(kind, table)| section(self.services, &self.name, self.folder.path(), *kind, table));
        let tables: String = tables.collect();
        self.authority.reconfigure(|text| {
            let (kept, _) = text.split_once("\n[seal]").expect("a seal");
            kept.to_owned() + &tables
        });
    }
}

/// A table of `signet.toml`.
fn section(services: &Services, name: &str, folder: &Path, kind: Kind, table: &str) -> String {
    let file = |file: &str| folder.join(file).display().to_string();
    match kind {
        Kind::KeyFile => format!("\n[{table}]\ntype = \"key-file\"\npath = \"{}\"\n", file("barrier.key")),
        Kind::Shamir => format!("\n[{table}]\ntype = \"shamir\"\n"),
        Kind::Passphrase => format!(
            "\n[{table}]\ntype = \"passphrase\"\nfile = \"{}\"\n",
            file("passphrase")
        ),
        Kind::AwsKms => format!(
            "\n[{table}]\ntype = \"awskms\"\nregion = \"{REGION}\"\nkey_id = \"{}\"\nendpoint = \"{}\"\n",
            services.moto.text("seal"),
            services.moto.address()
        ),
        Kind::Pkcs11 => format!(
            "\n[{table}]\n{}\nkey_label = \"seal {name}\"\n",
            services.token.settings().replace(", ", "\n")
        ),
        Kind::Kmip => services.kmip.settings(table, services.kmip.port(), "seal"),
    }
}

/// The team's, and CI jobs may make recovery keys: a server that founded itself has none.
fn policies(policies: &Path) {
    Team::default().install(policies);
    let text = "@id(\"ci-recovers\")\npermit (principal in Group::\"ci\", action == Action::\"update\", \
                resource == Path::\"sys/rekey-recovery-key/init\");\n";
    write(&policies.join("access/recovery.cedar"), text);
}

/// Initialises a server, and gives its shares.
fn found(authority: &Authority, issuer: &Issuer, kind: Kind) -> Vec<String> {
    let (api, shares) = (
        authority.anonymous(),
        json!({"secret_shares": 3, "secret_threshold": 2}),
    );
    if kind.founds_itself() {
        assert_eq!(api.get("sys/health").status, 200, "it founds itself");
        let operator = authority.api(&authority.ci_token(issuer));
        let made = operator.write("sys/rekey-recovery-key/init", &shares);
        return texts(&made.body["keys_base64"]);
    }
    assert_eq!(api.get("sys/health").status, 501);
    if kind == Kind::Shamir {
        let keys = texts(&api.write("sys/init", &shares).body["keys_base64"]);
        give(&api, &keys[..2], false);
        return keys;
    }
    let recovery = json!({"recovery_shares": 3, "recovery_threshold": 2});
    texts(&api.write("sys/init", &recovery).body["recovery_keys_base64"])
}

fn give(api: &Api, keys: &[String], migrate: bool) {
    for key in keys {
        api.write("sys/unseal", &json!({"key": key, "migrate": migrate}));
    }
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list").iter();
    list.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn each_seal_opens_after_a_kill_and_goes_to_each_other_and_back_killed_in_the_middle() {
    let services = Services {
        moto: Moto::strict(),
        token: Token::empty(),
        kmip: Kmip::new(),
    };
    let kinds = Kind::ALL.len();
    let done = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let (services, done) = (&services, &done);
            scope.spawn(move || {
                let mut scene = Scene::founded(services, kind);
                scene.signs();
                scene.is_killed_and_opens_again();
                scene.signs();
                scene.sshd_accepts();
                // Each pair is one server's: with the next, the one after it, and half of them with the one opposite.
                let steps = if at < kinds / 2 { 1..=3 } else { 1..=2 };
                for other in steps.map(|step| Kind::ALL[(at + step) % kinds]) {
                    for (from, to) in [(kind, other), (other, kind)] {
                        scene.migrates(to);
                        done.lock().expect("no panic").insert((from, to));
                    }
                    scene.sshd_accepts();
                }
                // Without the old seal beside it.
                scene.set_seals(&[(kind, "seal")]);
                scene.is_killed_and_opens_again();
                scene.signs();
                scene.sshd_accepts();
                for event in ["init", "unseal", "seal-migrate"] {
                    assert!(!scene.authority.records(event).is_empty(), "{event}");
                }
                let audit = scene.authority.audit(&["verify"]);
                assert!(audit.status.success(), "{audit:?}");
            });
        }
    });
    assert_eq!(
        done.into_inner().expect("no panic").len(),
        kinds * (kinds - 1),
        "all ordered pairs"
    );
}
