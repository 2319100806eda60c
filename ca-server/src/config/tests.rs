//! `signet.toml`: what is read, and how mistakes read.

use std::path::Path;

use signet_core::signer::CaKeyType;

use super::{
    CaKeyConfig, Config, KeyHolder, KeyWish, KmipMechanism, KmipOperation, PinSource, SealSettings, Tls, TokenName,
    WrapMechanism,
};
use crate::seal::passphrase::Source;

const WHOLE: &str = r#"
name = "ca"
addresses = ["https://CA.example.com:8200/", "https://ca.internal"]
node = 7
data = "data"
policies = "/etc/signet/policies"
empty_principals = "legacy"

[listen]
address = "0.0.0.0:8200"
metrics = "127.0.0.1:9100"

[tls]
certificate = "tls.crt"
key = "tls.key"

[seal]
type = "key-file"
path = "/keys/barrier.key"

[[mount]]
path = "ssh-client-signer/"
ca_key_type = "ed25519"
default_ttl = "30m"
max_ttl = "1h"

[[mount]]
path = "hosts"

[[audit.sink]]
type = "file"
path = "/var/log/signet/audit.jsonl"

[limits]
body_bytes_max = 65_536
request_timeout = "15s"

[auth.ssh-key]
enabled = true
ttl = "8h"
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse("signet.toml", text, Path::new("/etc/signet"))
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_whole_configuration_is_read() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(
        config.addresses,
        ["https://ca.example.com:8200", "https://ca.internal:443"]
    );
    assert_eq!((config.node.0, config.data.to_str()), (7, Some("/etc/signet/data")));
    assert_eq!(
        config.seal.current,
        SealSettings::KeyFile {
            path: "/keys/barrier.key".into()
        }
    );
    assert!(matches!(&config.tls, Tls::Files { key, .. } if key == Path::new("/etc/signet/tls.key")));
    assert_eq!(
        (config.mounts[0].path.as_str(), config.mounts[0].default_ttl),
        ("ssh-client-signer", 1800)
    );
    assert_eq!(config.sinks, [Path::new("/var/log/signet/audit.jsonl")]);
    assert_eq!(
        (config.limits.request_timeout_secs, config.strict_empty_principals),
        (15, false)
    );
    assert!(config.auth.ssh_key.is_some());
}

#[test]
fn the_least_configuration_is_safe() {
    let config = parse("data = \"/var/lib/signet\"").unwrap();
    assert!(
        config.listen.address.ip().is_loopback(),
        "reachable by others only when somebody says so"
    );
    assert_eq!((config.tls, config.strict_empty_principals), (Tls::SelfSigned, true));
    assert_eq!(
        config.seal.current,
        SealSettings::KeyFile {
            path: "/var/lib/signet/barrier.key".into()
        }
    );
}

#[test]
fn all_mistakes_are_reported_at_once_with_line_and_nearest_word() {
    let text = r#"nme = "ca"
addresses = ["ca.example.com"]
node = 70000
empty_principals = "lenient"

[listen]
adress = "0.0.0.0:8200"
metrics = "9100"

[tls]
certificate = "tls.crt"

[seal]
type = "keyfile"

[[mount]]
path = "sys/ssh"
ca_key_type = "dsa"

[[mount]]
path = "a"
default_ttl = "2h"
max_ttl = "1h"

[[mount]]
path = "a/b"

[[audit.sink]]
type = "syslog"

[limits]
body_bytes_max = 5
request_timeout = "soon"

[autidt]
"#;
    insta::assert_snapshot!(parse(text).unwrap_err());
}

#[test]
fn text_that_is_no_toml_is_one_mistake_with_its_line() {
    insta::assert_snapshot!(parse("data = \"x\"\nnode = = 3\n").unwrap_err());
}

