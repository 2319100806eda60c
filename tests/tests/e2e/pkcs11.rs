//! CA keys and the seal's key on a PKCS#11 token (SoftHSM): the real OpenSSH takes the certificates, and a token that is
//! pulled in the middle costs no certificate and no other mount.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::keys::{KeyFile, describe};
use signet_tests::load::subject_keys;
use signet_tests::softhsm::{PIN, Token};
use signet_tests::ssh::Ssh;
use signet_tests::sshd::SshdSetup;
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name};

/// Mount, `key_type`, `key_bits`, the signature's name.
const KEYS: &[(&str, &str, u32, &str)] = &[
    ("ed25519", "ed25519", 0, "ssh-ed25519"),
    ("p256", "ec", 256, "ecdsa-sha2-nistp256"),
    ("p384", "ec", 384, "ecdsa-sha2-nistp384"),
    ("p521", "ec", 521, "ecdsa-sha2-nistp521"),
    ("rsa", "rsa", 3072, "rsa-sha2-256"),
];

/// An authority whose seal is the token's, initialised, with a role at each mount and whoever may everything.
fn initialised(token: &Token, mounts: &str) -> (Authority, Api) {
    let config = format!("{mounts}{}", token.seal());
    let conf = token.environment();
    let authority = Authority::serve_sealed_with(|_| {}, &config, &[("SOFTHSM2_CONF", &conf)]);
    let made = authority.init();
    assert_eq!(made.body["recovery_keys"].as_array().expect("recovery keys").len(), 1);
    let root = authority.api(made.body["root_token"].as_str().expect("a root token"));
    until("the seal to open", || {
        root.try_get("sys/health").filter(|answer| answer.status == 200)
    });
    (authority, root)
}

fn role(api: &Api, mount: &str) {
    api.write(
        &format!("{mount}/roles/login"),
        &json!({
            "key_type": "ca", "allow_user_certificates": true, "allowed_users": login_name(), "ttl": "5m",
            "default_extensions": {"permit-pty": ""},
        }),
    );
}

#[test]
fn sshd_accepts_certificates_of_every_key_type_on_a_token_and_the_store_opens_by_the_token() {
    let token = Token::empty();
    let mounts: String = KEYS
        .iter()
        .map(|(name, key_type, bits, _)| token.mount(name, key_type, *bits))
        .collect();
    let (mut authority, root) = initialised(&token, &mounts);
    let folder = Workdir::new();
    for (name, _, _, signed_with) in KEYS {
        role(&root, name);
        let ca_line = root.ca_key(name);
        let key = KeyFile::ed25519(folder.path(), name);
        let signed = root.sign(name, "login", &key.public_line(), &login_name());
        let description = describe(&key.put_certificate(signed.signed_key()));
        assert!(description.contains(&format!("(using {signed_with})")), "{description}");
        let sshd = SshdSetup::trusting(&ca_line).build();
        let login = Ssh::to(&sshd).key(&key).run("id -un");
        assert!(login.accepted, "{name}: {}", login.stderr);
        let config = root.get(&format!("{name}/config/ca"));
        let data = &config.body["data"];
        assert_eq!(data["holder"], "pkcs11", "{}", config.text);
        assert_eq!(data["place"], format!("pkcs11:token=signet;object=ca {name}"));
        assert_eq!(data["ready"], true, "{}", config.text);
    }
    // The same keys after a restart; the store opens by itself.
    let lines: Vec<String> = KEYS.iter().map(|(name, ..)| root.ca_key(name)).collect();
    assert_eq!(authority.stop(), Some(0));
    authority.start();
    assert_eq!(
        KEYS.iter().map(|(name, ..)| root.ca_key(name)).collect::<Vec<_>>(),
        lines
    );
    let key = KeyFile::ed25519(folder.path(), "again");
    root.sign("p256", "login", &key.public_line(), &login_name())
        .signed_key();
    assert!(!authority.log().contains(PIN), "the PIN is in no log");

    // A server that starts while the token is away is sealed and says why; it opens when the token is back.
    assert_eq!(authority.stop(), Some(0));
    token.pull();
    authority.start();
    let status = root.get("sys/seal-status");
    assert_eq!(status.body["sealed"], true, "{}", status.text);
    assert_eq!(
        root.sign("p256", "login", &key.public_line(), &login_name()).status,
        503
    );
    token.put_back();
    until("the seal to open by itself", || {
        root.try_get("sys/health").filter(|answer| answer.status == 200)
    });
    root.sign("p256", "login", &key.public_line(), &login_name())
        .signed_key();
}

