//! The secrets that seals have of their own, and the recovery keys beside them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use signet_ca::seal::Seal;
use signet_ca::seal::key_file::KeyFileSeal;
use signet_ca::seal::passphrase::{PassphraseSeal, Source};
use signet_tests::authority::Authority;
use signet_tests::canary::Canaries;
use signet_tests::estate::Estate;
use signet_tests::kmip::Kmip;
use signet_tests::moto::Moto;
use signet_tests::softhsm::{PIN, Token};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, is_root};

use super::{LOGS_ALL, add_shares, assert_no_core, assert_not_shown, opened, operator, printed};
use crate::aws_kms;

const TLS_KEY: &str = "data/tls.key";

/// A file that a seal reads its secret from.
fn secret_file(folder: &Workdir, name: &str, text: &str) -> PathBuf {
    let path = folder.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode 0600");
    path
}

/// Starts a server under a seal, initialises it where that is needed, and looks everywhere, also after it was killed and
/// has opened by itself again.
fn looks_everywhere(
    config: &str,
    environment: &[(&str, &str)],
    seal: Option<&dyn Seal>,
    mut canaries: Canaries,
    holders: &[&str],
) {
    let environment = [environment, &[LOGS_ALL]].concat();
    let mut authority = Authority::serve_sealed_with(|_| {}, config, &environment);
    let status = |authority: &Authority| authority.anonymous().get("sys/health").status;
    if status(&authority) == 501 {
        let made = operator(&authority).run(&["operator", "init", "-recovery-shares=2", "-recovery-threshold=2"]);
        let made = made.succeeded().stdout;
        add_shares(&mut canaries, "recovery key", &printed(&made, "Recovery Key"));
        canaries.add("root token", printed(&made, "Initial Root Token")[0].as_bytes());
    }
    assert_eq!(status(&authority), 200);
    if let Some(seal) = seal {
        opened::add_secrets_of(&authority.data(), seal, &mut canaries);
    }
    // AWS's are kept as long as they are good.
    if is_root() {
        let mut kept = canaries.found_in_memory(authority.pid());
        kept.retain(|found| {
            ["passphrase", "PIN", "recovery key", "root token"]
                .iter()
                .any(|name| found.starts_with(name))
        });
        assert!(kept.is_empty(), "{kept:#?}");
    }
    let holders = [&[TLS_KEY], holders].concat();
    assert_not_shown(&authority, &canaries, &holders);
    assert_no_core(&mut authority, &canaries, &holders);
    until("the seal to open by itself", || {
        (status(&authority) == 200).then_some(())
    });
}

#[test]
fn a_passphrase_and_what_it_opens_are_found_nowhere() {
    let folder = Workdir::new();
    let mut canaries = Canaries::default();
    canaries.add("passphrase", b"correct canary battery staple");
    let path = secret_file(&folder, "passphrase", "correct canary battery staple\n");
    let config = format!("[seal]\ntype = \"passphrase\"\nfile = \"{}\"\n", path.display());
    let seal = PassphraseSeal::new(Source::File(path));
    looks_everywhere(&config, &[], Some(&seal), canaries, &[]);
}

#[test]
fn a_pin_and_recovery_keys_are_found_nowhere() {
    let token = Token::empty();
    let mut canaries = Canaries::default();
    canaries.add("PIN", PIN.as_bytes());
    let conf = token.environment();
    looks_everywhere(&token.seal(), &[("SOFTHSM2_CONF", &conf)], None, canaries, &[]);
}

#[test]
fn aws_keys_and_session_tokens_are_found_nowhere() {
    let (moto, folder) = (Moto::strict(), Workdir::new());
    let short: Value = serde_json::from_str(&moto.document("2099-01-01T00:00:00Z")).expect("a document");
    let text = |name: &str| short[name].as_str().expect("a text").to_owned();
    let mut canaries = Canaries::default();
    canaries.add("secret access key", text("SecretAccessKey").as_bytes());
    canaries.add("session token", text("Token").as_bytes());
    let profile = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
        text("AccessKeyId"),
        text("SecretAccessKey"),
        text("Token")
    );
    let file = secret_file(&folder, "credentials", &profile).display().to_string();
    let config = aws_kms::seal(moto.text("seal"), &moto.address());
    looks_everywhere(&config, &[("AWS_SHARED_CREDENTIALS_FILE", &file)], None, canaries, &[]);
}

#[test]
fn a_kmip_clients_key_is_found_nowhere() {
    let kmip = Kmip::new();
    let mut canaries = Canaries::default();
    let pem = std::fs::read_to_string(kmip.file("client.key")).expect("the client's key");
    canaries.add_pem("KMIP client's key", &pem);
    opened::add_private("KMIP client's key", &opened::of_pem(&pem), &mut canaries);
    looks_everywhere(&kmip.settings("seal", kmip.port(), "seal"), &[], None, canaries, &[]);
}

#[test]
fn a_key_files_key_and_the_tokens_of_hosts_are_found_in_no_other_file() {
    let mut estate = Estate::local();
    estate.authority.stop();
    estate.authority.set_variable(LOGS_ALL.0, LOGS_ALL.1);
    estate.authority.start();
    let mut canaries = Canaries::default();
    let operator = estate.operator();
    let token = estate.host_token(&operator, "web-1", &["web"]);
    canaries.add("one-time token", token.as_bytes());
    // Brought by somebody who proves nothing: it is refused, and must not be told in a log.
    let refused = estate.authority.anonymous().post(
        "sys/signet/host/enroll",
        &json!({"method": "token", "token": token, "proof": {"token": token}}),
    );
    assert!(refused.status >= 400, "{}", refused.text);
    let path = estate.authority.data().join("barrier.key");
    let text = std::fs::read_to_string(&path).expect("the key file");
    let key = text.split_whitespace().last().expect("a key");
    canaries.add("key file's key", &STANDARD.decode(key).expect("base64"));
    opened::add_secrets_of(&estate.authority.data(), &KeyFileSeal::new(path), &mut canaries);
    let holders = [TLS_KEY, "data/barrier.key"];
    assert!(
        !canaries.found_under(&estate.authority.data(), &|_| false).is_empty(),
        "the search finds: the key file"
    );
    assert_not_shown(&estate.authority, &canaries, &holders);
    let mut authority = estate.authority;
    assert_no_core(&mut authority, &canaries, &holders);
}
