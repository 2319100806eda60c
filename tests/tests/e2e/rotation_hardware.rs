//! The CA key moves from the store to a PKCS#11 token, to another token, into AWS KMS and back, while people log in: sshd takes
//! certificates of the old and the new key all the while. And what a request may not name.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::binaries::system;
use signet_tests::issuer::Issuer;
use signet_tests::keys::{KeyFile, describe};
use signet_tests::moto::{Moto, REGION};
use signet_tests::person::Person;
use signet_tests::softhsm::{PIN, Token};
use signet_tests::ssh::Ssh;
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::workdir::{Workdir, login_name, write};

use crate::rotation::{Goals, fetch_keys, states, step};

const PATIENCE: Duration = Duration::from_mins(3);

/// A server that may name keys on two tokens and in KMS, and whoever rotates its keys.
struct Scene {
    authority: Authority,
    api: Api,
    operator: Person,
    token: Token,
    moto: Moto,
    folder: Workdir,
}

impl Scene {
    fn new() -> Self {
        let (folder, issuer, token, moto) = (Workdir::new(), Issuer::new(), Token::empty(), Moto::strict());
        token.add("second");
        let team = Team::default().person("alice", &[GROUP], &KeyFile::ed25519(folder.path(), "alice"));
        let install = |policies: &Path| {
            team.install(policies);
            let operator = "@id(\"operator\")\npermit (principal in Group::\"ci\", action, resource);\n";
            write(&policies.join("access/operator.cedar"), operator);
        };
        let config = format!(
            "\n[[mount]]\npath = \"other\"\nca_key_type = \"ed25519\"\n{}{}{}\n[[key_holder]]\nname = \"kms\"\n\
             type = \"awskms\"\nmounts = [\"ssh\"]\nregion = \"{REGION}\"\nendpoint = \"{}\"\n\n[rotation]\n\
             publish_for = \"1s\"\n",
            issuer.config(folder.path()),
            token.key_holder("hsm", "signet", &["ssh", "other", "fresh"]),
            token.key_holder("second", "second", &["ssh"]),
            moto.address(),
        );
        let conf = token.environment();
        let environment = [
            ("SOFTHSM2_CONF", conf.as_str()),
            ("AWS_ACCESS_KEY_ID", moto.text("key")),
            ("AWS_SECRET_ACCESS_KEY", moto.text("secret")),
        ];
        let authority = Authority::serve_sealed_with(install, &config, &environment);
        let ci = authority.ci_token(&issuer);
        Self {
            api: authority.api(&ci),
            operator: Person::using(&authority.address())
                .with("SIGNET_TOKEN", &ci)
                .with("SIGNET_CACERT", authority.tls_certificate().to_str().unwrap()),
            authority,
            token,
            moto,
            folder,
        }
    }

    /// `signet ca rotate -step=stage` with these flags.
    fn stage(&self, flags: &[&str]) -> signet_tests::person::Ran {
        self.operator
            .run(&[&["ca", "rotate", "-step=stage", "-yes"], flags].concat())
    }

    fn issuer(&self, state: &str) -> Value {
        let answer = self.api.get("ssh/rotate");
        let issuers = answer.body["data"]["issuers"].as_array().unwrap();
        issuers.iter().find(|issuer| issuer["state"] == state).unwrap().clone()
    }

    /// A key with a certificate of the key that signs now.
    fn certified(&self, name: &str, ttl: &str) -> (KeyFile, String) {
        let key = KeyFile::ed25519(self.folder.path(), name);
        let body = json!({"public_key": key.public_line(), "valid_principals": login_name(), "ttl": ttl});
        let signed = self.api.post(&format!("ssh/sign/{ROLE}"), &body);
        let description = describe(&key.put_certificate(signed.signed_key()));
        (key, description)
    }
}

