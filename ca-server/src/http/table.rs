//! Every route as data: verb, path, guard, endpoint, fields. The router matches against this table and the guard test walks
//! it, so that no endpoint exists which the table does not show.

use http::{HeaderMap, Method};
use signet_core::access::Verb;
use signet_core::request::SIGN_FIELDS;
use signet_core::role::{ROLE_FIELDS, is_role_name};

use super::problem::Problem;
use crate::node::Target;

/// What a request wants, Vault's way: `POST` and `PUT` are one, `LIST` is a verb and a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `GET`.
    Read,
    /// `LIST`, or `GET …?list=true`.
    List,
    /// `POST` or `PUT`.
    Write,
    /// `DELETE`.
    Delete,
    /// `HEAD`, for health checks.
    Head,
}

impl Op {
    /// Reads method and query.
    ///
    /// # Errors
    /// [`Problem::UnsupportedVerb`] for other methods; [`Problem::UnsupportedMedia`] as Vault for a `PATCH` without its
    /// content type.
    pub fn of(method: &Method, query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        match method.as_str() {
            "GET" if asks_for_list(query) => Ok(Self::List),
            "GET" => Ok(Self::Read),
            "LIST" => Ok(Self::List),
            "POST" | "PUT" => Ok(Self::Write),
            "DELETE" => Ok(Self::Delete),
            "HEAD" => Ok(Self::Head),
            "PATCH" => Err(match headers.get(http::header::CONTENT_TYPE) {
                Some(media) if media.as_bytes().starts_with(b"application/merge-patch+json") => {
                    Problem::UnsupportedVerb
                }
                _ => Problem::UnsupportedMedia("PATCH requires Content-Type of application/merge-patch+json"),
            }),
            _ => Err(Problem::UnsupportedVerb),
        }
    }

    /// The capability that a policy has to give.
    #[must_use]
    pub const fn verb(self) -> Verb {
        match self {
            Self::Read | Self::Head => Verb::Read,
            Self::List => Verb::List,
            Self::Write => Verb::Update,
            Self::Delete => Verb::Delete,
        }
    }

    /// A method that asks for it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Read => "GET",
            Self::List => "LIST",
            Self::Write => "POST",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }
}

fn asks_for_list(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .any(|(key, value)| key == "list" && (value == "true" || value == "1"))
    })
}

/// Who may call an endpoint; the kind decides what its handler is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Anybody, sealed or not, at a limited rate.
    Node(NodeEndpoint),
    /// Whoever a policy permits it, or who brings a share of the key; before there is a key, anybody.
    Keyholder(Keyholder),
    /// Anybody, at a limited rate.
    Open(Open),
    /// Whoever holds a valid token; what they may see or do is decided by their token alone or by the signing policies.
    Token(Token),
    /// Whoever an access policy permits this verb on this path.
    Policy(Policy),
}

/// Endpoints without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is a handler's name; the table below says what it serves"
)]
pub enum Open {
    PublicKey,
    IssuerPublicKey,
    SshKeyChallenge,
    SshKeyLogin,
    JwtLogin,
    Krl,
    KrlSignature,
    TrustBundle,
    BundleKey,
    HostChallenge,
    HostEnroll,
    HostRenew,
    HostReport,
    NotOffered(&'static str),
}

impl Open {
    /// Whether it is something cacheable that hosts fetch over and over.
    #[must_use]
    pub const fn is_fetch(self) -> bool {
        matches!(
            self,
            Self::PublicKey
                | Self::IssuerPublicKey
                | Self::Krl
                | Self::KrlSignature
                | Self::TrustBundle
                | Self::BundleKey
        )
    }
}

/// Endpoints about the seal, which are there while it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is a handler's name; the table below says what it serves"
)]
pub enum NodeEndpoint {
    Health,
    SealStatus,
    Leader,
    InitStatus,
    Init,
    Unseal,
}

/// Endpoints for the holders of key shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is a handler's name; the table below says what it serves"
)]
pub enum Keyholder {
    RekeyStatus(Target),
    RekeyStart(Target),
    RekeyCancel(Target),
    RekeyUpdate(Target),
    VerifyStatus(Target),
    VerifyUpdate(Target),
    VerifyReset(Target),
    RootStatus,
    RootStart,
    RootCancel,
    RootUpdate,
    Restore,
}

