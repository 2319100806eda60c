//! Errors as the wire has them: Vault's `{"errors": […]}` with our `code`, `hint` and `request_id` beside it. The only file
//! that knows a status code for an error; everything else returns a [`Problem`].

use std::error::Error;
use std::fmt::Write as _;

use http::StatusCode;
use signet_core::denial::{Denial, DenialStatus};
use signet_core::role::RoleError;
use signet_core::signer::SignError;
use signet_core::vault_value::FieldError;

use super::body::ReadBodyError;
use super::path::PathError;
use crate::authority::OpenError;
use crate::backup::archive::ArchiveError;
use crate::backup::restore::RestoreError;
use crate::bundle::BundleError;
use crate::custody::CustodyError;
use crate::custody::recipients::RecipientError;
use crate::keyring::KeyringError;
use crate::ledger::LedgerError;
use crate::mounts::{IssuerConflict, MountError};
use crate::node::{LifeError, Node};
use crate::random::RandomFailed;
use crate::revocations::{ResolveError, RevocationError, SelectorError};
use crate::seal::SealError;
use crate::seal::shamir::ShareError;
use crate::tokens::TokenError;

/// Why a request is not answered as wished.
#[derive(Debug)]
pub enum Problem {
    /// A role's rule or a policy says no.
    Denied(Denial),
    /// No token was sent.
    TokenMissing,
    /// The token is unknown, expired, revoked, or its owner is gone.
    TokenInvalid,
    /// The path has no mount.
    NoHandler {
        /// The path as asked.
        path: String,
        /// The mount that was probably meant.
        nearest: Option<String>,
    },
    /// The mount has no such path.
    UnsupportedPath,
    /// The path does not know this verb.
    UnsupportedVerb,
    /// `PATCH` without `application/merge-patch+json`, or a compressed body.
    UnsupportedMedia(&'static str),
    /// Read or list of nothing.
    NothingThere,
    /// The path has two readings.
    Path(PathError),
    /// The body is too large, too deep or not JSON.
    Body(ReadBodyError),
    /// A role document that cannot be taken.
    Role(RoleError),
    /// The address has asked too often.
    RateLimited {
        /// Seconds until the next request is taken.
        retry_after_secs: u64,
    },
    /// A part of Vault that this server does not have.
    NotOffered(&'static str),
    /// A request that an endpoint refuses (400).
    Refused {
        /// The stable code.
        code: &'static str,
        /// What clients match, Vault's text where it has one.
        text: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// A request that an endpoint forbids (403).
    Forbidden {
        /// The stable code.
        code: &'static str,
        /// The text.
        text: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The mount has no CA key, which Vault calls its own fault.
    NoCaKey {
        /// The mount's path.
        mount: String,
    },
    /// The record could not be made durable: nothing was issued or changed.
    LedgerDown(String),
    /// The server cannot do it at the moment (503).
    Unavailable {
        /// The stable code.
        code: &'static str,
        /// The text.
        text: String,
    },
    /// The seal is closed, so there is no authority to ask.
    Sealed {
        /// What it waits for.
        reason: String,
    },
    /// Nobody has initialised the server.
    NotInitialised {
        /// What to do.
        reason: String,
    },
    /// A fault of ours; the chain of causes goes to the log only.
    Internal(String),
}

/// A problem as it is written to the wire.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) texts: Vec<String>,
    /// Our own clause, where Vault's text is fixed or says less.
    pub(super) reason: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) retry_after_secs: Option<u64>,
}

impl Problem {
    /// A 400 with a stable code.
    #[must_use]
    pub fn refused(code: &'static str, text: impl Into<String>) -> Self {
        Self::Refused {
            code,
            text: text.into(),
            hint: None,
        }
    }

    /// A 403 with a stable code.
    #[must_use]
    pub fn forbidden(code: &'static str, text: impl Into<String>) -> Self {
        Self::Forbidden {
            code,
            text: text.into(),
            hint: None,
        }
    }

    /// A 503 with a stable code.
    #[must_use]
    pub fn unavailable(code: &'static str, text: impl Into<String>) -> Self {
        Self::Unavailable {
            code,
            text: text.into(),
        }
    }

    /// A 503 that says why there is no authority.
    #[must_use]
    pub fn sealed(node: &Node) -> Self {
        let summary = node.summary();
        let reason = summary
            .closed
            .map_or_else(|| "it is being opened".to_owned(), |closed| closed.reason());
        if summary.initialised {
            Self::Sealed { reason }
        } else {
            Self::NotInitialised { reason }
        }
    }

    /// A 500: the public text is fixed, `error` and its causes go to the log.
    #[must_use]
    pub fn internal(error: &dyn Error) -> Self {
        Self::Internal(chain(error))
    }

    /// Adds what to do next, where the kind has none of its own.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Refused { hint, .. } | Self::Forbidden { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// What only the log may hold.
    pub(super) fn private_cause(&self) -> Option<&str> {
        match self {
            Self::LedgerDown(cause) | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// The one table of status, code, text and hint.
    pub(super) fn parts(&self) -> Parts {
        let (status, code, text) = match self {
            Self::Denied(denial) => (denial_status(denial), denial.code(), denied_text(denial)),
            Self::TokenMissing => (StatusCode::FORBIDDEN, "token-missing", "permission denied".to_owned()),
            Self::TokenInvalid => (StatusCode::FORBIDDEN, "token-invalid", "permission denied".to_owned()),
            Self::NoHandler { path, .. } => (
                StatusCode::NOT_FOUND,
                "no-such-mount",
                format!("no handler for route \"{path}\". route entry not found."),
            ),
            Self::UnsupportedPath => (StatusCode::NOT_FOUND, "no-such-path", "unsupported path".to_owned()),
            Self::UnsupportedVerb => (
                StatusCode::METHOD_NOT_ALLOWED,
                "verb-not-supported",
                wrapped("unsupported operation"),
            ),
            Self::UnsupportedMedia(what) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type-not-supported",
                (*what).to_owned(),
            ),
            Self::NothingThere => (StatusCode::NOT_FOUND, "nothing-there", String::new()),
            Self::Path(error) => (StatusCode::BAD_REQUEST, "path-invalid", error.to_string()),
            Self::Body(error) => body_parts(error),
            Self::Role(error) => (role_status(error), "role-invalid", error.to_string()),
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "too many requests from this address".to_owned(),
            ),
            Self::NotOffered(what) => (
                StatusCode::BAD_REQUEST,
                "not-offered",
                format!("{what} is not available on this server yet"),
            ),
            Self::Refused { code, text, .. } => (StatusCode::BAD_REQUEST, *code, text.clone()),
            Self::Forbidden { code, text, .. } => (StatusCode::FORBIDDEN, *code, text.clone()),
            Self::NoCaKey { mount } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "ca-key-missing",
                wrapped(&format!(
                    "failed to read CA private key: mount `{mount}` has no keys configured"
                )),
            ),
            Self::LedgerDown(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger-unavailable",
                "the ledger cannot be written, so nothing was issued or changed".to_owned(),
            ),
            Self::Unavailable { code, text } => (StatusCode::SERVICE_UNAVAILABLE, *code, text.clone()),
            Self::Sealed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "sealed", "Vault is sealed".to_owned()),
            Self::NotInitialised { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not-initialized",
                "Vault is sealed".to_owned(),
            ),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", wrapped("internal error")),
        };
        let mut texts = if text.is_empty() { Vec::new() } else { vec![text] };
        if matches!(self, Self::TokenInvalid) {
            texts.push("invalid token".to_owned());
        }
        let retry_after_secs = match self {
            Self::RateLimited { retry_after_secs } => Some(*retry_after_secs),
            _ => None,
        };
        Parts {
            status,
            code,
            texts,
            reason: self.reason(),
            hint: self.hint(),
            retry_after_secs,
        }
    }

