//! The person's own ssh-agent (`$SSH_AUTH_SOCK`), asked for a signature to log in with
//! (draft-ietf-sshm-ssh-agent, "Protocol Messages"). Nothing is ever added to it.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::agent::protocol::{
    FAILURE, IDENTITIES_ANSWER, REQUEST_IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE, take_string,
};
use crate::frame;

/// `SSH_AGENT_RSA_SHA2_512`: without it an RSA key signs with SHA-1.
const RSA_SHA2_512: u32 = 4;
/// A touch on a security key takes a while; a dead agent must not take for ever.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The ssh-agent is of no use.
#[derive(Debug, thiserror::Error)]
pub enum UserAgentError {
    /// No socket, or nobody behind it.
    #[error("the ssh-agent at `{path}` cannot be reached")]
    Unreachable {
        /// The socket.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its answer makes no sense.
    #[error("the ssh-agent's answer cannot be read")]
    Unreadable,
    /// It does not sign (a confirmation refused, no touch, a locked agent).
    #[error("the ssh-agent refused to sign")]
    Refused,
}

/// A key that the agent can sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKey {
    /// SSH wire form.
    pub blob: Vec<u8>,
    /// As the agent names it.
    pub comment: String,
}

impl AgentKey {
    /// The wire type.
    #[must_use]
    pub fn key_type(&self) -> &str {
        take_string(&self.blob)
            .and_then(|(name, _)| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }
}

/// A connection to the agent.
#[derive(Debug)]
pub struct UserAgent(UnixStream);

impl UserAgent {
    /// Connects.
    ///
    /// # Errors
    /// [`UserAgentError::Unreachable`].
    pub fn connect(path: &str) -> Result<Self, UserAgentError> {
        let connect = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            Ok(Self(stream))
        };
        connect().map_err(|source| UserAgentError::Unreachable {
            path: path.to_owned(),
            source,
        })
    }

    /// The keys, without certificates, in the order to try them: those that need no touch first.
    ///
    /// # Errors
    /// [`UserAgentError`].
    pub fn keys(&mut self) -> Result<Vec<AgentKey>, UserAgentError> {
        let answer = self.exchange(&[REQUEST_IDENTITIES])?;
        let mut keys = parse_identities(&answer).ok_or(UserAgentError::Unreadable)?;
        keys.retain(|key| !key.key_type().contains("-cert-") && key.key_type() != "ssh-dss");
        keys.sort_by_key(|key| key.key_type().starts_with("sk-"));
        Ok(keys)
    }

    /// A signature blob over `data`.
    ///
    /// # Errors
    /// [`UserAgentError`].
    pub fn sign(&mut self, key: &AgentKey, data: &[u8]) -> Result<Vec<u8>, UserAgentError> {
        let flags = if key.key_type() == "ssh-rsa" { RSA_SHA2_512 } else { 0 };
        let mut request = vec![SIGN_REQUEST];
        for part in [key.blob.as_slice(), data] {
            request.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            request.extend(part);
        }
        request.extend(flags.to_be_bytes());
        let answer = self.exchange(&request)?;
        match answer.split_first() {
            Some((&SIGN_RESPONSE, body)) => take_string(body)
                .map(|(blob, _)| blob.to_vec())
                .ok_or(UserAgentError::Unreadable),
            Some((&FAILURE, _)) => Err(UserAgentError::Refused),
            _ => Err(UserAgentError::Unreadable),
        }
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, UserAgentError> {
        frame::write(&mut self.0, request).map_err(|_| UserAgentError::Unreadable)?;
        let answer = frame::read(&mut self.0).map_err(|_| UserAgentError::Unreadable)?;
        answer.map(|answer| answer.to_vec()).ok_or(UserAgentError::Unreadable)
    }
}

fn parse_identities(answer: &[u8]) -> Option<Vec<AgentKey>> {
    let (&IDENTITIES_ANSWER, body) = answer.split_first()? else {
        return None;
    };
    let (count, mut rest) = body.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (blob, after) = take_string(rest)?;
        let (comment, after) = take_string(after)?;
        keys.push(AgentKey {
            blob: blob.to_vec(),
            comment: String::from_utf8_lossy(comment).into_owned(),
        });
        rest = after;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_hostile_agent_can_only_make_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            drop(parse_identities(&bytes));
            drop(parse_identities(&[&[IDENTITIES_ANSWER], bytes.as_slice()].concat()));
        }
    }
}
