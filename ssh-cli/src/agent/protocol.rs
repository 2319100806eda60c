//! The ssh-agent protocol (draft-ietf-sshm-ssh-agent), as much of it as ssh needs to log in: list, sign, session-bind.
//! Everything else is answered with FAILURE. Pure: bytes in, bytes out.

use std::sync::Arc;

use super::identity::Identity;

pub(crate) const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
pub(crate) const REQUEST_IDENTITIES: u8 = 11;
pub(crate) const IDENTITIES_ANSWER: u8 = 12;
pub(crate) const SIGN_REQUEST: u8 = 13;
pub(crate) const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;

/// What one connection has told about itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The connection was bound for agent forwarding: whoever is at its end is not on this machine.
    forwarded: bool,
}

/// Answers one request. The first identity is the current one; the others are still valid for an ssh that listed them
/// before a renewal.
///
/// # Security
/// A forwarded connection gets no signature: a certificate is for the login that asked for it, not for what runs on the
/// host behind it (the lesson of CVE-2023-38408).
#[must_use]
pub fn answer(request: &[u8], identities: &[Arc<Identity>], session: &mut Session) -> Vec<u8> {
    let Some((kind, body)) = request.split_first() else {
        return vec![FAILURE];
    };
    let answer = match *kind {
        REQUEST_IDENTITIES if session.forwarded => Some([&[IDENTITIES_ANSWER][..], &0_u32.to_be_bytes()].concat()),
        REQUEST_IDENTITIES => Some(list(identities)),
        SIGN_REQUEST if session.forwarded => None,
        SIGN_REQUEST => sign(body, identities),
        EXTENSION => bind(body, session),
        _ => None,
    };
    answer.unwrap_or_else(|| vec![FAILURE])
}

fn list(identities: &[Arc<Identity>]) -> Vec<u8> {
    let current = identities.first();
    let mut answer = vec![IDENTITIES_ANSWER];
    answer.extend(u32::from(current.is_some()).to_be_bytes());
    if let Some(identity) = current {
        push_string(&mut answer, identity.blob());
        push_string(&mut answer, signet_core::inspect::escape(identity.key_id()).as_bytes());
    }
    answer
}

fn sign(body: &[u8], identities: &[Arc<Identity>]) -> Option<Vec<u8>> {
    let (blob, rest) = take_string(body)?;
    let (data, flags) = take_string(rest)?;
    // The flags choose among RSA hashes; an Ed25519 key has none to choose.
    if flags.len() != 4 {
        return None;
    }
    let identity = identities.iter().find(|identity| identity.blob() == blob)?;
    let mut signature = Vec::with_capacity(83);
    push_string(&mut signature, b"ssh-ed25519");
    push_string(&mut signature, &identity.sign(data));
    let mut answer = vec![SIGN_RESPONSE];
    push_string(&mut answer, &signature);
    Some(answer)
}

/// `session-bind@openssh.com` (PROTOCOL.agent, "session-bind"): host key, session identifier, signature, is-forwarding.
fn bind(body: &[u8], session: &mut Session) -> Option<Vec<u8>> {
    let (name, rest) = take_string(body)?;
    if name != b"session-bind@openssh.com" {
        return None;
    }
    let (_host_key, rest) = take_string(rest)?;
    let (_session_id, rest) = take_string(rest)?;
    let (_signature, rest) = take_string(rest)?;
    let [forwarding] = rest else { return None };
    session.forwarded |= *forwarding != 0;
    Some(vec![SUCCESS])
}

/// Appends a string of the protocol: its length in four bytes, then itself (RFC 4251, "Data Type Representations").
pub(crate) fn push_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend(bytes);
}

/// Takes a string off the front.
pub(crate) fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests;