    /// A refusal keeps Vault's text for those who match it; who was refused what, and by which policy, stands here.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Denied(denial) => Some(denial.to_string()),
            Self::Sealed { reason } | Self::NotInitialised { reason } => Some(reason.clone()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied(denial) => denial.hint(),
            Self::TokenMissing => Some("log in, then send the token as X-Vault-Token".to_owned()),
            Self::TokenInvalid => Some("the token is unknown, expired or revoked: log in again".to_owned()),
            Self::NoHandler { nearest, .. } => nearest
                .as_ref()
                .map(|mount| format!("did you mean the mount `{mount}`?")),
            Self::Refused { hint, .. } | Self::Forbidden { hint, .. } => hint.clone(),
            Self::NoCaKey { mount } => Some(format!("make one: POST {mount}/config/ca {{\"key_type\":\"ed25519\"}}")),
            Self::LedgerDown(_) => Some("try again later; the operator sees the cause in the log".to_owned()),
            Self::Internal(_) => Some("the operator finds the cause in the log under the request id".to_owned()),
            Self::RateLimited { retry_after_secs } => Some(format!("try again in {retry_after_secs} s")),
            _ => None,
        }
    }
}

fn denied_text(denial: &Denial) -> String {
    match denial.status() {
        DenialStatus::BadRequest | DenialStatus::Forbidden => denial.vault_text(),
        DenialStatus::Misconfigured => wrapped(&denial.vault_text()),
    }
}