#[test]
fn a_ca_key_on_a_token_is_listed_as_an_issuer_and_rotated_to_a_software_key() {
    let token = Token::empty();
    let (mut authority, root) = initialised(&token, &token.mount("hsm", "ec", 256));
    role(&root, "hsm");
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "subject");
    let issuers = || {
        let answer = root.get("hsm/rotate");
        answer.body["data"]["issuers"].as_array().cloned().unwrap_or_default()
    };
    let states = || {
        let state = |issuer: &Value| issuer["state"].as_str().unwrap_or_default().to_owned();
        issuers().iter().map(state).collect::<Vec<_>>()
    };
    let sign = |role: &str| {
        let signed = root.sign("hsm", role, &key.public_line(), &login_name());
        describe(&key.put_certificate(signed.signed_key()))
    };
    let step = |name: &str, fields: Value| {
        let answer = root.post("hsm/rotate", &fields);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    };
    let [by_token] = issuers().try_into().expect("one issuer");
    assert_eq!(by_token["holder"], "pkcs11", "{by_token}");
    assert_eq!(by_token["place"], "pkcs11:token=signet;object=ca hsm", "{by_token}");
    let old = by_token["ca_fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert!(sign("login").contains(&old));

    step("stage", json!({"step": "stage", "issuer_name": "soft"}));
    step("publish", json!({"step": "publish"}));
    step("promote", json!({"step": "promote", "force": true}));
    assert_eq!(states(), ["published", "default"]);
    assert!(!sign("login").contains(&old), "the software key signs");
    assert_eq!(root.get("hsm/config/ca").body["data"]["holder"], Value::Null);
    assert_eq!(authority.stop(), Some(0));
    authority.start();
    assert_eq!(states(), ["published", "default"]);
    assert_eq!(issuers()[0]["holder"], "pkcs11");
    assert!(!authority.log().contains("another CA key than"), "it is there still");
    // Both sign where they are named.
    root.write(
        "hsm/roles/by-token",
        &json!({
            "key_type": "ca", "allow_user_certificates": true, "allowed_users": login_name(), "ttl": "5m",
            "issuer_ref": by_token["issuer_id"],
        }),
    );
    assert!(sign("by-token").contains(&old));
    assert!(!sign("login").contains(&old));

    step("retire", json!({"step": "retire", "force": true}));
    step("remove", json!({"step": "remove", "force": true}));
    assert_eq!(states(), ["default"]);
    assert_eq!(authority.stop(), Some(0));
    authority.start();
    assert_eq!(states(), ["default"], "`ca_key` is not taken again");
    assert_eq!(issuers()[0]["issuer_name"], "soft");
    assert!(authority.log().contains("another CA key than"));
    assert!(!sign("login").contains(&old));
}