/// Endpoints for any valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is a handler's name; the table below says what it serves"
)]
pub enum Token {
    Sign,
    Issue,
    LookupSelf,
    RenewSelf,
    RevokeSelf,
    CapabilitiesSelf,
    Whoami,
    Roles,
    MountOfPath,
}

/// Endpoints that a policy guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is a handler's name; the table below says what it serves"
)]
pub enum Policy {
    Seal,
    Rotate,
    KeyStatus,
    MountList,
    MountRead,
    MountCreate,
    MountDelete,
    MountTuneRead,
    MountTune,
    RoleList,
    RoleRead,
    RoleWrite,
    RoleDelete,
    CaRead,
    CaWrite,
    CaDelete,
    IssuerList,
    IssuerImport,
    IssuerRead,
    IssuerRename,
    IssuerDelete,
    DefaultIssuerRead,
    DefaultIssuerWrite,
    RotationRead,
    RotationStep,
    TokenCreate,
    TokenCreateOrphan,
    TokenLookup,
    TokenRenew,
    TokenRevoke,
    TokenLookupAccessor,
    TokenRevokeAccessor,
    TokenAccessors,
    Metrics,
    Revoke,
    RevocationList,
    RevocationDelete,
    CertificateList,
    HostList,
    HostRead,
    HostForget,
    HostTokenCreate,
    Reconcile,
    Backup,
}

/// Where a pattern hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Directly under `/v1/`.
    Root,
    /// Under a mount's path.
    Mount,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// What is asked.
    pub op: Op,
    /// Where the pattern hangs.
    pub place: Place,
    /// Words, with at most one capture: `:name` (one segment) or `*path` (several).
    pub pattern: &'static str,
    /// Guard and handler.
    pub endpoint: Endpoint,
    /// Body fields it reads; others are reported in the answer's warnings.
    pub fields: &'static [&'static str],
}

impl Route {
    /// The capture's name, if the pattern has one.
    #[must_use]
    pub fn capture_name(&self) -> Option<&'static str> {
        let (_, capture) = self.pattern.split_once([':', '*'])?;
        capture.split('/').next()
    }

    /// What the pattern captures in `path` (`""` without a capture); `None` if it does not match.
    #[must_use]
    pub fn captures<'p>(&self, path: &'p str) -> Option<&'p str> {
        let Some((before, capture)) = self.pattern.split_once([':', '*']) else {
            return (path == self.pattern).then_some("");
        };
        let (name, after) = capture.split_once('/').unwrap_or((capture, ""));
        let mut captured = path.strip_prefix(before)?;
        if !after.is_empty() {
            captured = captured.strip_suffix(after)?.strip_suffix('/')?;
        }
        let deep = self.pattern.contains('*');
        let fits =
            !captured.is_empty() && (deep || !captured.contains('/')) && (name != "role" || is_role_name(captured));
        fits.then_some(captured)
    }
}

