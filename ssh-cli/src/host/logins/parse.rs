//! One line of sshd: `Accepted publickey for U from A port P ssh2: ED25519-CERT SHA256:… ID <key ID> (serial N) CA ED25519
//! SHA256:…`.
//!
//! The key ID is free text of whoever signed the certificate, perhaps of a thief with the CA key. So what stands in front of
//! it is read from the left and what stands behind it from the right, and nothing is searched for in between.

use std::net::IpAddr;

use signet_core::enrollment::AcceptedLogin;

use crate::host::layout::BREAKGLASS_ACCOUNT;

const PREFIX: &str = "Accepted publickey for ";

/// The login that a message of sshd tells of, `None` for any other message.
///
/// # Security
/// syslog cuts long messages: behind a key ID of a kilobyte no serial is left. Such a login is told all the same, with an
/// empty serial and what is left of the key ID; who drops it has given thieves a way past the log.
#[must_use]
pub fn accepted(message: &str, time: u64) -> Option<AcceptedLogin> {
    let (account, address, method) = origin(message.strip_prefix(PREFIX)?)?;
    let mut words = method.splitn(3, ' ');
    let (key_type, fingerprint) = (words.next()?, words.next()?);
    if !is_word(key_type) || !fingerprint.starts_with("SHA256:") {
        return None;
    }
    let mut login = AcceptedLogin {
        time,
        account: account.to_owned(),
        address: address.to_owned(),
        key_type: key_type.to_owned(),
        fingerprint: fingerprint.to_owned(),
        breakglass: account == BREAKGLASS_ACCOUNT,
        ..AcceptedLogin::default()
    };
    if key_type.ends_with("-CERT") {
        let rest = words.next().unwrap_or_default();
        let rest = rest.strip_prefix("ID ").unwrap_or(rest);
        if let Some((key_id, serial, ca)) = certificate(rest) {
            login.serial = serial.to_string();
            ca.clone_into(&mut login.ca_fingerprint);
            key_id.clone_into(&mut login.key_id);
        } else {
            rest.clone_into(&mut login.key_id);
        }
    }
    Some(login)
}

/// `U from A port P ssh2: rest`, by the first place at which all of it fits: an account's name stands in the system's own
/// list of accounts, a key ID only behind it.
fn origin(text: &str) -> Option<(&str, &str, &str)> {
    for (at, separator) in text.match_indices(" from ") {
        let (account, rest) = text.split_at_checked(at)?;
        let rest = rest.strip_prefix(separator)?;
        let mut words = rest.splitn(5, ' ');
        let found = (words.next(), words.next(), words.next(), words.next(), words.next());
        let (Some(address), Some("port"), Some(port), Some("ssh2:"), Some(method)) = found else {
            continue;
        };
        if !account.is_empty() && port.parse::<u16>().is_ok() && is_address(address) {
            return Some((account, address, method));
        }
    }
    None
}

/// `<key ID> (serial N) CA <type> <fingerprint>` from its right end.
fn certificate(text: &str) -> Option<(&str, u64, &str)> {
    let (rest, ca) = text.rsplit_once(' ')?;
    let (rest, ca_type) = rest.rsplit_once(' ')?;
    let rest = rest.strip_suffix(") CA")?;
    // An empty key ID leaves `ID  (serial 1)`, two blanks.
    let (key_id, serial) = rest.rsplit_once(" (serial ")?;
    let digits = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit());
    let good = digits && is_word(ca_type) && is_fingerprint(ca);
    good.then_some(())?;
    Some((key_id, serial.parse().ok()?, ca))
}

/// SHA-256 in base64 without padding has 43 characters; a shorter one was cut off.
fn is_fingerprint(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.strip_prefix("SHA256:")
        .is_some_and(|hash| hash.len() == 43 && hash.bytes().all(plain))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `UNKNOWN` is what sshd logs when the peer has no address (`ssh -W`, a socket pair, `sshd -i`); link-local addresses carry
/// their interface.
fn is_address(text: &str) -> bool {
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    bare.parse::<IpAddr>().is_ok() || text == "UNKNOWN"
}