#[test]
fn a_wrong_pin_seals_is_not_tried_again_and_is_mended_by_sighup() {
    let token = Token::empty();
    let (mut authority, root) = initialised(&token, "");
    authority.stop();
    token.write_pin("0000");
    authority.start();
    let reason = || root.get("sys/health").text;
    until("the PIN to be refused", || {
        authority
            .log()
            .contains("is wrong; it is not tried again")
            .then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    let told = authority.log().matches("is wrong; it is not tried again").count();
    assert!(
        told <= 3,
        "it is told once by each who asked, not in a loop: {}",
        authority.log()
    );
    assert!(!authority.log().contains("0000"), "{}", reason());
    token.write_pin(PIN);
    authority.signal(rustix::process::Signal::HUP);
    until("the seal to open", || {
        root.try_get("sys/health").filter(|answer| answer.status == 200)
    });
}

/// What many clients got by two mounts whose keys are on the token and one whose key is not.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    /// Serials of all certificates that somebody holds.
    held: Mutex<Vec<u64>>,
    /// Certificates and refusals, by mount.
    counts: Mutex<HashMap<&'static str, (u64, u64)>>,
    /// The longest wait for a certificate of the other mount.
    slowest: Mutex<Duration>,
}

impl Load {
    /// Asks for one certificate after another. Whoever is refused asks for the same again.
    fn run(&self, api: &Api, mount: &'static str) {
        let (keys, account) = (subject_keys::make(64), login_name());
        for key in keys.iter().cycle() {
            let certificate = loop {
                let began = Instant::now();
                let answer = api.sign(mount, "login", key, &account);
                let refused = answer.status == 503 && mount != "ssh";
                let mut counts = self.counts.lock().unwrap();
                let count = counts.entry(mount).or_default();
                if !refused {
                    count.0 += 1;
                    break (answer, began.elapsed());
                }
                count.1 += 1;
                drop(counts);
                if self.done.load(Ordering::Relaxed) {
                    return;
                }
                let code = answer.body["code"].as_str().unwrap_or_default();
                assert!(matches!(code, "signer-unavailable" | "signer-busy"), "{}", answer.text);
                std::thread::sleep(Duration::from_millis(20));
            };
            let (answer, took) = certificate;
            assert_eq!(answer.status, 200, "{mount}: {}", answer.text);
            self.held.lock().unwrap().push(answer.serial());
            if mount == "ssh" {
                let mut slowest = self.slowest.lock().unwrap();
                *slowest = took.max(*slowest);
            }
            if self.done.load(Ordering::Relaxed) {
                break;
            }
        }
    }

    fn count(&self, mount: &str) -> (u64, u64) {
        self.counts.lock().unwrap().get(mount).copied().unwrap_or_default()
    }

    fn await_certificates(&self, mount: &str, more: u64) {
        let before = self.count(mount).0;
        until(&format!("certificates by `{mount}`"), || {
            (self.count(mount).0 > before + more).then_some(())
        });
    }

    fn await_refusals(&self, mount: &str, more: u64) {
        let before = self.count(mount).1;
        until(&format!("refusals by `{mount}`"), || {
            (self.count(mount).1 > before + more).then_some(())
        });
    }
}

#[test]
fn a_token_that_is_pulled_or_hangs_in_the_middle_costs_no_certificate_and_no_other_mount() {
    const BY_TOKEN: [&str; 2] = ["p256", "rsa"];
    let token = Token::empty();
    let mounts = format!("{}{}", token.mount("p256", "ec", 256), token.mount("rsa", "rsa", 3072));
    let (authority, root) = initialised(
        &token,
        &mounts.replace("create = true", "create = true, timeout = \"2s\""),
    );
    let (load, folder) = (Load::default(), Workdir::new());
    for mount in ["p256", "rsa", "ssh"] {
        role(&root, mount);
    }
    let sshds = BY_TOKEN.map(|mount| (mount, SshdSetup::trusting(&root.ca_key(mount)).build()));
    let certified = |mount: &str, name: &str| {
        let key = KeyFile::ed25519(folder.path(), &format!("{mount}-{name}"));
        let signed = root.sign(mount, "login", &key.public_line(), &login_name());
        key.put_certificate(signed.signed_key());
        key
    };
    let log_in = |when: &str, keys: &[KeyFile]| {
        for ((mount, sshd), key) in sshds.iter().zip(keys) {
            let login = Ssh::to(sshd).key(key).run("id -un");
            assert!(login.accepted, "{mount}, {when}: {}", login.stderr);
        }
    };
    std::thread::scope(|scope| {
        let ends = Ends(&load.done);
        for mount in ["p256", "p256", "p256", "rsa", "rsa", "rsa", "ssh", "ssh"] {
            let (load, root) = (&load, &root);
            scope.spawn(move || load.run(root, mount));
        }
        for round in 0..3 {
            for mount in BY_TOKEN {
                load.await_certificates(mount, 30);
            }
            let before = BY_TOKEN.map(|mount| certified(mount, &format!("before-{round}")));
            token.pull();
            for mount in BY_TOKEN {
                load.await_refusals(mount, 10);
                let config = root.get(&format!("{mount}/config/ca"));
                assert_eq!(config.body["data"]["ready"], false, "{}", config.text);
            }
            load.await_certificates("ssh", 50);
            log_in("while the token is away", &before);
            token.put_back();
            for mount in BY_TOKEN {
                load.await_certificates(mount, 5);
            }
            log_in(
                "after the token is back",
                &BY_TOKEN.map(|mount| certified(mount, &format!("after-{round}"))),
            );
        }
        // A token that answers nothing for far longer than a request may take.
        let hang = token.hang();
        for mount in BY_TOKEN {
            load.await_refusals(mount, 10);
        }
        load.await_certificates("ssh", 50);
        drop(hang);
        for mount in BY_TOKEN {
            load.await_certificates(mount, 30);
        }
        drop(ends);
    });
    let held = load.held.into_inner().unwrap();
    let unique: HashSet<u64> = held.iter().copied().collect();
    assert_eq!(unique.len(), held.len(), "no two certificates have one serial");
    let serial = |record: &Value| {
        let text = record["serial"].as_str().expect("a serial");
        text.parse::<u64>().expect("a number")
    };
    let recorded: HashSet<u64> = authority.records("issue").iter().map(serial).collect();
    let missing: Vec<&u64> = unique.difference(&recorded).collect();
    assert!(missing.is_empty(), "held but not recorded: {missing:?}");
    let slowest = load.slowest.into_inner().unwrap();
    assert!(slowest < Duration::from_secs(2), "the other mount waited {slowest:?}");
    let counts = load.counts.into_inner().unwrap();
    println!("certificates and refusals: {counts:?}, slowest of `ssh` {slowest:?}");
}

/// Ends the load also when the test fails: it would be waited for.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
