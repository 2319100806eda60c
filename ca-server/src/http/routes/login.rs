//! Logins: a finished proof becomes a token and a record, or a refusal that reads the same for every reason, which only the
//! ledger names.

use std::error::Error;

use serde_json::json;
use signet_core::caller::AuthMethod;
use signet_core::subject_key::SubjectKey;

use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::{Event, EventKind};
use crate::login::Login;
use crate::login::challenge::{NONCE_TTL_SECS, NonceError};
use crate::login::jwt::JwtRefusal;
use crate::login::ssh_key::{self, SshKeyLogin, SshKeyRefusal, SshKeyRequest};
use crate::random;
use crate::tokens::TokenSpec;

/// What the ledger keeps of a text that somebody without a token sent.
const TEXT_CHARS_MAX: usize = 300;

/// `POST auth/ssh-key/challenge`: a nonce to sign.
#[expect(clippy::unused_async, reason = "each open route is awaited alike")]
pub(crate) async fn ssh_key_challenge(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let method = ssh_key_method(ask)?;
    let mut random = [0; 16];
    random::fill(&mut random).map_err(|error| Problem::internal(&error))?;
    let nonce = method.challenge(random, ask.now);
    Ok(Reply::data(json!({"nonce": nonce, "expires_in": NONCE_TTL_SECS})))
}

/// `POST auth/ssh-key/login`: the nonce, signed.
pub(crate) async fn ssh_key_login(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let method = ssh_key_method(ask)?;
    let [nonce, address, public_key, signature] = required_texts(ask, ["nonce", "address", "public_key", "signature"])?;
    let request = SshKeyRequest {
        nonce: &nonce,
        address: &address,
        public_key: &public_key,
        signature: &signature,
    };
    // The policy set of this moment: a key that was taken out of people.toml is out.
    let policy = ask.authority.policy();
    match method.prove(request, &policy.people, ask.now) {
        Ok(login) => admit(ask, &login).await,
        Err(refusal) => {
            let fingerprint = SubjectKey::parse(&public_key).ok().map(|key| key.fingerprint());
            let event = failure(ask, AuthMethod::SshKey, ssh_key::MOUNT, &refusal)
                .optional("key_fingerprint", fingerprint.as_deref());
            let busy = matches!(refusal, SshKeyRefusal::Nonce(NonceError::Full));
            refuse(ask, AuthMethod::SshKey, event, busy).await
        }
    }
}

/// `POST auth/<mount>/login`: an issuer's token for a role.
pub(crate) async fn jwt_login(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mount = ask.capture;
    let no_method = || Problem::NoHandler {
        path: format!("auth/{mount}/login"),
        nearest: None,
    };
    let method = ask.authority.login.jwt(mount).ok_or_else(no_method)?;
    let [role, jwt] = required_texts(ask, ["role", "jwt"])?;
    match method.prove(&role, &jwt, ask.now).await {
        Ok(login) => admit(ask, &login).await,
        Err(refusal) => {
            let subject = match &refusal {
                JwtRefusal::Claims { subject, .. } => subject.as_deref().map(brief),
                _ => None,
            };
            let event = failure(ask, AuthMethod::Jwt, mount, &refusal)
                .text("role", &brief(&role))
                .text("issuer", method.issuer())
                .optional("subject", subject.as_deref());
            refuse(ask, AuthMethod::Jwt, event, matches!(refusal, JwtRefusal::Keys(_))).await
        }
    }
}

fn ssh_key_method<'a>(ask: &'a Ask<'_>) -> Result<&'a SshKeyLogin, Problem> {
    ask.authority
        .login
        .ssh_key()
        .ok_or(Problem::NotOffered("login with an SSH key"))
}

pub(super) fn required_texts<const N: usize>(ask: &Ask<'_>, names: [&'static str; N]) -> Result<[String; N], Problem> {
    let mut texts = names.map(|_| String::new());
    for (text, name) in texts.iter_mut().zip(names) {
        let given = ask.fields.string(name)?.filter(|given| !given.is_empty());
        *text = given.ok_or_else(|| Problem::refused("field-missing", format!("missing {name}")))?;
    }
    Ok(texts)
}

/// Makes the token, then the record, and only then answers.
///
/// SECURITY: CVE-2026-46405: an answer that is an error leaves no token behind. Until the answer is sent nobody knows the
/// token's text, so one that is revoked here was never held.
async fn admit(ask: &Ask<'_>, login: &Login) -> Result<Reply, Problem> {
    let tokens = &ask.authority.tokens;
    let (token, entry) = tokens.create(token_spec(login), ask.now).await?;
    let event = ask
        .authority
        .ledger
        .event(EventKind::Login)
        .text("person", login.person())
        .text("display_name", login.display_name())
        .text("method", login.method().as_str())
        .text("path", &entry.path)
        .list("groups", login.groups().iter().map(String::as_str))
        .list("token_policies", login.policies().iter().map(String::as_str))
        .map(
            "metadata",
            login
                .metadata()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
        .text("address", &ask.peer.to_string())
        .text("accessor", &entry.accessor)
        .number("ttl", entry.ttl)
        .text("request_id", ask.request_id);
    if let Err(error) = ask.authority.ledger.record(event).await {
        if let Err(error) = tokens.revoke(entry.hash).await {
            tracing::error!(%error, accessor = entry.accessor, "a token that nobody holds could not be deleted");
        }
        return Err(error.into());
    }
    ask.authority.metrics.login(login.method().as_str(), true);
    Ok(Reply::login(&token, &entry, ask.now))
}

fn token_spec(login: &Login) -> TokenSpec {
    TokenSpec {
        person: login.person().to_owned(),
        display_name: login.display_name().to_owned(),
        method: login.method(),
        groups: login.groups().clone(),
        policies: login.policies().clone(),
        metadata: login.metadata().clone(),
        ttl: login.ttl_secs(),
        max_ttl: login.max_ttl_secs(),
        renewable: login.max_ttl_secs() > login.ttl_secs(),
        path: format!("auth/{}/login", login.mount()),
        ..TokenSpec::default()
    }
}

/// Begins the record of a login that failed. It says why; the JWT and the signature stay out.
fn failure(ask: &Ask<'_>, method: AuthMethod, mount: &str, refusal: &dyn Error) -> Event {
    ask.authority
        .ledger
        .event(EventKind::LoginFailed)
        .text("method", method.as_str())
        .text("path", &format!("auth/{mount}/login"))
        .text("address", &ask.peer.to_string())
        .text("reason", &brief(&reasons(refusal)))
        .text("request_id", ask.request_id)
}

/// Records the failure and answers with the one text for all of them, or, when it is no fault of the caller, with a 503.
async fn refuse(ask: &Ask<'_>, method: AuthMethod, event: Event, busy: bool) -> Result<Reply, Problem> {
    ask.authority.metrics.login(method.as_str(), false);
    ask.authority.ledger.record(event).await?;
    if busy {
        return Err(Problem::unavailable(
            "login-unavailable",
            "the login cannot be checked at the moment",
        ));
    }
    // CVE-2025-6010 and kin: the same answer for an unknown key, a wrong signature and an old nonce.
    Err(Problem::forbidden("login-refused", "login refused")
        .with_hint("the reason is in the authority's ledger, under this request's id"))
}

/// An error and its causes.
pub(super) fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The beginning of a text, so that nobody without a token fills the ledger.
pub(super) fn brief(text: &str) -> String {
    let mut short: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