/// Where the key goes, and the name of its signatures.
enum To<'a> {
    Request(Value, &'a str),
    Flags(Vec<String>, &'a str),
}

/// Moves the key on: all steps but the last, which has to wait for the old key's certificates.
fn move_on(scene: &mut Scene, goals: &Goals<'_>, sshd: &Sshd, round: usize, to: &To<'_>) {
    let before: Vec<&str> = std::iter::repeat_n("retired", round).collect();
    let with = |more: &[&'static str]| -> Vec<&str> { before.iter().copied().chain(more.iter().copied()).collect() };
    let old = scene.issuer("default")["ca_fingerprint"].as_str().unwrap().to_owned();
    let (kept, description) = scene.certified(&format!("kept-{round}"), "100s");
    assert!(description.contains(&old), "{description}");
    let (To::Request(_, signed_with) | To::Flags(_, signed_with)) = to;
    match to {
        To::Request(body, _) => step(&mut scene.authority, &scene.api, body, &with(&["default", "staged"])),
        To::Flags(flags, _) => {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            scene.stage(&flags).succeeded();
        }
    }
    for (name, wanted) in [
        ("publish", ["default", "published"]),
        ("promote", ["published", "default"]),
    ] {
        step(
            &mut scene.authority,
            &scene.api,
            &json!({ "step": name }),
            &with(&wanted),
        );
        fetch_keys(&scene.api, sshd);
        goals.await_more(&format!("{name} {round}"), 2);
    }
    let (fresh, description) = scene.certified(&format!("fresh-{round}"), "1m");
    assert!(description.contains(&format!("(using {signed_with})")), "{description}");
    assert!(!description.contains(&old), "{description}");
    step(
        &mut scene.authority,
        &scene.api,
        &json!({"step": "retire"}),
        &with(&["retired", "default"]),
    );
    fetch_keys(&scene.api, sshd);
    for (what, key) in [("the old key", &kept), ("the new key", &fresh)] {
        let login = Ssh::to(sshd).key(key).run("id -un");
        assert!(
            login.accepted,
            "{what}, {signed_with}: {}\n{}",
            login.stderr,
            sshd.log()
        );
    }
    goals.await_more(&format!("retire {round}"), 1);
}

#[test]
fn the_ca_key_moves_into_hardware_on_to_other_hardware_and_back_and_no_login_fails() {
    let mut scene = Scene::new();
    let own = KeyFile::ed25519(scene.folder.path(), "own");
    let changed = Command::new(system("ssh-keygen"))
        .args(["-q", "-p", "-P", "", "-N", "a passphrase of mine", "-f"])
        .arg(own.path())
        .status();
    assert!(changed.unwrap().success());
    let passphrase = scene.folder.write("passphrase", "a passphrase of mine\n");
    std::fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flags = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let ways = [
        To::Request(
            json!({
                "step": "stage", "issuer_name": "hsm", "key_holder": "hsm", "key_label": "ca ssh 1", "key_type": "ec",
                "key_bits": 256,
            }),
            "ecdsa-sha2-nistp256",
        ),
        To::Flags(
            flags(&[
                "-key-holder=second",
                "-key-label=ca ssh 2",
                "-key-type=rsa",
                "-key-bits=3072",
            ]),
            "rsa-sha2-256",
        ),
        To::Flags(
            flags(&[
                "-key-holder=kms",
                &format!("-key-id={}", scene.moto.signing_key("ECC_NIST_P384")),
            ]),
            "ecdsa-sha2-nistp384",
        ),
        To::Flags(
            flags(&[
                &format!("-import={}", own.path().display()),
                &format!("-passphrase-file={}", passphrase.display()),
            ]),
            "ssh-ed25519",
        ),
    ];
    let sshd = SshdSetup::trusting(&scene.api.ca_key("ssh")).build();
    let goals = Goals::new(&[&sshd]);
    let (api, folder) = (scene.api.clone(), Workdir::new());
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let (goals, api, folder) = (&goals, &api, &folder);
            scope.spawn(move || goals.log_in_on_and_on(api, (ROLE, &login_name()), folder.path(), name));
        }
        let ends = goals.ends_all();
        for (round, way) in ways.iter().enumerate() {
            move_on(&mut scene, &goals, &sshd, round, way);
        }
        // The old keys go when their certificates have ended, one after the other.
        let started = Instant::now();
        while states(&scene.api) != ["default"] {
            let old = scene.issuer("retired")["issuer_id"].clone();
            let answer = scene.api.post("ssh/rotate", &json!({"step": "remove", "issuer": old}));
            let code = answer.body["code"].as_str().unwrap_or_default();
            assert!(answer.status == 200 || code == "rotation-unsafe", "{}", answer.text);
            assert!(started.elapsed() < PATIENCE, "{}", answer.text);
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(fetch_keys(&scene.api, &sshd), 1);
        goals.await_more("remove", 2);
        drop(ends);
    });
    assert_eq!(
        own.public_line().split(' ').nth(1),
        scene.api.ca_key("ssh").trim().split(' ').nth(1)
    );
    let staged = scene.authority.records("ca-stage");
    let holders: Vec<&str> = staged.iter().map(|record| record["holder"].as_str().unwrap()).collect();
    assert!(
        holders.starts_with(&["pkcs11"]) && holders.ends_with(&["pkcs11", "awskms", "software"]),
        "{holders:?}"
    );
    for secret in [PIN, "a passphrase of mine"] {
        assert!(!scene.authority.log().contains(secret));
        assert!(
            !scene
                .authority
                .records("")
                .iter()
                .any(|record| record.to_string().contains(secret))
        );
    }
    println!("{} logins", goals.count());
}