#[test]
fn each_seal_is_read_with_its_own_keys_and_the_one_before_it() {
    let text =
        "data = \"/d\"\n[seal]\ntype = \"passphrase\"\ncredential = \"seal\"\n[seal.previous]\ntype = \"shamir\"\n";
    let seal = parse(text).unwrap().seal;
    let source = Source::Credential("seal".to_owned());
    assert_eq!(seal.current, SealSettings::Passphrase { source });
    assert_eq!(seal.previous, Some(SealSettings::Shamir));
    for (wrong, about) in [
        ("type = \"shamir\"\npath = \"x\"", "path"),
        ("type = \"sharmir\"", "shamir"),
        ("type = \"passphrase\"\ncredential = \"a/b\"", "LoadCredential"),
        ("type = \"passphrase\"\ncredential = \"a\"\nfile = \"b\"", "not both"),
    ] {
        let mistakes = parse(&format!("data = \"/d\"\n[seal]\n{wrong}\n")).unwrap_err();
        assert!(mistakes.contains(about), "{mistakes}");
    }
}

#[test]
fn keys_on_a_token_are_read_and_their_mistakes_told() {
    let head = "data = \"d\"\naddresses = [\"https://a\"]\n";
    let seal =
        |keys: &str| format!("{head}[seal]\ntype = \"pkcs11\"\nkey_label = \"seal\"\nmodule = \"/m.so\"\n{keys}");
    let config = parse(&seal(
        "token_label = \"signet\"\npin_credential = \"hsm-pin\"\nmechanism = \"rsa-oaep\"\ntimeout = \"5s\"\n",
    ))
    .unwrap();
    let SealSettings::Pkcs11(read) = config.seal.current else {
        panic!("{:?}", config.seal)
    };
    assert_eq!(read.mechanism, Some(WrapMechanism::RsaOaep));
    assert_eq!(read.key.token.token, TokenName::Label("signet".to_owned()));
    assert_eq!(read.key.token.pin, PinSource::Credential("hsm-pin".to_owned()));
    assert_eq!((read.key.create, read.key.token.timeout.as_secs()), (false, 5));

    let mount = |keys: &str| format!("{head}[[mount]]\npath = \"ssh\"\nca_key = {{ type = \"pkcs11\", {keys} }}\n");
    let whole = "module = \"m.so\", slot = 3, pin_file = \"pin\", key_label = \"ca\", key_type = \"ec\", key_bits = 384, create = true";
    let config = parse(&mount(whole)).unwrap();
    let Some(CaKeyConfig::Pkcs11 { key, key_type }) = &config.mounts[0].ca_key else {
        panic!("{:?}", config.mounts)
    };
    assert_eq!(*key_type, signet_core::signer::CaKeyType::EcdsaP384);
    assert_eq!(key.token.token, TokenName::Slot(3));
    assert_eq!(key.token.module, Path::new("/etc/signet/m.so"));
    assert_eq!(key.token.pin, PinSource::File("/etc/signet/pin".into()));
    assert!(key.create);

    let good = "token_label = \"signet\"\npin_file = \"pin\"\n";
    for (text, told) in [
        (seal("pin_file = \"pin\"\n"), "`token_label` or `slot` is missing"),
        (
            seal("token_label = \"t\"\n"),
            "`pin_file` or `pin_credential` is missing",
        ),
        (
            seal(&format!("{good}slot = 1\n")),
            "give `token_label` or `slot`, not both",
        ),
        (
            seal(&format!("{good}pin_credential = \"x\"\n")),
            "give `pin_file` or `pin_credential`, not both",
        ),
        (
            seal(&format!("{good}pin = \"1234\"\n")),
            "a PIN does not belong into signet.toml",
        ),
        (seal(&format!("{good}mechanism = \"des\"\n")), "mechanism"),
        (seal(&format!("{good}sessions = 0\n")), "sessions"),
        (seal(&format!("{good}key_labl = \"x\"\n")), "key_labl"),
        (mount(&whole.replace("\"ec\"", "\"dsa\"")), "unknown key type"),
        (
            mount(&whole.replace(", key_type = \"ec\"", "")),
            "`key_type` is missing",
        ),
        (
            mount(whole).replace("path = \"ssh\"", "path = \"ssh\"\nca_key_type = \"ed25519\""),
            "not both",
        ),
    ] {
        let mistakes = parse(&text).unwrap_err();
        assert!(mistakes.contains(told), "{told}:\n{mistakes}");
        assert!(!mistakes.contains("1234"), "{mistakes}");
    }
}

