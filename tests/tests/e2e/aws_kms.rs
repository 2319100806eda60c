//! AWS KMS as seal and as CA key, against moto, which checks each signature: unsealed by itself after a kill, certificates
//! that the real sshd accepts, and what happens when KMS is away, slow, another one, or lies.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::canary::Canaries;
use signet_tests::keys::KeyFile;
use signet_tests::moto::{Moto, REGION};
use signet_tests::relay::{Relay, Way};
use signet_tests::ssh::Ssh;
use signet_tests::sshd::SshdSetup;
use signet_tests::team::Team;
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name};

/// Our name of a mount, KMS's name of its key, and what sshd says that it signed with.
const KEYS: &[(&str, &str, &str)] = &[
    ("p256", "ECC_NIST_P256", "ecdsa-sha2-nistp256"),
    ("p384", "ECC_NIST_P384", "ecdsa-sha2-nistp384"),
    ("p521", "ECC_NIST_P521", "ecdsa-sha2-nistp521"),
    ("rsa2", "RSA_2048", "rsa-sha2-256"),
    ("rsa3", "RSA_3072", "rsa-sha2-512"),
    ("rsa4", "RSA_4096", "rsa-sha2-256"),
];

pub(crate) fn seal(key: &str, endpoint: &str) -> String {
    format!(
        "\n[seal]\ntype = \"awskms\"\nregion = \"{REGION}\"\nkey_id = \"{key}\"\nendpoint = \"{endpoint}\"\n\
         encryption_context = {{ team = \"core\" }}\n"
    )
}

fn mount(path: &str, key: &str, endpoint: &str) -> String {
    format!(
        "\n[[mount]]\npath = \"{path}\"\nca_key = {{ type = \"awskms\", key_id = \"{key}\", region = \"{REGION}\", \
         endpoint = \"{endpoint}\", timeout = \"4s\" }}\n"
    )
}

fn team(policies: &Path) {
    Team::default().install(policies);
}

/// A server that is to be initialised, with what `config` adds and the keys of moto's user.
fn closed(moto: &Moto, config: &str) -> Authority {
    let environment = [
        ("AWS_ACCESS_KEY_ID", moto.text("key")),
        ("AWS_SECRET_ACCESS_KEY", moto.text("secret")),
        ("SIGNET_LOG", "trace,h2=off,hyper=off,rustls=off"),
    ];
    Authority::serve_sealed_with(team, config, &environment)
}

/// Initialises it and gives the API of the root token.
fn init(authority: &Authority) -> Api {
    let made = authority.init();
    authority.api(made.body["root_token"].as_str().expect("a token"))
}

fn make_role(root: &Api, mount: &str, algorithm: &str) {
    let role = json!({
        "key_type": "ca", "allow_user_certificates": true, "allowed_users": login_name(), "ttl": "5m",
        "algorithm_signer": algorithm,
    });
    root.write(&format!("{mount}/roles/kms"), &role);
}

/// Has a key certified at a mount and logs in with it.
fn logs_in(root: &Api, mount: &str, signed_with: &str) {
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "key");
    let signed = root.sign(mount, "kms", &key.public_line(), &login_name());
    let certificate = key.put_certificate(signed.signed_key());
    let described = signet_tests::keys::describe(&certificate);
    assert!(described.contains(&format!("(using {signed_with})")), "{described}");
    let sshd = SshdSetup::trusting(&root.ca_key(mount)).build();
    let login = Ssh::to(&sshd).key(&key).run("true");
    assert!(login.accepted, "{mount}: {}\n{}", login.stderr, sshd.log());
}

fn health(authority: &Authority) -> u16 {
    authority.anonymous().get("sys/health").status
}