#[test]
fn a_request_names_no_key_that_the_configuration_does_not_give_it() {
    let mut scene = Scene::new();
    let seal_like = ["-key-holder=hsm", "-key-label=ca ssh", "-key-type=ec"];
    scene.stage(&seal_like).succeeded();
    let first = scene.issuer("staged");
    assert_eq!(first["place"], "pkcs11:token=signet;object=ca ssh", "{first}");
    assert_eq!(first["ready"], true, "{first}");
    // Whoever rotates another mount's key does not get this one's to sign for it.
    let other = |fields: &Value| scene.api.post("other/rotate", fields);
    for (fields, code) in [
        (
            json!({"key_holder": "hsm", "key_label": "ca ssh", "key_type": "ec"}),
            "ca-key-exists",
        ),
        (
            json!({"key_holder": "second", "key_label": "x", "key_type": "ec"}),
            "key-holder-unknown",
        ),
        (
            json!({"key_holder": "/usr/lib/evil.so", "key_label": "x"}),
            "key-holder-unknown",
        ),
        (
            json!({"key_holder": "hsm", "key_label": "absent", "key_type": "ec", "generate_signing_key": false}),
            "ca-key-unusable",
        ),
        (
            json!({"key_holder": "hsm", "key_label": "ca ssh", "key_type": "rsa"}),
            "ca-key-unusable",
        ),
        (
            json!({"key_holder": "hsm", "key_id": "x", "key_type": "ec"}),
            "ca-key-unusable",
        ),
    ] {
        let answer = other(&fields);
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!(code)),
            "{fields}: {}",
            answer.text
        );
    }
    let listed = scene.api.get("other/rotate");
    assert_eq!(
        listed.body["data"]["issuers"].as_array().unwrap().len(),
        1,
        "{}",
        listed.text
    );

    // A mount's first key, and a further one, are named the same way.
    scene.api.write("sys/mounts/fresh", &json!({"type": "ssh"}));
    for (path, label, bits) in [
        ("fresh/config/ca", "ca fresh", 256),
        ("fresh/issuers/import/next", "ca fresh 2", 384),
    ] {
        let fields = json!({"key_holder": "hsm", "key_label": label, "key_type": "ec", "key_bits": bits});
        let made = scene.api.write(path, &fields);
        let line = made.body["data"]["public_key"].as_str().unwrap();
        assert!(line.starts_with(&format!("ecdsa-sha2-nistp{bits} ")), "{}", made.text);
    }
    assert_eq!(scene.api.get("fresh/config/ca").body["data"]["holder"], "pkcs11");

    // A key whose holder is gone from the configuration is told apart, and is back with it.
    let gone = |text: &str| text.replacen("name = \"hsm\"", "name = \"renamed\"", 1);
    let of_ssh = || scene.issuer("staged");
    assert_eq!(of_ssh()["ready"], true);
    scene.authority.kill();
    let mut kept = String::new();
    scene.authority.reconfigure(|text| {
        kept.clone_from(&text);
        gone(&text).replacen("token_label = \"signet\"", "token_label = \"second\"", 1)
    });
    scene.authority.start();
    let away = scene.issuer("staged");
    assert_eq!(away["ready"], false, "{away}");
    assert!(
        away["reason"].as_str().unwrap().contains("[[key_holder]] `hsm`"),
        "{away}"
    );
    scene.authority.kill();
    scene.authority.reconfigure(|_| kept);
    scene.authority.start();
    signet_tests::wait::until("the key to be found", || {
        (scene.issuer("staged")["ready"] == true).then_some(())
    });

    // The token away: said as such, and nothing is staged.
    scene
        .api
        .delete(&format!("ssh/issuer/{}", first["issuer_id"].as_str().unwrap()));
    scene.token.pull();
    let refused = scene.stage(&["-key-holder=hsm", "-key-label=ca ssh 3", "-key-type=ec"]);
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    scene.token.put_back();
    assert_eq!(states(&scene.api), ["default"]);
}