#[test]
fn a_key_in_a_kmip_server_is_read_and_its_mistakes_told() {
    let seal = |keys: &str| format!("data = \"d\"\n[seal]\ntype = \"kmip\"\n{keys}");
    let files = "ca = \"ca.pem\"\ncertificate = \"signet.pem\"\nkey = \"/keys/signet.key\"\nkey_id = \"42\"\n";
    let read = |keys: &str| match parse(&seal(keys)).unwrap().seal.current {
        SealSettings::Kmip(config) => config,
        other => panic!("{other:?}"),
    };
    let least = read(&format!("endpoint = \"kmip.example\"\n{files}"));
    assert_eq!(
        (least.host.as_str(), least.port, least.server_name.as_str()),
        ("kmip.example", 5696, "kmip.example")
    );
    assert_eq!(
        (least.operation, least.mechanism, least.timeout.as_secs()),
        (KmipOperation::Encrypt, None, 10)
    );
    assert_eq!(least.ca, Path::new("/etc/signet/ca.pem"));
    assert_eq!(
        (least.key.as_path(), least.key_id.as_str()),
        (Path::new("/keys/signet.key"), "42")
    );
    let whole = read(&format!(
        "endpoint = \"[2001:db8::1]:9998\"\nserver_name = \"kmip.example\"\noperation = \"encrypt\"\n\
         mechanism = \"aes-cbc\"\ntimeout = \"3s\"\n{files}"
    ));
    assert_eq!(
        (whole.shown().as_str(), whole.server_name.as_str()),
        ("[2001:db8::1]:9998", "kmip.example")
    );
    assert_eq!(
        (whole.mechanism, whole.timeout.as_secs()),
        (Some(KmipMechanism::AesCbc), 3)
    );

    let endpoint = "endpoint = \"kmip.example:5696\"\n";
    for (keys, told) in [
        (files.to_owned(), "`endpoint` is missing"),
        (endpoint.to_owned(), "`key_id` is missing"),
        (endpoint.to_owned(), "`certificate` is missing"),
        (
            format!("endpoint = \"https://kmip.example\"\n{files}"),
            "must be HOST:PORT",
        ),
        (format!("endpoint = \"kmip.example:0\"\n{files}"), "must be HOST:PORT"),
        (
            format!("endpoint = \"kmip.example:70000\"\n{files}"),
            "must be HOST:PORT",
        ),
        (format!("endpoint = \"2001:db8::1\"\n{files}"), "in brackets"),
        (format!("endpoint = \"[::1]x\"\n{files}"), "must be HOST:PORT"),
        (format!("endpoint = \":5696\"\n{files}"), "must be HOST:PORT"),
        (format!("{endpoint}server_name = \"a b\"\n{files}"), "server_name"),
        (format!("{endpoint}operation = \"wrap\"\n{files}"), "operation"),
        (format!("{endpoint}mechanism = \"aes-ecb\"\n{files}"), "mechanism"),
        (
            format!("{endpoint}operation = \"get\"\nmechanism = \"aes-gcm\"\n{files}"),
            "it does not",
        ),
        (format!("{endpoint}timeout = \"1h\"\n{files}"), "timeout"),
        (format!("{endpoint}key-id = \"1\"\n{files}"), "key_id"),
        (
            endpoint.to_owned() + &files.replace("\"42\"", "\"\""),
            "1 to 256 characters",
        ),
        (
            endpoint.to_owned() + &files.replace("\"42\"", "\"a\\nb\""),
            "1 to 256 characters",
        ),
    ] {
        let mistakes = parse(&seal(&keys)).unwrap_err();
        assert!(mistakes.contains(told), "{told}:\n{mistakes}");
    }
}