const fn root(op: Op, pattern: &'static str, endpoint: Endpoint, fields: &'static [&'static str]) -> Route {
    Route {
        op,
        place: Place::Root,
        pattern,
        endpoint,
        fields,
    }
}

const fn mount(op: Op, pattern: &'static str, endpoint: Endpoint, fields: &'static [&'static str]) -> Route {
    Route {
        op,
        place: Place::Mount,
        pattern,
        endpoint,
        fields,
    }
}

const fn open(endpoint: Open) -> Endpoint {
    Endpoint::Open(endpoint)
}
const fn token(endpoint: Token) -> Endpoint {
    Endpoint::Token(endpoint)
}
const fn policy(endpoint: Policy) -> Endpoint {
    Endpoint::Policy(endpoint)
}
const fn node(endpoint: NodeEndpoint) -> Endpoint {
    Endpoint::Node(endpoint)
}
const fn keyholder(endpoint: Keyholder) -> Endpoint {
    Endpoint::Keyholder(endpoint)
}
const fn not_offered(what: &'static str) -> Endpoint {
    Endpoint::Open(Open::NotOffered(what))
}

const TOKEN_CREATE_FIELDS: &[&str] = &[
    "id",
    "display_name",
    "ttl",
    "lease",
    "explicit_max_ttl",
    "renewable",
    "policies",
    "meta",
    "num_uses",
    "period",
    "no_parent",
    "no_default_policy",
    "type",
    "entity_alias",
];
const REVOKE_FIELDS: &[&str] = &[
    "serial",
    "key_id",
    "public_key",
    "fingerprint",
    "person",
    "role",
    "issuer",
    "issued_since",
    "issued_until",
    "reason",
    "dry_run",
];
const ENROLL_FIELDS: &[&str] = &[
    "method",
    "evidence",
    "role",
    "mount",
    "address",
    "nonce",
    "public_key",
    "signature",
];
const RENEW_FIELDS: &[&str] = &["host", "address", "nonce", "public_key", "signature"];
const REPORT_FIELDS: &[&str] = &["host", "address", "report", "signature"];
const HOST_TOKEN_FIELDS: &[&str] = &["host", "tags", "ttl"];
const MOUNT_FIELDS: &[&str] = &[
    "type",
    "description",
    "config",
    "options",
    "local",
    "seal_wrap",
    "external_entropy_access",
    "plugin_name",
];
const TUNE_FIELDS: &[&str] = &[
    "default_lease_ttl",
    "max_lease_ttl",
    "description",
    "options",
    "listing_visibility",
];
const CA_FIELDS: &[&str] = &[
    "private_key",
    "private_key_passphrase",
    "public_key",
    "key_holder",
    "key_label",
    "key_id",
    "generate_signing_key",
    "key_type",
    "key_bits",
];
const IMPORT_FIELDS: &[&str] = &[
    "private_key",
    "private_key_passphrase",
    "public_key",
    "key_holder",
    "key_label",
    "key_id",
    "generate_signing_key",
    "key_type",
    "key_bits",
    "set_default",
    "force",
];
const ROTATE_FIELDS: &[&str] = &[
    "step",
    "issuer",
    "force",
    "issuer_name",
    "private_key",
    "private_key_passphrase",
    "public_key",
    "key_holder",
    "key_label",
    "key_id",
    "generate_signing_key",
    "key_type",
    "key_bits",
];
const ISSUE_FIELDS: &[&str] = &[
    "key_type",
    "key_bits",
    "ttl",
    "valid_principals",
    "cert_type",
    "key_id",
    "critical_options",
    "extensions",
];
const ANY: &[&str] = &[];

const INIT_FIELDS: &[&str] = &[
    "secret_shares",
    "secret_threshold",
    "stored_shares",
    "recovery_shares",
    "recovery_threshold",
    "age_keys",
    "recovery_age_keys",
    "root_token_age_key",
    "pgp_keys",
    "recovery_pgp_keys",
    "root_token_pgp_key",
];
const REKEY_FIELDS: &[&str] = &[
    "secret_shares",
    "secret_threshold",
    "stored_shares",
    "require_verification",
    "age_keys",
    "pgp_keys",
    "backup",
    "key",
];
const SHARE_FIELDS: &[&str] = &["key", "nonce"];

const OTP: &str = "the one-time-password mode (creds, lookup, verify, zeroaddress)";

/// Every route. Within a mount the first match counts; `sign` stands first as it is asked most.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    mount(Op::Write,  "sign/:role",              token(Token::Sign),               SIGN_FIELDS),
    mount(Op::Write,  "issue/:role",             token(Token::Issue),              ISSUE_FIELDS),
    mount(Op::List,   "roles",                   policy(Policy::RoleList),         ANY),
    mount(Op::Read,   "roles/:role",             policy(Policy::RoleRead),         ANY),
    mount(Op::Write,  "roles/:role",             policy(Policy::RoleWrite),        ROLE_FIELDS),
    mount(Op::Delete, "roles/:role",             policy(Policy::RoleDelete),       ANY),
    mount(Op::Read,   "config/ca",               policy(Policy::CaRead),           ANY),
    mount(Op::Write,  "config/ca",               policy(Policy::CaWrite),          CA_FIELDS),
    mount(Op::Delete, "config/ca",               policy(Policy::CaDelete),         ANY),
    mount(Op::Read,   "public_key",              open(Open::PublicKey),            ANY),
    mount(Op::Read,   "krl",                     open(Open::Krl),                  ANY),
    mount(Op::Head,   "krl",                     open(Open::Krl),                  ANY),
    mount(Op::Read,   "krl/signature",           open(Open::KrlSignature),         ANY),
    mount(Op::Read,   "trust-bundle",            open(Open::TrustBundle),          ANY),
    mount(Op::Head,   "trust-bundle",            open(Open::TrustBundle),          ANY),
    mount(Op::Read,   "trust-bundle/public_key", open(Open::BundleKey),            ANY),
    mount(Op::Write,  "revoke",                  policy(Policy::Revoke),           REVOKE_FIELDS),
    mount(Op::List,   "revocations",             policy(Policy::RevocationList),   ANY),
    mount(Op::Delete, "revocations/:id",         policy(Policy::RevocationDelete), ANY),
    mount(Op::Read,   "certificates",            policy(Policy::CertificateList),  ANY),
    mount(Op::Write,  "creds/:role",             not_offered(OTP),                 ANY),
    mount(Op::Write,  "lookup",                  not_offered(OTP),                 ANY),
    mount(Op::Write,  "verify",                  not_offered(OTP),                 ANY),
    mount(Op::Read,   "config/zeroaddress",      not_offered(OTP),                 ANY),
    mount(Op::Write,  "config/zeroaddress",      not_offered(OTP),                 ANY),
    mount(Op::Delete, "config/zeroaddress",      not_offered(OTP),                 ANY),
    mount(Op::Delete, "tidy/dynamic-keys",       not_offered("the dynamic key mode"), ANY),
    mount(Op::List,   "issuers",                 policy(Policy::IssuerList),       &["after", "limit"]),
    mount(Op::Write,  "issuers/import",          policy(Policy::IssuerImport),     IMPORT_FIELDS),
    mount(Op::Write,  "issuers/import/:name",    policy(Policy::IssuerImport),     IMPORT_FIELDS),
    mount(Op::Read,   "issuer/:ref/public_key",  open(Open::IssuerPublicKey),      ANY),
    mount(Op::Read,   "issuer/:ref",             policy(Policy::IssuerRead),       ANY),
    mount(Op::Write,  "issuer/:ref",             policy(Policy::IssuerRename),     &["issuer_name"]),
    mount(Op::Delete, "issuer/:ref",             policy(Policy::IssuerDelete),     &["force"]),
    mount(Op::Read,   "config/issuers",          policy(Policy::DefaultIssuerRead), ANY),
    mount(Op::Write,  "config/issuers",          policy(Policy::DefaultIssuerWrite), &["default", "force"]),
    mount(Op::Read,   "rotate",                  policy(Policy::RotationRead),     ANY),
    mount(Op::Write,  "rotate",                  policy(Policy::RotationStep),     ROTATE_FIELDS),

    root(Op::Read,    "sys/health",              node(NodeEndpoint::Health),       ANY),
    root(Op::Head,    "sys/health",              node(NodeEndpoint::Health),       ANY),
    root(Op::Read,    "sys/seal-status",         node(NodeEndpoint::SealStatus),   ANY),
    root(Op::Read,    "sys/leader",              node(NodeEndpoint::Leader),       ANY),
    root(Op::Read,    "sys/init",                node(NodeEndpoint::InitStatus),   ANY),
    root(Op::Write,   "sys/init",                node(NodeEndpoint::Init),         INIT_FIELDS),
    root(Op::Write,   "sys/unseal",              node(NodeEndpoint::Unseal),       &["key", "reset", "migrate"]),
    root(Op::Write,   "sys/seal",                policy(Policy::Seal),             ANY),
    root(Op::Write,   "sys/rotate",              policy(Policy::Rotate),           ANY),
    root(Op::Write,   "sys/rotate/keyring",      policy(Policy::Rotate),           ANY),
    root(Op::Read,    "sys/key-status",          policy(Policy::KeyStatus),        ANY),
    root(Op::Read,    "sys/rotate/config",       not_offered("rotating by itself"), ANY),
    root(Op::Write,   "sys/rotate/config",       not_offered("rotating by itself"), ANY),
    root(Op::Read,    "sys/rekey/backup",        not_offered("keeping a copy of key shares"), ANY),
    root(Op::Delete,  "sys/rekey/backup",        not_offered("keeping a copy of key shares"), ANY),
    root(Op::Read,    "sys/rekey/init",   keyholder(Keyholder::RekeyStatus(Target::Barrier)),  ANY),
    root(Op::Write,   "sys/rekey/init",   keyholder(Keyholder::RekeyStart(Target::Barrier)),   REKEY_FIELDS),
    root(Op::Delete,  "sys/rekey/init",   keyholder(Keyholder::RekeyCancel(Target::Barrier)),  SHARE_FIELDS),
    root(Op::Write,   "sys/rekey/update", keyholder(Keyholder::RekeyUpdate(Target::Barrier)),  SHARE_FIELDS),
    root(Op::Read,    "sys/rekey/verify", keyholder(Keyholder::VerifyStatus(Target::Barrier)), ANY),
    root(Op::Write,   "sys/rekey/verify", keyholder(Keyholder::VerifyUpdate(Target::Barrier)), SHARE_FIELDS),
    root(Op::Delete,  "sys/rekey/verify", keyholder(Keyholder::VerifyReset(Target::Barrier)),  SHARE_FIELDS),
    root(Op::Read,    "sys/rekey-recovery-key/init",   keyholder(Keyholder::RekeyStatus(Target::Recovery)),  ANY),
    root(Op::Write,   "sys/rekey-recovery-key/init",   keyholder(Keyholder::RekeyStart(Target::Recovery)),   REKEY_FIELDS),
    root(Op::Delete,  "sys/rekey-recovery-key/init",   keyholder(Keyholder::RekeyCancel(Target::Recovery)),  SHARE_FIELDS),
    root(Op::Write,   "sys/rekey-recovery-key/update", keyholder(Keyholder::RekeyUpdate(Target::Recovery)),  SHARE_FIELDS),
    root(Op::Read,    "sys/rekey-recovery-key/verify", keyholder(Keyholder::VerifyStatus(Target::Recovery)), ANY),
    root(Op::Write,   "sys/rekey-recovery-key/verify", keyholder(Keyholder::VerifyUpdate(Target::Recovery)), SHARE_FIELDS),
    root(Op::Delete,  "sys/rekey-recovery-key/verify", keyholder(Keyholder::VerifyReset(Target::Recovery)),  SHARE_FIELDS),
    root(Op::Read,    "sys/generate-root/attempt", keyholder(Keyholder::RootStatus), ANY),
    root(Op::Write,   "sys/generate-root/attempt", keyholder(Keyholder::RootStart), &["otp", "age_key", "pgp_key", "key"]),
    root(Op::Delete,  "sys/generate-root/attempt", keyholder(Keyholder::RootCancel), SHARE_FIELDS),
    root(Op::Write,   "sys/generate-root/update", keyholder(Keyholder::RootUpdate), SHARE_FIELDS),
    root(Op::Read,    "sys/storage/backup",      policy(Policy::Backup),           ANY),
    root(Op::Write,   "sys/storage/restore",     keyholder(Keyholder::Restore),    ANY),
    root(Op::Read,    "sys/mounts",              policy(Policy::MountList),        ANY),
    root(Op::Read,    "sys/mounts/*path/tune",   policy(Policy::MountTuneRead),    ANY),
    root(Op::Write,   "sys/mounts/*path/tune",   policy(Policy::MountTune),        TUNE_FIELDS),
    root(Op::Read,    "sys/mounts/*path",        policy(Policy::MountRead),        ANY),
    root(Op::Write,   "sys/mounts/*path",        policy(Policy::MountCreate),      MOUNT_FIELDS),
    root(Op::Delete,  "sys/mounts/*path",        policy(Policy::MountDelete),      ANY),
    root(Op::Read,    "sys/internal/ui/mounts/*path", token(Token::MountOfPath),   ANY),
    root(Op::Write,   "sys/capabilities-self",   token(Token::CapabilitiesSelf),   &["paths", "path"]),
    root(Op::Read,    "sys/metrics",             policy(Policy::Metrics),          ANY),
    root(Op::Read,    "sys/signet/whoami",       token(Token::Whoami),             ANY),
    root(Op::Read,    "sys/signet/roles",        token(Token::Roles),              &["mount"]),
    root(Op::Write,   "sys/signet/host/challenge", open(Open::HostChallenge),      ANY),
    root(Op::Write,   "sys/signet/host/enroll",  open(Open::HostEnroll),           ENROLL_FIELDS),
    root(Op::Write,   "sys/signet/host/renew",   open(Open::HostRenew),            RENEW_FIELDS),
    root(Op::Write,   "sys/signet/host/report",  open(Open::HostReport),           REPORT_FIELDS),
    root(Op::List,    "sys/signet/hosts",        policy(Policy::HostList),         ANY),
    root(Op::Read,    "sys/signet/hosts/:host",  policy(Policy::HostRead),         ANY),
    root(Op::Delete,  "sys/signet/hosts/:host",  policy(Policy::HostForget),       ANY),
    root(Op::Write,   "sys/signet/host-tokens",  policy(Policy::HostTokenCreate),  HOST_TOKEN_FIELDS),
    root(Op::Read,    "sys/signet/reconcile",    policy(Policy::Reconcile),        &["since"]),
    root(Op::Write,   "sys/step-down",           not_offered("high availability with a leader"), ANY),
    root(Op::Read,    "sys/auth",                not_offered("changing login methods over the API"), ANY),
    root(Op::Write,   "sys/auth/*path",          not_offered("changing login methods over the API"), ANY),
    root(Op::Delete,  "sys/auth/*path",          not_offered("changing login methods over the API"), ANY),
    root(Op::Read,    "sys/policy",              not_offered("changing policies over the API"), ANY),
    root(Op::List,    "sys/policies/acl",        not_offered("changing policies over the API"), ANY),
    root(Op::Read,    "sys/policies/acl/*path",  not_offered("changing policies over the API"), ANY),
    root(Op::Write,   "sys/policies/acl/*path",  not_offered("changing policies over the API"), ANY),
    root(Op::Delete,  "sys/policies/acl/*path",  not_offered("changing policies over the API"), ANY),
    root(Op::Write,   "sys/policy/*path",        not_offered("changing policies over the API"), ANY),
    root(Op::Write,   "sys/leases/*path",        not_offered("leases"),            ANY),
    root(Op::Write,   "sys/wrapping/*path",      not_offered("response wrapping"), ANY),

    root(Op::Write,   "auth/token/create",       policy(Policy::TokenCreate),      TOKEN_CREATE_FIELDS),
    root(Op::Write,   "auth/token/create-orphan", policy(Policy::TokenCreateOrphan), TOKEN_CREATE_FIELDS),
    root(Op::Read,    "auth/token/lookup-self",  token(Token::LookupSelf),         ANY),
    root(Op::Write,   "auth/token/lookup-self",  token(Token::LookupSelf),         ANY),
    root(Op::Write,   "auth/token/lookup",       policy(Policy::TokenLookup),      &["token"]),
    root(Op::Write,   "auth/token/renew-self",   token(Token::RenewSelf),          &["increment", "token"]),
    root(Op::Write,   "auth/token/renew",        policy(Policy::TokenRenew),       &["token", "increment"]),
    root(Op::Write,   "auth/token/revoke-self",  token(Token::RevokeSelf),         &["token"]),
    root(Op::Write,   "auth/token/revoke",       policy(Policy::TokenRevoke),      &["token"]),
    root(Op::Write,   "auth/token/lookup-accessor", policy(Policy::TokenLookupAccessor), &["accessor"]),
    root(Op::Write,   "auth/token/revoke-accessor", policy(Policy::TokenRevokeAccessor), &["accessor"]),
    root(Op::List,    "auth/token/accessors",    policy(Policy::TokenAccessors),   ANY),
    root(Op::Write,   "auth/ssh-key/challenge",  open(Open::SshKeyChallenge),      ANY),
    root(Op::Write,   "auth/ssh-key/login",      open(Open::SshKeyLogin),          &["nonce", "address", "public_key", "signature"]),
    root(Op::Write,   "auth/:mount/login",       open(Open::JwtLogin),             &["role", "jwt"]),
    root(Op::Write,   "auth/*path",              not_offered("this login method or token endpoint"), ANY),
];

/// First words of paths that are no mounts.
pub const RESERVED: &[&str] = &["sys", "auth", "identity", "cubbyhole"];

/// Whether a path belongs to the server itself.
#[must_use]
pub fn is_reserved(path: &str) -> bool {
    path.split('/').next().is_some_and(|word| RESERVED.contains(&word))
}

/// The row for a request about the seal itself.
#[must_use]
pub fn find_node(op: Op, path: &str) -> Option<&'static Route> {
    path.starts_with("sys/")
        .then(|| find(Place::Root, op, path).ok())
        .flatten()
        .map(|(route, _)| route)
        .filter(|route| matches!(route.endpoint, Endpoint::Node(_) | Endpoint::Keyholder(_)))
}

