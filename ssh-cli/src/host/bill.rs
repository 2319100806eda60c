//! The bill of trust: what a baked host believes, as JSON beside the image, so that an image can be read without starting it.

use serde_json::{Value, json};
use signet_core::krl::Krl;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use ssh_key::HashAlg;

use super::bake::Baked;
use super::config_text;
use super::configure::SOME_ADDRESS;
use super::files;
use super::findings::examine;
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::proof::who_matters;
use super::sshd::{Sshd, SshdError};
use super::{accounts, authorized_keys};

/// What of sshd's effective options says who gets in.
const KEYWORDS: [&str; 20] = [
    "allowgroups",
    "allowusers",
    "authenticationmethods",
    "authorizedkeyscommand",
    "authorizedkeysfile",
    "authorizedprincipalscommand",
    "authorizedprincipalsfile",
    "casignaturealgorithms",
    "denygroups",
    "denyusers",
    "hostcertificate",
    "kbdinteractiveauthentication",
    "loglevel",
    "passwordauthentication",
    "permitrootlogin",
    "pubkeyauthentication",
    "revokedkeys",
    "strictmodes",
    "trustedusercakeys",
    "usepam",
];

/// Writes the bill of a host that was just baked.
///
/// # Errors
/// [`SshdError`]
pub fn bill(layout: &Layout, baked: &Baked, now: UnixTime) -> Result<Value, SshdError> {
    let sshd = Sshd::find(layout, &baked.sshd_options)?;
    let mut effective = serde_json::Map::new();
    for user in who_matters() {
        let answer = sshd.effective(user, SOME_ADDRESS)?;
        let options: serde_json::Map<String, Value> = KEYWORDS
            .iter()
            .filter(|keyword| !answer.all(keyword).is_empty())
            .map(|keyword| ((*keyword).to_owned(), json!(answer.all(keyword).join(" "))))
            .collect();
        effective.insert(user.to_owned(), Value::Object(options));
    }
    let examination = examine(layout, now);
    let trusts = &examination.trusts;
    Ok(json!({
        "bill_of_trust": 1,
        "made": now.to_string(),
        "signet_version": env!("CARGO_PKG_VERSION"),
        "authority": { "address": trusts.address, "tags": trusts.tags, "bundle_version": trusts.bundle_version,
            "bundle_valid_until": trusts.bundle_valid_until, "bundle_keys": keys(&layout.bundle_keys()) },
        "user_ca_keys": keys(&layout.user_ca_keys()),
        "host_ca_keys": keys(&layout.host_ca_keys()),
        "krl": krl(layout),
        "accounts": trusts.accounts,
        "breakglass": breakglass(layout),
        "sshd": { "version": baked.sshd_version.text, "unit_options": baked.sshd_options, "effective": effective },
        "proof": baked.proof,
        "findings": examination.findings,
        "files": hashes(layout),
    }))
}

fn keys(path: &std::path::Path) -> Vec<Value> {
    let text = files::read_text(path).ok().flatten().unwrap_or_default();
    let keys = text.lines().filter_map(|line| SubjectKey::parse(line).ok());
    keys.map(|key| json!({ "type": key.kind().ssh_name(), "fingerprint": key.fingerprint() }))
        .collect()
}

fn krl(layout: &Layout) -> Value {
    let bytes = files::read(&layout.krl()).ok().flatten().unwrap_or_default();
    match Krl::parse(&bytes) {
        Ok(krl) => json!({ "version": krl.version, "bytes": bytes.len(), "sha256": sha256(&bytes) }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn breakglass(layout: &Layout) -> Value {
    let text = files::read_text(&layout.breakglass_keys())
        .ok()
        .flatten()
        .unwrap_or_default();
    let keys: Vec<Value> = authorized_keys::lines(&text)
        .flatten()
        .map(|line| {
            json!({
                "type": line.key.kind().ssh_name(),
                "fingerprint": line.key.fingerprint(),
                "options": line.options.iter().map(|(name, value)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name.clone(),
                }).collect::<Vec<_>>(),
                "comment": line.comment,
            })
        })
        .collect();
    let account = accounts::find(layout, BREAKGLASS_ACCOUNT);
    json!({
        "account": account.as_ref().map(|account| &account.name),
        "groups": account.as_ref().map(|account| &account.groups),
        "keys": keys,
    })
}

/// Every file of ours with its hash, as paths inside the root.
fn hashes(layout: &Layout) -> Vec<Value> {
    let inside = Layout::default();
    let mut paths = vec![
        inside.user_ca_keys(),
        inside.krl(),
        inside.breakglass_keys(),
        inside.breakglass_krl(),
        inside.host_ca_keys(),
        inside.bundle(),
        inside.bundle_keys(),
        inside.settings(),
        inside.sshd_config(),
        inside.drop_in(),
    ];
    for path in config_text::glob(&layout.principals(), "*") {
        paths.push(inside.principals().join(path.file_name().unwrap_or_default()));
    }
    let described = paths.iter().filter_map(|path| {
        let outside = config_text::outside(layout, path);
        let bytes = files::read(&outside).ok().flatten()?;
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&outside).ok()?) & 0o7777;
        Some(json!({
            "path": path, "bytes": bytes.len(), "mode": format!("{mode:04o}"), "sha256": sha256(&bytes),
        }))
    });
    described.collect()
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&HashAlg::Sha256.digest(bytes))
}