#[test]
fn a_key_in_kms_unseals_the_server_after_a_kill_and_others_there_sign_for_sshd() {
    let moto = Moto::strict();
    let relay = Relay::to(moto.port());
    let mut config = seal(moto.text("seal"), &relay.address());
    for (path, spec, _) in KEYS {
        config += &mount(path, moto.signing_key(spec), &relay.address());
    }
    let mut authority = closed(&moto, &config);
    assert_eq!(health(&authority), 501, "it waits for `sys/init`");
    let root = init(&authority);
    for (path, _, signed_with) in KEYS {
        make_role(
            &root,
            path,
            if *signed_with == "rsa-sha2-512" {
                "rsa-sha2-512"
            } else {
                "default"
            },
        );
        logs_in(&root, path, signed_with);
    }
    authority.kill();
    authority.start();
    until("the seal to open by itself", || {
        (health(&authority) == 200).then_some(())
    });
    for (path, _, signed_with) in KEYS {
        logs_in(&root, path, signed_with);
    }

    // Away at the start: sealed, with the reason, and open by itself when KMS is back.
    authority.kill();
    relay.set(Way::Cut);
    authority.start();
    let answer = authority.anonymous().get("sys/health");
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("KMS cannot be reached"), "{}", answer.text);
    relay.set(Way::Open);
    until("the seal to open by itself", || {
        (health(&authority) == 200).then_some(())
    });
    logs_in(&root, "p256", "ecdsa-sha2-nistp256");

    let log = authority.log();
    assert!(log.contains("awskms"), "the log of every level is there");
    let mut canaries = Canaries::default();
    canaries.add("the secret key", moto.text("secret").as_bytes());
    let found = canaries.found_under(authority.folder().path(), &|_| false);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_signer_that_is_slow_away_or_lies_gives_no_certificate_and_holds_up_no_other_mount() {
    let moto = Moto::strict();
    let relay = Relay::to(moto.port());
    let config = seal(moto.text("seal"), &moto.address())
        + &mount("p256", moto.signing_key("ECC_NIST_P256"), &relay.address())
        + &mount("rsa2", moto.signing_key("RSA_2048"), &relay.address());
    let authority = closed(&moto, &config);
    let root = init(&authority);
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "subject").public_line();
    for path in ["p256", "rsa2", "ssh"] {
        make_role(&root, path, "default");
    }
    let sign = |mount: &str| root.sign(mount, "kms", &key, &login_name());
    for path in ["p256", "rsa2"] {
        sign(path).signed_key();
        relay.set(Way::AltersAfter("\"Signature\": \""));
        let lied = sign(path);
        assert_eq!(lied.status, 500, "{}", lied.text);
        assert!(!lied.text.contains("cert-v01"), "{}", lied.text);
        relay.set(Way::Cut);
        let away = sign(path);
        assert_eq!(
            (away.status, &away.body["code"]),
            (503, &json!("signer-unavailable")),
            "{}",
            away.text
        );
        relay.set(Way::Open);
        sign(path).signed_key();
    }
    assert!(authority.log().contains("does not verify"), "the log tells of the lie");

    relay.set(Way::Held);
    let slowest = std::thread::scope(|scope| {
        let held: Vec<_> = (0..120)
            .map(|_| scope.spawn(|| (Instant::now(), sign("p256"))))
            .collect();
        // Wait until some of them hold every seat, then measure the neighbour.
        until("a full queue", || {
            held.iter()
                .any(std::thread::ScopedJoinHandle::is_finished)
                .then_some(())
        });
        let neighbour = (0..20).map(|_| {
            let begun = Instant::now();
            sign("ssh").signed_key();
            begun.elapsed()
        });
        let slowest = neighbour.max().expect("twenty");
        let mut codes = std::collections::BTreeSet::new();
        for thread in held {
            let (begun, answer) = thread.join().expect("an answer");
            assert_eq!(answer.status, 503, "{}", answer.text);
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
            codes.insert(answer.body["code"].as_str().expect("a code").to_owned());
        }
        assert!(
            codes.contains("signer-busy") && codes.contains("signer-unavailable"),
            "{codes:?}"
        );
        slowest
    });
    assert!(slowest < Duration::from_secs(2), "a neighbour waited {slowest:?}");
    relay.set(Way::Open);
    sign("p256").signed_key();
}

#[test]
fn another_key_under_the_same_id_is_refused_when_it_is_loaded() {
    let (moto, impostor) = (Moto::strict(), Moto::lenient());
    let relay = Relay::to(moto.port());
    let config =
        seal(moto.text("seal"), &moto.address()) + &mount("p256", moto.signing_key("ECC_NIST_P256"), &relay.address());
    let mut authority = closed(&moto, &config);
    let root = init(&authority);
    let folder = Workdir::new();
    make_role(&root, "p256", "default");
    make_role(&root, "ssh", "default");
    logs_in(&root, "p256", "ecdsa-sha2-nistp256");
    let before = root.ca_key("p256");
    authority.kill();
    relay.point_to(impostor.port());
    authority.start();
    until("the seal to open by itself", || {
        (health(&authority) == 200).then_some(())
    });
    until("the key to be looked at", || {
        authority.log().contains("but the mount's CA key is").then_some(())
    });
    let key = KeyFile::ed25519(folder.path(), "subject").public_line();
    let refused = root.sign("p256", "kms", &key, &login_name());
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (503, &json!("signer-unavailable")),
        "{}",
        refused.text
    );
    assert_eq!(root.ca_key("p256"), before, "hosts are told the key that they trust");
    root.sign("ssh", "kms", &key, &login_name()).signed_key();
}