/// Types a line at the program's terminal, and gives what it printed.
fn at_a_terminal(person: &Person, words: &[&str], answer: &str) -> (bool, String) {
    use std::io::{Read as _, Write as _};
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let signet = person.signet(&[]);
    let line = format!("'{}' {}", signet.get_program().to_str().unwrap(), quoted.join(" "));
    let mut script = Command::new(system("script"));
    script.args(["-q", "-e", "-c", &line, "/dev/null"]).env_clear();
    for (name, value) in signet.get_envs() {
        script.env(name, value.unwrap());
    }
    let mut running = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
    let (mut shown, mut byte, mut typed) = (Vec::new(), [0], false);
    while screen.read(&mut byte).unwrap() > 0 {
        shown.extend(byte);
        if !typed && shown.ends_with(b": ") {
            typed = true;
            keyboard.write_all(answer.as_bytes()).unwrap();
        }
    }
    let ended = running.wait().unwrap();
    (ended.success(), String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn an_encrypted_key_is_imported_by_the_passphrase_typed_at_the_terminal() {
    let scene = Scene::new();
    let own = KeyFile::ed25519(scene.folder.path(), "own");
    let changed = Command::new(system("ssh-keygen"))
        .args(["-q", "-p", "-P", "", "-N", "typed secret", "-f"])
        .arg(own.path())
        .status();
    assert!(changed.unwrap().success());
    let public = own.public_line();
    let import = format!("-import={}", own.path().display());
    // Nobody to ask, a wrong passphrase, and a .pub of another key: nothing is sent.
    let unasked = scene.stage(&[&import]);
    assert!(unasked.stderr.contains("-passphrase-file"), "{}", unasked.stderr);
    let words = ["ca", "rotate", "-step=stage", "-yes", &import];
    let (done, shown) = at_a_terminal(&scene.operator, &words, "wrong secret\n");
    assert!(!done && shown.contains("the passphrase is wrong"), "{shown}");
    let beside = own.path().with_extension("pub");
    std::fs::copy(scene.folder.path().join("alice.pub"), &beside).unwrap();
    let (done, shown) = at_a_terminal(&scene.operator, &words, "typed secret\n");
    assert!(!done && shown.contains("is not the public half of"), "{shown}");
    assert_eq!(states(&scene.api), ["default"]);
    // No .pub is needed.
    std::fs::remove_file(&beside).unwrap();
    let (done, shown) = at_a_terminal(&scene.operator, &words, "typed secret\n");
    assert!(done, "{shown}");
    assert!(!shown.contains("typed secret"), "{shown}");
    let staged = scene.issuer("staged");
    assert_eq!(
        staged["public_key"].as_str().unwrap().trim().split(' ').nth(1),
        public.split(' ').nth(1)
    );
}