fn denial_status(denial: &Denial) -> StatusCode {
    match denial.status() {
        DenialStatus::BadRequest => StatusCode::BAD_REQUEST,
        DenialStatus::Forbidden => StatusCode::FORBIDDEN,
        DenialStatus::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn body_parts(error: &ReadBodyError) -> (StatusCode, &'static str, String) {
    let (status, code) = match error {
        ReadBodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
        ReadBodyError::TooDeep { .. } => (StatusCode::BAD_REQUEST, "json-too-deep"),
        ReadBodyError::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type-not-supported"),
        ReadBodyError::Broken => (StatusCode::BAD_REQUEST, "body-broken"),
        ReadBodyError::Json(_) => (StatusCode::BAD_REQUEST, "json-invalid"),
    };
    (status, code, error.to_string())
}

/// Vault answers 500 to one user mistake; clients that match it do so by the text, and the status is kept with it.
fn role_status(error: &RoleError) -> StatusCode {
    match error {
        RoleError::UnknownAlgorithmSigner(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Vault's list of one error.
fn wrapped(text: &str) -> String {
    format!("1 error occurred:\n\t* {text}\n\n")
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing into a String cannot fail.
        let _infallible = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::Denied(Denial::Field(error))
    }
}

impl From<RoleError> for Problem {
    fn from(error: RoleError) -> Self {
        Self::Role(error)
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self::LedgerDown(chain(&error))
    }
}

impl From<RandomFailed> for Problem {
    fn from(error: RandomFailed) -> Self {
        Self::internal(&error)
    }
}

impl From<SignError> for Problem {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Busy { .. } => Self::unavailable("signer-busy", error.to_string()),
            SignError::Unavailable { .. } => Self::unavailable("signer-unavailable", error.to_string()),
            SignError::Unusable { .. } => Self::refused("ca-key-unusable", error.to_string()),
            SignError::Failed
            | SignError::Algorithm { .. }
            | SignError::ReadBack(_)
            | SignError::TooLong(_)
            | SignError::BadSignature { .. } => Self::internal(&error),
        }
    }
}

impl From<MountError> for Problem {
    fn from(error: MountError) -> Self {
        match error {
            MountError::Path { .. } => Self::refused("mount-path-invalid", error.to_string()),
            MountError::InUse { .. } => Self::refused("mount-path-in-use", error.to_string()),
            MountError::Deleted { .. } => Self::refused("no-such-mount", error.to_string()),
            MountError::Issuer(IssuerConflict::Name) => Self::refused("issuer-invalid", error.to_string()),
            MountError::Issuer(IssuerConflict::Key(_) | IssuerConflict::Default) => {
                Self::refused("ca-key-exists", error.to_string())
            }
            MountError::Issuer(IssuerConflict::Changed | IssuerConflict::Successor) => {
                Self::refused("rotation-step", error.to_string())
            }
            MountError::Damaged { .. }
            | MountError::Key(_)
            | MountError::Barrier(_)
            | MountError::Store(_)
            | MountError::Random(_) => Self::internal(&error),
        }
    }
}

impl From<SelectorError> for Problem {
    fn from(error: SelectorError) -> Self {
        match error {
            SelectorError::Field(error) => error.into(),
            other => Self::refused("revocation-invalid", chain(&other)),
        }
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NoCaKey | ResolveError::OtherMount { .. } | ResolveError::UnknownIssuer(_) => {
                Self::refused("revocation-invalid", error.to_string())
            }
            ResolveError::Ledger(_) => Self::internal(&error),
        }
    }
}

impl From<RevocationError> for Problem {
    fn from(error: RevocationError) -> Self {
        Self::internal(&error)
    }
}

impl From<BundleError> for Problem {
    fn from(error: BundleError) -> Self {
        match error {
            // As `public_key` answers: there is nothing to trust yet.
            BundleError::NoCaKey => Self::NothingThere,
            other => Self::internal(&other),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown => Self::refused("token-unknown", "bad token"),
            TokenError::NotRenewable => Self::refused("token-not-renewable", "lease is not renewable"),
            TokenError::NoUsesLeft => Self::TokenInvalid,
            TokenError::TooDeep => Self::refused("token-too-deep", error.to_string()),
            TokenError::TooMany { .. } => Self::unavailable("too-many-tokens", error.to_string()),
            TokenError::Damaged { .. } | TokenError::Barrier(_) | TokenError::Store(_) | TokenError::Random(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<ShareError> for Problem {
    fn from(error: ShareError) -> Self {
        let text = error.to_string();
        match error {
            ShareError::Spec { .. } => Self::refused("share-numbers-invalid", text),
            ShareError::NotAShare | ShareError::Checksum | ShareError::TooFew => Self::refused("share-invalid", text),
            ShareError::OtherSet => Self::refused("share-of-another-set", text),
            ShareError::Duplicate { .. } => Self::refused("share-duplicate", text),
            ShareError::DoNotOpen => Self::refused("shares-do-not-open", text),
            ShareError::Random(error) => Self::internal(&error),
        }
    }
}

impl From<CustodyError> for Problem {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Share(error) => error.into(),
            CustodyError::AlreadyInitialised => Self::refused("already-initialized", error.to_string()),
            CustodyError::Uninitialised => Self::NotInitialised {
                reason: error.to_string(),
            },
            CustodyError::NoRecoveryKeys => Self::refused("no-recovery-keys", error.to_string()),
            CustodyError::NotForShamir => Self::refused("not-for-this-seal", error.to_string()),
            CustodyError::NothingPending => Self::refused("nothing-in-progress", error.to_string()),
            CustodyError::Seal(SealError::Unavailable { .. } | SealError::Refused { .. } | SealError::Setup { .. }) => {
                Self::unavailable("seal-unavailable", error.to_string())
            }
            CustodyError::SealLost
            | CustodyError::RowBroken
            | CustodyError::Seal(SealError::WrongKey { .. })
            | CustodyError::Keyring(KeyringError::WrongKey | KeyringError::Missing | KeyringError::NotThisRoot) => {
                tracing::error!(error = chain(&error), "the store does not fit its seal");
                Self::unavailable(
                    "store-damaged",
                    "the store does not fit its seal: a part of it was altered or rolled back; nothing was changed",
                )
            }
            CustodyError::OtherSeal { .. }
            | CustodyError::TakeOverFirst
            | CustodyError::Keyring(_)
            | CustodyError::Barrier(_)
            | CustodyError::Store(_)
            | CustodyError::Random(_) => Self::internal(&error),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::OtherSeal { .. } | ArchiveError::Custody(CustodyError::OtherSeal { .. }) => {
                Self::refused("not-for-this-seal", error.to_string())
            }
            ArchiveError::Custody(CustodyError::Seal(SealError::WrongKey { .. }) | CustodyError::RowBroken)
            | ArchiveError::NotABackup
            | ArchiveError::Newer { .. }
            | ArchiveError::Truncated
            | ArchiveError::Altered
            | ArchiveError::OtherNode { .. }
            | ArchiveError::DoesNotOpen => Self::refused("backup-invalid", error.to_string()),
            ArchiveError::Custody(error) => error.into(),
            ArchiveError::File(_) | ArchiveError::Keyring(_) | ArchiveError::Store(_) | ArchiveError::Random(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<RecipientError> for Problem {
    fn from(error: RecipientError) -> Self {
        match error {
            RecipientError::Count { .. } | RecipientError::Unreadable { .. } => {
                Self::refused("age-keys-invalid", error.to_string())
            }
            RecipientError::Encrypt => Self::internal(&error),
        }
    }
}

impl From<LifeError> for Problem {
    fn from(error: LifeError) -> Self {
        match error {
            LifeError::NotForThisSeal | LifeError::UnsealsItself { .. } => {
                Self::refused("not-for-this-seal", error.to_string())
            }
            LifeError::MigrationWaits => Self::refused("migration-waits", error.to_string()),
            LifeError::InProgress { .. } => Self::refused("already-in-progress", error.to_string()),
            LifeError::NoMigration | LifeError::NotInProgress { .. } => {
                Self::refused("nothing-in-progress", error.to_string())
            }
            LifeError::Nonce { .. } => Self::refused("nonce-wrong", error.to_string()),
            LifeError::Otp { .. } => Self::refused("otp-invalid", error.to_string()),
            LifeError::Open(OpenError::Sealed { reason }) => Self::Sealed { reason },
            LifeError::Custody(error) | LifeError::Open(OpenError::Custody(error)) => error.into(),
            LifeError::Open(error) => Self::internal(&error),
            LifeError::Archive(error) | LifeError::Restore(RestoreError::Archive(error)) => error.into(),
            LifeError::Restore(error @ RestoreError::Unsound { .. }) => {
                Self::refused("backup-invalid", error.to_string())
            }
            LifeError::Restore(error @ RestoreError::Clock { .. }) => {
                Self::refused("backup-invalid", error.to_string())
                    .with_hint("set the clock of the authority's machine; nothing was changed")
            }
            LifeError::Restore(error) => Self::internal(&error),
            LifeError::Share(error) => error.into(),
            LifeError::Recipients(error) => error.into(),
            LifeError::Ledger(error) => error.into(),
            LifeError::Token(error) => error.into(),
            LifeError::Random(error) => error.into(),
        }
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<ReadBodyError> for Problem {
    fn from(error: ReadBodyError) -> Self {
        Self::Body(error)
    }
}