#[test]
fn another_key_or_context_does_not_open_the_seal_and_nothing_is_lost() {
    let moto = Moto::strict();
    let mut authority = closed(&moto, &seal(moto.text("seal"), &moto.address()));
    init(&authority);
    let before = std::cell::RefCell::new(String::new());
    let ends = |authority: &mut Authority, edit: &dyn Fn(&str) -> String| {
        authority.stop();
        authority.reconfigure(|text| {
            before.replace(text.clone());
            edit(&text)
        });
        let error = authority.fails_to_start();
        authority.reconfigure(|_| before.borrow().clone());
        authority.start();
        until("the seal to open by itself", || {
            (health(authority) == 200).then_some(())
        });
        error
    };
    let other = |text: &str| text.replace(moto.text("seal"), moto.text("other_seal"));
    assert!(ends(&mut authority, &other).contains("another key wrapped it"));
    let context = |text: &str| text.replace("team = \"core\"", "team = \"other\"");
    assert!(ends(&mut authority, &context).contains("another key wrapped it"));
    let renamed = |text: &str| text.replace("name = \"signet-test\"", "name = \"stranger\"");
    assert!(ends(&mut authority, &renamed).contains("another key wrapped it"));

    // The way to another key: the old one is described beside it for one start.
    let old = seal(moto.text("seal"), &moto.address()).replace("[seal]", "[seal.previous]");
    for migrates in [true, false] {
        authority.kill();
        authority.reconfigure(|text| {
            if migrates {
                other(&text) + &old
            } else {
                text.replace(&old, "")
            }
        });
        authority.start();
        until("the seal to open by itself", || {
            (health(&authority) == 200).then_some(())
        });
    }
}

/// A service that answers each path with a text, for as long as the process lives.
fn metadata(answers: Vec<(&'static str, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its number"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            for line in lines.map_while(Result::ok) {
                if line.is_empty() {
                    break;
                }
            }
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(at, _)| *at == path);
            let (status, body) = found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body.as_str()));
            drop(write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    address
}

/// Founds a store under the seal and opens it again, with credentials that the environment leads to.
fn seals_with(environment: &[(&str, &str)], config: &str) {
    let mut authority = Authority::serve_sealed_with(team, config, environment);
    init(&authority);
    authority.kill();
    authority.start();
    until("the seal to open by itself", || {
        (health(&authority) == 200).then_some(())
    });
}

#[test]
fn credentials_come_from_profiles_containers_and_instances_too() {
    let moto = Moto::strict();
    let config = seal(moto.text("seal"), &moto.address());
    let folder = Workdir::new();
    let profile = folder.write(
        "credentials",
        &format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = wrong\n[signet]\naws_access_key_id = {0}\n\
             aws_secret_access_key = {}\n",
            moto.text("key"),
            moto.text("secret")
        ),
    );
    let file = profile.display().to_string();
    let mode = |bits| std::fs::set_permissions(&profile, std::fs::Permissions::from_mode(bits)).unwrap();
    mode(0o644);
    let open = Authority::serve_sealed_with(
        team,
        &config,
        &[("AWS_SHARED_CREDENTIALS_FILE", &file), ("AWS_PROFILE", "signet")],
    );
    let shares = json!({"recovery_shares": 1, "recovery_threshold": 1});
    let answer = open.anonymous().post("sys/init", &shares);
    assert!(answer.status >= 400, "{}", answer.text);
    let told = answer.text + &open.log();
    assert!(told.contains("has mode 0644; others can read it"), "{told}");
    mode(0o600);
    seals_with(
        &[("AWS_SHARED_CREDENTIALS_FILE", &file), ("AWS_PROFILE", "signet")],
        &config,
    );

    let document = moto.document("2099-01-01T00:00:00Z");
    let container = metadata(vec![("/v1/credentials", document.clone())]) + "/v1/credentials";
    let token = folder.write("token", "bearer\n").display().to_string();
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ];
    seals_with(&environment, &config);

    let role = "/latest/meta-data/iam/security-credentials/signet";
    let instance = metadata(vec![
        ("/latest/api/token", "session".to_owned()),
        ("/latest/meta-data/iam/security-credentials/", "signet\n".to_owned()),
        (role, document),
    ]);
    seals_with(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance)], &config);

    // Nothing is founded under a key that cannot be asked.
    let mut wrong = Authority::serve_sealed_with(team, &config, &[("AWS_SHARED_CREDENTIALS_FILE", &file)]);
    let answer = wrong
        .anonymous()
        .post("sys/init", &json!({"recovery_shares": 1, "recovery_threshold": 1}));
    assert!(answer.status >= 400, "{}", answer.text);
    assert!(answer.text.contains("secret access key is wrong") || wrong.log().contains("secret access key is wrong"));
    assert_eq!(health(&wrong), 501, "nothing was founded");
    wrong.stop();
}

#[test]
fn a_web_identity_takes_on_its_role_at_sts() {
    let moto = Moto::lenient();
    let folder = Workdir::new();
    let token = folder.write("token", "e30.e30.c2ln\n").display().to_string();
    let config = seal(moto.text("seal"), &moto.address());
    let environment = [
        ("AWS_ROLE_ARN", moto.text("role")),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
        ("AWS_ENDPOINT_URL_STS", &moto.address()),
    ];
    seals_with(&environment, &config);
}