/// Finds the row for `op` on `path`, with its capture.
///
/// # Errors
/// [`Problem::UnsupportedVerb`] if the path exists for another verb, else [`Problem::UnsupportedPath`].
pub fn find(place: Place, op: Op, path: &str) -> Result<(&'static Route, &str), Problem> {
    let mut path_exists = false;
    for route in ROUTES.iter().filter(|route| route.place == place) {
        let Some(capture) = route.captures(path) else { continue };
        if route.op == op {
            return Ok((route, capture));
        }
        path_exists = true;
    }
    Err(if path_exists {
        Problem::UnsupportedVerb
    } else {
        Problem::UnsupportedPath
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(place: Place, op: Op, path: &str) -> Option<(&'static str, &str)> {
        find(place, op, path)
            .ok()
            .map(|(route, capture)| (route.pattern, capture))
    }

    #[test]
    fn paths_find_their_rows() {
        for (place, op, path, want) in [
            (Place::Mount, Op::Write, "sign/my-role", Some(("sign/:role", "my-role"))),
            (
                Place::Mount,
                Op::Write,
                "sign/test@Role.x",
                Some(("sign/:role", "test@Role.x")),
            ),
            (Place::Mount, Op::Write, "sign/-role", None),
            (Place::Mount, Op::Write, "sign/a/b", None),
            (Place::Mount, Op::Read, "sign/my-role", None),
            (Place::Mount, Op::List, "roles", Some(("roles", ""))),
            (
                Place::Root,
                Op::Write,
                "sys/mounts/team/a/ssh",
                Some(("sys/mounts/*path", "team/a/ssh")),
            ),
            (
                Place::Root,
                Op::Write,
                "sys/mounts/team/a/ssh/tune",
                Some(("sys/mounts/*path/tune", "team/a/ssh")),
            ),
            (
                Place::Root,
                Op::Write,
                "auth/ssh-key/login",
                Some(("auth/ssh-key/login", "")),
            ),
            (
                Place::Root,
                Op::Write,
                "auth/github-ci/login",
                Some(("auth/:mount/login", "github-ci")),
            ),
            (Place::Root, Op::Read, "sys/nothing", None),
        ] {
            assert_eq!(row(place, op, path), want, "{op:?} {path}");
        }
    }

    #[test]
    fn a_wrong_verb_and_a_wrong_path_are_told_apart() {
        assert!(matches!(
            find(Place::Mount, Op::Read, "sign/x"),
            Err(Problem::UnsupportedVerb)
        ));
        assert!(matches!(
            find(Place::Mount, Op::Read, "keys/x"),
            Err(Problem::UnsupportedPath)
        ));
    }
}
