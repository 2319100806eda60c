//! The server's stable codes, each with its exit code and the next step. A new code without them does not compile.

use super::Exit;

macro_rules! codes {
    ($($variant:ident = $text:literal),* $(,)?) => {
        /// A code as it stands beside `errors` in a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ServerCode { $(#[doc = concat!("`", $text, "`")] $variant),* }

        impl ServerCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The text on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Reads the text on the wire; `None` for a code of a newer server.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    UnknownRole = "unknown-role",
    NoPolicyPermits = "no-policy-permits",
    PolicyForbids = "policy-forbids",
    PolicyErrored = "policy-errored",
    PublicKeyMissing = "public-key-missing",
    PublicKeyInvalid = "public-key-invalid",
    KeyTypeNotAllowed = "key-type-not-allowed",
    KeySizeNotAllowed = "key-size-not-allowed",
    SecurityKeyRequired = "security-key-required",
    KeyIdNotAllowed = "key-id-not-allowed",
    KeyIdInvalid = "key-id-invalid",
    CertTypeUnknown = "cert-type-unknown",
    CertTypeNotAllowed = "cert-type-not-allowed",
    TemplateUnresolved = "template-unresolved",
    PrincipalsEmpty = "principals-empty",
    NoPrincipalAllowed = "no-principal-allowed",
    PrincipalNotAllowed = "principal-not-allowed",
    PrincipalInvalid = "principal-invalid",
    TooManyPrincipals = "too-many-principals",
    TtlTooLong = "ttl-too-long",
    TtlTooShort = "ttl-too-short",
    TokenEnds = "token-ends",
    ValidityInvalid = "validity-invalid",
    CriticalOptionsNotAllowed = "critical-options-not-allowed",
    ExtensionsNotAllowed = "extensions-not-allowed",
    OptionInvalid = "option-invalid",
    FieldInvalid = "field-invalid",
    CaKeyMissing = "ca-key-missing",
    TokenMissing = "token-missing",
    TokenInvalid = "token-invalid",
    PersonRemoved = "person-removed",
    KeyRemoved = "key-removed",
    LoginRefused = "login-refused",
    LoginUnavailable = "login-unavailable",
    NoSuchMount = "no-such-mount",
    NoSuchPath = "no-such-path",
    VerbNotSupported = "verb-not-supported",
    NothingThere = "nothing-there",
    PathInvalid = "path-invalid",
    BodyTooLarge = "body-too-large",
    NotOffered = "not-offered",
    TooManyTokens = "too-many-tokens",
    RateLimited = "rate-limited",
    MediaTypeNotSupported = "media-type-not-supported",
    BodyBroken = "body-broken",
    JsonInvalid = "json-invalid",
    JsonTooDeep = "json-too-deep",
    FieldMissing = "field-missing",
    TooManyPaths = "too-many-paths",
    RoleInvalid = "role-invalid",
    RoleInFile = "role-in-file",
    MountPathInvalid = "mount-path-invalid",
    MountPathInUse = "mount-path-in-use",
    MountTypeNotOffered = "mount-type-not-offered",
    MountTtlInvalid = "mount-ttl-invalid",
    KeyTypeInvalid = "key-type-invalid",
    CaKeyInvalid = "ca-key-invalid",
    CaKeyMismatch = "ca-key-mismatch",
    CaKeyExists = "ca-key-exists",
    CaKeyPassphrase = "ca-key-passphrase",
    CaKeyUnusable = "ca-key-unusable",
    KeyHolderUnknown = "key-holder-unknown",
    IssuerInvalid = "issuer-invalid",
    RotationStep = "rotation-step",
    RotationUnsafe = "rotation-unsafe",
    TokenUnknown = "token-unknown",
    TokenNotRenewable = "token-not-renewable",
    TokenTooDeep = "token-too-deep",
    TokenUsesLimited = "token-uses-limited",
    AccessorUnknown = "accessor-unknown",
    SudoRequired = "sudo-required",
    RootRequired = "root-required",
    PoliciesNotSubset = "policies-not-subset",
    AlreadyInitialized = "already-initialized",
    RevocationInvalid = "revocation-invalid",
    HostRefused = "host-refused",
    HostBusy = "host-busy",
    HostTokenRefused = "host-token-refused",
    ReportInvalid = "report-invalid",
    ReportStale = "report-stale",
    MetricsLoopbackOnly = "metrics-loopback-only",
    Sealed = "sealed",
    NotInitialized = "not-initialized",
    SealUnavailable = "seal-unavailable",
    StoreDamaged = "store-damaged",
    ShareInvalid = "share-invalid",
    ShareNumbersInvalid = "share-numbers-invalid",
    ShareDuplicate = "share-duplicate",
    ShareOfAnotherSet = "share-of-another-set",
    SharesDoNotOpen = "shares-do-not-open",
    NoRecoveryKeys = "no-recovery-keys",
    NotForThisSeal = "not-for-this-seal",
    MigrationWaits = "migration-waits",
    AlreadyInProgress = "already-in-progress",
    NothingInProgress = "nothing-in-progress",
    NonceWrong = "nonce-wrong",
    OtpInvalid = "otp-invalid",
    AgeKeysInvalid = "age-keys-invalid",
    BackupInvalid = "backup-invalid",
    LedgerUnavailable = "ledger-unavailable",
    SignerBusy = "signer-busy",
    SignerUnavailable = "signer-unavailable",
    Internal = "internal",
}

impl ServerCode {
    /// The exit code that a refusal with this code ends in.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "one line a code, and nothing else")]
    pub const fn exit(self) -> Exit {
        match self {
            Self::TokenMissing | Self::TokenInvalid | Self::TokenEnds => Exit::LogIn,
            Self::RateLimited
            | Self::LedgerUnavailable
            | Self::SignerBusy
            | Self::SignerUnavailable
            | Self::TooManyTokens
            | Self::LoginUnavailable
            | Self::HostBusy
            | Self::Sealed
            | Self::SealUnavailable => Exit::Later,
            Self::Internal
            | Self::NotInitialized
            | Self::StoreDamaged
            | Self::CaKeyMissing
            | Self::NoSuchMount
            | Self::NoSuchPath
            | Self::VerbNotSupported
            | Self::NothingThere
            | Self::NotOffered
            | Self::MediaTypeNotSupported
            | Self::BodyBroken
            | Self::JsonInvalid
            | Self::JsonTooDeep => Exit::Failed,
            Self::UnknownRole
            | Self::NoPolicyPermits
            | Self::PolicyForbids
            | Self::PolicyErrored
            | Self::PublicKeyMissing
            | Self::PublicKeyInvalid
            | Self::KeyTypeNotAllowed
            | Self::KeySizeNotAllowed
            | Self::SecurityKeyRequired
            | Self::KeyIdNotAllowed
            | Self::KeyIdInvalid
            | Self::CertTypeUnknown
            | Self::CertTypeNotAllowed
            | Self::TemplateUnresolved
            | Self::PrincipalsEmpty
            | Self::NoPrincipalAllowed
            | Self::PrincipalNotAllowed
            | Self::PrincipalInvalid
            | Self::TooManyPrincipals
            | Self::TtlTooLong
            | Self::TtlTooShort
            | Self::ValidityInvalid
            | Self::CriticalOptionsNotAllowed
            | Self::ExtensionsNotAllowed
            | Self::OptionInvalid
            | Self::FieldInvalid
            | Self::FieldMissing
            | Self::PathInvalid
            | Self::BodyTooLarge
            | Self::PersonRemoved
            | Self::KeyRemoved
            | Self::LoginRefused
            | Self::TooManyPaths
            | Self::RoleInvalid
            | Self::RoleInFile
            | Self::MountPathInvalid
            | Self::MountPathInUse
            | Self::MountTypeNotOffered
            | Self::MountTtlInvalid
            | Self::KeyTypeInvalid
            | Self::CaKeyInvalid
            | Self::CaKeyMismatch
            | Self::CaKeyExists
            | Self::CaKeyPassphrase
            | Self::CaKeyUnusable
            | Self::KeyHolderUnknown
            | Self::IssuerInvalid
            | Self::RotationStep
            | Self::RotationUnsafe
            | Self::TokenUnknown
            | Self::TokenNotRenewable
            | Self::TokenTooDeep
            | Self::TokenUsesLimited
            | Self::AccessorUnknown
            | Self::SudoRequired
            | Self::RootRequired
            | Self::PoliciesNotSubset
            | Self::AlreadyInitialized
            | Self::RevocationInvalid
            | Self::HostRefused
            | Self::HostTokenRefused
            | Self::ReportInvalid
            | Self::ReportStale
            | Self::MetricsLoopbackOnly
            | Self::ShareInvalid
            | Self::ShareNumbersInvalid
            | Self::ShareDuplicate
            | Self::ShareOfAnotherSet
            | Self::SharesDoNotOpen
            | Self::NoRecoveryKeys
            | Self::NotForThisSeal
            | Self::MigrationWaits
            | Self::AlreadyInProgress
            | Self::NothingInProgress
            | Self::NonceWrong
            | Self::OtpInvalid
            | Self::AgeKeysInvalid
            | Self::BackupInvalid => Exit::Refused,
        }
    }

    /// The next step, when the server names none.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "one line a code, and nothing else")]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::UnknownRole => "`signet roles` lists the roles you may use",
            Self::NoPolicyPermits | Self::PolicyForbids => {
                "`signet whoami` shows your groups; `signet roles` lists the roles you may use"
            }
            Self::PolicyErrored => "a policy of the authority is broken; tell whoever runs it",
            Self::HostRefused => "the authority's ledger has the reason: `signet-ca audit search -event=host-refused`",
            Self::IssuerInvalid | Self::RotationStep => "`signet ca status` shows the issuers and the next step",
            Self::RotationUnsafe => "`signet ca status` shows what is in the way",
            Self::HostBusy => "try again in a moment",
            Self::HostTokenRefused => "hosts.toml says which names and tags a token may give",
            Self::ReportInvalid => "host and authority may be of different versions",
            Self::ReportStale => "go on counting from the newest sequence, which the answer's hint names",
            Self::RevocationInvalid => "`signet certs ls` shows what there is to revoke; see `signet revoke -help`",
            Self::PublicKeyMissing | Self::PublicKeyInvalid => "give a plain OpenSSH public key (the .pub file)",
            Self::KeyTypeNotAllowed | Self::KeySizeNotAllowed => {
                "let signet make its own Ed25519 key (leave -public-key-path out), or use another key"
            }
            Self::SecurityKeyRequired => {
                "this role takes only keys of a security key: -public-key-path ~/.ssh/id_ed25519_sk.pub"
            }
            Self::KeyIdNotAllowed | Self::KeyIdInvalid => "leave the key ID to the authority",
            Self::CertTypeUnknown | Self::CertTypeNotAllowed => "ask with the other -cert-type, or use another role",
            Self::TemplateUnresolved => {
                "the role's template needs something your login does not carry; see `signet whoami`"
            }
            Self::PrincipalsEmpty => "say who logs in: `signet ssh -role=… user@host` or -valid-principals",
            Self::NoPrincipalAllowed | Self::PrincipalNotAllowed => {
                "`signet roles` lists the principals each role allows; log in as one of them (user@host)"
            }
            Self::PrincipalInvalid | Self::TooManyPrincipals => "ask for one plain login name (user@host)",
            Self::TtlTooLong => "leave -ttl out or ask for less",
            Self::TtlTooShort => "leave -ttl out or ask for more",
            Self::TokenEnds | Self::TokenMissing | Self::TokenInvalid => "run `signet login`",
            Self::ValidityInvalid => "check the clocks and the -ttl",
            Self::CriticalOptionsNotAllowed => "leave the critical options to the role",
            Self::ExtensionsNotAllowed => "leave -extension out: the role's own extensions then apply",
            Self::OptionInvalid | Self::FieldInvalid => "check the values given with the flags",
            Self::PersonRemoved => "you are no longer among the authority's people; ask whoever keeps people.toml",
            Self::KeyRemoved => {
                "the key you logged in with is no longer yours in people.toml: `signet login` with another"
            }
            Self::LoginRefused => {
                "check that people.toml holds your public key, and that the address is the authority's own"
            }
            Self::NoSuchMount => "check -mount-point (`ssh` when left out) or, at a login, -path",
            Self::NoSuchPath | Self::VerbNotSupported | Self::NotOffered => {
                "this server cannot do that; check -address"
            }
            Self::NothingThere => "check the name and -mount-point",
            Self::PathInvalid => "check -role and -mount-point for odd characters",
            Self::BodyTooLarge => "ask for fewer or shorter values",
            Self::TooManyTokens => "`signet logout` where you no longer need a token, then try again",
            Self::CaKeyMissing => "the mount has no CA key yet: POST <mount>/config/ca makes one",
            Self::RateLimited => "wait a minute, then try again",
            Self::LoginUnavailable => {
                "try again in a minute; if it stays, the authority cannot reach the issuer's keys"
            }
            Self::MediaTypeNotSupported => "send plain JSON, without a Content-Encoding",
            Self::BodyBroken => "check the network and the proxies on the way, then try again",
            Self::JsonInvalid | Self::JsonTooDeep => "send one JSON object, as Vault's API has it",
            Self::FieldMissing => "name the missing field; the text says which",
            Self::TooManyPaths => "ask about fewer paths at once",
            Self::RoleInvalid => "correct the role's document; the text says where",
            Self::RoleInFile => "change the role's file in the policies folder and reload the server",
            Self::MountPathInvalid => "use letters, digits, `-`, `_` and `.` between slashes",
            Self::MountPathInUse => "choose another path, or tune the mount that is there",
            Self::MountTypeNotOffered => "mount type `ssh`; there is no other",
            Self::MountTtlInvalid => "write default_lease_ttl no longer than max_lease_ttl, like 30m",
            Self::KeyTypeInvalid => "use ed25519, ec (256, 384, 521 bits) or rsa (2048, 3072, 4096, 8192 bits)",
            Self::CaKeyInvalid => {
                "give one private key (OpenSSH or PEM); its public key is computed where it is left out"
            }
            Self::CaKeyPassphrase => "give the passphrase of the private key; `signet ca rotate -import` asks for it",
            Self::CaKeyUnusable => {
                "name the key as it is on the token or in KMS; whoever runs the authority can look with `pkcs11-tool -O`"
            }
            Self::KeyHolderUnknown => "[[key_holder]] in signet.toml says which there are, and for which mounts",
            Self::CaKeyMismatch => "give the public key that belongs to the private key, or leave it out",
            Self::CaKeyExists => {
                "hosts trust the CA key that is there; DELETE <mount>/config/ca first if that is meant"
            }
            Self::TokenUnknown => "the token has ended or was never made here; `signet login` makes one",
            Self::TokenNotRenewable => "`signet login` again when it ends",
            Self::TokenTooDeep => "make the token from one nearer to the root, or as an orphan",
            Self::TokenUsesLimited => "use a token without a limit of uses for this",
            Self::AccessorUnknown => "the token has ended, or the accessor is misspelt",
            Self::SudoRequired => "a policy must permit `sudo` on this path",
            Self::RootRequired => "only a root token may make one",
            Self::PoliciesNotSubset => "leave out the policies that your own token lacks",
            Self::AlreadyInitialized => "nothing is left to do; log in",
            Self::MetricsLoopbackOnly => "ask from the machine itself, or /v1/sys/metrics with a token",
            Self::Sealed => "the authority's seal is closed: `signet operator status` says what it waits for",
            Self::NotInitialized => "run `signet operator init` once, and keep what it prints",
            Self::SealUnavailable => "what opens the seal cannot be reached; it is tried again by itself",
            Self::StoreDamaged => "its operator looks with `signet-ca store check`, and restores a backup",
            Self::ShareInvalid => "copy the key share again, whole, as it was printed",
            Self::ShareNumbersInvalid => "give -key-shares and -key-threshold such as 5 and 3",
            Self::ShareDuplicate => "another holder has to give theirs",
            Self::ShareOfAnotherSet => "use the share of the newest split: each rekey makes the older ones void",
            Self::SharesDoNotOpen => "begin again with all shares; if it stays, try another subset of the holders",
            Self::NoRecoveryKeys => {
                "make recovery keys while it is open: `signet operator rekey -init -target=recovery`"
            }
            Self::NotForThisSeal => {
                "`signet operator status` shows the seal: shamir has key shares, all others recovery keys"
            }
            Self::MigrationWaits => "use `signet operator migrate` in the place of unseal",
            Self::AlreadyInProgress => "finish it or cancel it (`-status` shows it, `-cancel` ends it)",
            Self::NothingInProgress => "start with -init",
            Self::NonceWrong => "give the -nonce that -init printed; `-status` shows it",
            Self::OtpInvalid => "leave -otp out: the server then makes one",
            Self::AgeKeysInvalid => "give one age recipient (age1…) for each share, in the order of their holders",
            Self::BackupInvalid => {
                "use another copy of the backup, and the seal it was taken under; nothing was changed"
            }
            Self::LedgerUnavailable => {
                "the authority cannot record certificates now, so it issues none; tell whoever runs it"
            }
            Self::SignerBusy => "the token that holds the CA key has too much to do; try again in a moment",
            Self::SignerUnavailable => {
                "the token or service that holds the CA key does not sign now; tell whoever runs the authority"
            }
            Self::Internal => "tell whoever runs the authority, with the request id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_has_a_hint() {
        for code in ServerCode::ALL {
            assert_eq!(ServerCode::parse(code.as_str()), Some(*code));
            assert!(!code.hint().is_empty());
        }
    }
}
