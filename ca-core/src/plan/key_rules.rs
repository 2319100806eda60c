//! Which subject keys a role takes.

use crate::denial::Denial;
use crate::role::Role;
use crate::subject_key::KeyKind;

/// The keys that `allowed_user_key_lengths` may have.
pub const KEY_LENGTH_KINDS: &[&str] = &[
    "rsa",
    "ssh-rsa",
    "ec",
    "ecdsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ed25519",
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Checks the kind and the size of a key against the role.
pub(super) fn check(role: &Role, kind: KeyKind) -> Result<(), Denial> {
    if role.security_key_required && !kind.is_security_key() {
        return Err(Denial::SecurityKeyRequired {
            role: role.name().to_owned(),
            kind: kind.ssh_name().to_owned(),
        });
    }
    if role.key_lengths.is_empty() {
        check_minimum(role, kind)
    } else {
        check_listed(role, kind)
    }
}

fn check_minimum(role: &Role, kind: KeyKind) -> Result<(), Denial> {
    match kind {
        KeyKind::Rsa { bits } if bits < role.rsa_bits_min => {
            Err(size_denied(role, kind, bits, vec![role.rsa_bits_min, 4096]))
        }
        _ => Ok(()),
    }
}

/// An exact list, as on Vault. For RSA and for the general words `ec` and `ecdsa` the length counts; a named curve, an
/// Ed25519 key or a security key has one length only, so its list just must not be empty.
fn check_listed(role: &Role, kind: KeyKind) -> Result<(), Denial> {
    let general: &[&str] = match kind {
        KeyKind::Rsa { .. } => &["rsa", "ssh-rsa"],
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => &["ec", "ecdsa"],
        KeyKind::Ed25519 | KeyKind::SkEd25519 | KeyKind::SkEcdsaP256 => &[],
    };
    let named: &[&str] = match kind {
        KeyKind::Rsa { .. } => &[],
        KeyKind::Ed25519 => &["ed25519", "ssh-ed25519"],
        _ => &[kind.ssh_name()],
    };
    let lists = |words: &[&str]| -> Vec<Vec<u32>> {
        words
            .iter()
            .filter_map(|word| role.key_lengths.get(*word))
            .cloned()
            .collect()
    };
    let (general, named) = (lists(general), lists(named));
    if general.is_empty() && named.is_empty() {
        return Err(Denial::KeyTypeNotAllowed {
            role: role.name().to_owned(),
            kind: kind.family().to_owned(),
            allowed: role.key_lengths.keys().cloned().collect(),
        });
    }
    if named.iter().any(|list| !list.is_empty()) || general.iter().any(|list| list.contains(&kind.bits())) {
        return Ok(());
    }
    let shown_bits = if general.is_empty() { 0 } else { kind.bits() };
    Err(size_denied(
        role,
        kind,
        shown_bits,
        general.into_iter().flatten().collect(),
    ))
}

fn size_denied(role: &Role, kind: KeyKind, bits: u32, allowed: Vec<u32>) -> Denial {
    Denial::KeySizeNotAllowed {
        role: role.name().to_owned(),
        kind: kind.family().to_owned(),
        bits,
        allowed,
    }
}