const HOLDERS: &str = r#"
data = "data"

[seal]
type = "pkcs11"
module = "/lib/hsm.so"
token_label = "signet"
pin_file = "pin"
key_label = "seal"

[[key_holder]]
name = "hsm"
type = "pkcs11"
mounts = ["ssh/", "hosts"]
module = "/lib/hsm.so"
token_label = "signet"
pin_file = "pin"
create = true

[[key_holder]]
name = "kms"
type = "awskms"
mounts = ["ssh"]
region = "eu-west-1"
timeout = "3s"
"#;

#[test]
fn a_request_names_keys_only_where_the_configuration_says() {
    let config = parse(HOLDERS).unwrap();
    let [hsm, kms] = config.key_holders.as_slice() else {
        panic!("two: {:?}", config.key_holders)
    };
    let wish = |label: &str, id: &str, create| KeyWish {
        key_label: label.to_owned(),
        key_id: id.to_owned(),
        create,
        is_typed: false,
    };
    let ask = |holder: &KeyHolder, mount: &str, wish| holder.key(mount, wish, CaKeyType::EcdsaP256, &config.seal);
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    for (label, create) in [("ca 2027", None), ("ca 2027", Some(true)), ("ca 2027", Some(false))] {
        let Ok(CaKeyConfig::Pkcs11 { key, key_type }) = ask(hsm, "hosts", wish(label, "", create)) else {
            panic!("{label}")
        };
        assert_eq!((key.key_label.as_str(), key_type), (label, CaKeyType::EcdsaP256));
        assert_eq!(key.create, create.unwrap_or(true));
        assert_eq!(key.token.module, Path::new("/lib/hsm.so"));
    }
    for id in [arn, "alias/next", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        let Ok(CaKeyConfig::AwsKms(key)) = ask(kms, "ssh", wish("", id, None)) else {
            panic!("{id}")
        };
        assert_eq!((key.key.key_id.as_str(), key.timeout.as_secs()), (id, 3));
    }
    for (holder, mount, wish, says) in [
        (kms, "hosts", wish("", arn, None), "not for this mount"),
        (hsm, "ssh/team", wish("ca", "", None), "not for this mount"),
        (hsm, "ssh", wish("", "", None), "named by `key_label`"),
        (hsm, "ssh", wish("ca", arn, None), "named by `key_label`"),
        (hsm, "ssh", wish("seal", "", None), "the seal's key"),
        (kms, "ssh", wish("ca", "", None), "named by `key_id`"),
        (
            kms,
            "ssh",
            KeyWish {
                is_typed: true,
                ..wish("", arn, None)
            },
            "named by `key_id`",
        ),
        (kms, "ssh", wish("", arn, Some(true)), "makes no keys"),
        (kms, "ssh", wish("", "http://evil.example.com/", None), "no key's id"),
        (
            kms,
            "ssh",
            wish("", &arn.replace("eu-west-1", "us-east-1"), None),
            "no key's id",
        ),
    ] {
        let error = ask(holder, mount, wish).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn mistakes_in_key_holders_are_named() {
    for (from, to, says) in [
        ("name = \"kms\"", "name = \"hsm\"", "two key holders are called `hsm`"),
        ("name = \"kms\"", "name = \"k/m\"", "cannot be a key holder's name"),
        ("mounts = [\"ssh\"]\n", "", "which mounts may have keys there"),
        ("create = true", "create = true\npin = \"1\"", "a PIN does not belong"),
        ("create = true", "create = true\nkey_label = \"x\"", "key_label"),
        (
            "region = \"eu-west-1\"",
            "region = \"eu-west-1\"\nkey_id = \"x\"",
            "key_id",
        ),
        ("type = \"awskms\"", "type = \"vault\"", "type"),
    ] {
        let text = HOLDERS.replacen(from, to, 1);
        assert_ne!(text, HOLDERS, "{from}");
        let mistakes = parse(&text).unwrap_err();
        assert!(mistakes.contains(says), "{to}: {mistakes}");
    }
}
