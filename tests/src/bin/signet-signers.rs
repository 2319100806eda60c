//! `cargo xtask bench signers`: what a certificate costs with its CA key in each place it may lie in: in the server, on a
//! PKCS#11 token (SoftHSM, which computes in the server's process), in AWS KMS (moto, a process of its own on the same cores).

use std::time::Duration;

use serde_json::json;
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::load::connection::Target;
use signet_tests::load::drive::{Figures, Plan, drive};
use signet_tests::load::subject_keys;
use signet_tests::moto::{Moto, REGION};
use signet_tests::softhsm::Token;
use signet_tests::wait::until;
use signet_tests::workdir::login_name;

/// Mount, `key_type` and `key_bits` of a key in the server.
const IN_THE_SERVER: &[(&str, &str, u32)] = &[
    ("ed25519", "ed25519", 0),
    ("p256", "ec", 256),
    ("p384", "ec", 384),
    ("rsa3072", "rsa", 3072),
];

/// Mount, `key_type` and `key_bits` of a key on the token.
const ON_THE_TOKEN: &[(&str, &str, u32)] = &[
    ("token-ed25519", "ed25519", 0),
    ("token-p256", "ec", 256),
    ("token-p384", "ec", 384),
    ("token-rsa3072", "rsa", 3072),
];

/// Mount, KMS's name of the key's kind.
const IN_KMS: &[(&str, &str)] = &[
    ("kms-p256", "ECC_NIST_P256"),
    ("kms-p384", "ECC_NIST_P384"),
    ("kms-rsa3072", "RSA_3072"),
];

/// Connections of the crowd; the other figure is of one alone.
const CROWD: usize = 32;

fn main() {
    let quick = std::env::args().any(|word| word == "--quick");
    let window = Duration::from_secs(if quick { 1 } else { 5 });
    let (token, moto) = (Token::empty(), Moto::strict());
    let (authority, root_token) = initialised(&token, &moto);
    let root = authority.api(&root_token);
    for (mount, key_type, bits) in IN_THE_SERVER {
        let key = json!({"generate_signing_key": true, "key_type": key_type, "key_bits": bits});
        root.write(&format!("{mount}/config/ca"), &key);
    }
    let keys = subject_keys::make(50_000);
    println!("\ncertificates over TLS, durable ledger, by where the CA key lies");
    println!(
        "  {:<14} {:>3}  {:>8}  {:>9}  {:>7}  {:>8}  {:>8}  others",
        "", "", "per s", "server", "signs", "p50", "p99"
    );
    let mounts = (IN_THE_SERVER.iter().map(|(mount, ..)| *mount))
        .chain(ON_THE_TOKEN.iter().map(|(mount, ..)| *mount))
        .chain(IN_KMS.iter().map(|(mount, _)| *mount));
    for mount in mounts {
        make_role(&root, mount);
        for connections in [1, CROWD] {
            row(
                mount,
                &drive(&Plan {
                    target: &Target::tls(authority.port()),
                    pid: authority.pid(),
                    path: &format!("{mount}/sign/login"),
                    tokens: std::slice::from_ref(&root_token),
                    principal: &login_name(),
                    keys: &keys,
                    connections,
                    warm_up: Duration::from_secs(1),
                    window,
                }),
            );
        }
    }
}

/// An authority with a mount for each place, initialised; its seal's key lies on the token.
fn initialised(token: &Token, moto: &Moto) -> (Authority, String) {
    let in_the_server = IN_THE_SERVER
        .iter()
        .map(|(mount, ..)| format!("\n[[mount]]\npath = \"{mount}\"\n"));
    let on_the_token = ON_THE_TOKEN
        .iter()
        .map(|(mount, key_type, bits)| token.mount(mount, key_type, *bits));
    let in_kms = IN_KMS.iter().map(|(mount, spec)| {
        format!(
            "\n[[mount]]\npath = \"{mount}\"\nca_key = {{ type = \"awskms\", key_id = \"{}\", region = \"{REGION}\", \
             endpoint = \"{}\" }}\n",
            moto.signing_key(spec),
            moto.address(),
        )
    });
    let mounts: String = in_the_server.chain(on_the_token).chain(in_kms).collect();
    let config = mounts + &token.seal();
    let environment = [
        ("SOFTHSM2_CONF", token.environment()),
        ("AWS_ACCESS_KEY_ID", moto.text("key").to_owned()),
        ("AWS_SECRET_ACCESS_KEY", moto.text("secret").to_owned()),
    ];
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let authority = Authority::serve_sealed_with(|_| {}, &config, &environment);
    let made = authority.init();
    let root_token = made.body["root_token"].as_str().expect("a root token").to_owned();
    until("the seal to open", || {
        let answer = authority.anonymous().try_get("sys/health");
        answer.filter(|answer| answer.status == 200)
    });
    (authority, root_token)
}

fn make_role(root: &Api, mount: &str) {
    let role = json!({
        "key_type": "ca", "allow_user_certificates": true, "allowed_users": login_name(), "ttl": "5m",
        "default_extensions": {"permit-pty": ""},
    });
    root.write(&format!("{mount}/roles/login"), &role);
}

/// The other processes' work is a column and no reason for doubt here, since moto's is part of what is measured.
fn row(mount: &str, figures: &Figures) {
    let doubt = match (&figures.refused, figures.speed_drift()) {
        (Some(refused), _) => format!("   refused: {refused}"),
        (None, drift) if drift > 0.2 => format!("   not judged: CPU speed drifted by {:.0} %", drift * 100.0),
        (None, _) => String::new(),
    };
    println!(
        "  {mount:<14} {:>3}  {:>6.0}/s  {:>6.1} µs  {:>7.2}  {:>5.1} ms  {:>5.1} ms  {:.2} cores{doubt}",
        figures.connections,
        figures.rate(),
        figures.micros_each(),
        figures.signs_each(),
        figures.p50 / 1000.0,
        figures.p99 / 1000.0,
        figures.foreign_cores,
    );
}
