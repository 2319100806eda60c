//! From each operation's error to words, exit code and next step: one match an enum, so that a new variant cannot be forgotten.

use signet_core::inspect::InspectError;

use super::{Exit, Failure};
use crate::agent::client::AskError;
use crate::agent::identity::CertificateError;
use crate::agent::obtain::ObtainError;
use crate::agent::runtime_dir::RuntimeDirError;
use crate::agent::server::AgentError;
use crate::argv::ArgvError;
use crate::config::TokenFileError;
use crate::destination::DestinationError;
use crate::endpoint::AddressError;
use crate::login::LoginError;
use crate::secret_file::TOO_OPEN_HINT;
use crate::ssh_command::SshError;
use crate::user_agent::UserAgentError;
use crate::vault::{Distrust, Refusal, VaultError};

/// A usage error that clap found.
#[must_use]
pub fn from_clap(error: &clap::Error) -> Failure {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("no command is given").hint("see `signet -help`");
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let what = first.strip_prefix("error: ").unwrap_or(first);
    // clap's style spells flags with two dashes and quotes with '…'; both are said our way.
    Failure::usage(what.replace('\'', "`").replace("`--", "`-")).hint("see `signet -help`, or -help behind the command")
}

impl From<ArgvError> for Failure {
    fn from(error: ArgvError) -> Self {
        let failure = Self::from_error(Exit::Usage, &error);
        match error {
            ArgvError::UnknownFlag {
                verb,
                nearest: Some(near),
                ..
            } => failure.hint(format!("did you mean `{near}`? see `{verb} -help`")),
            ArgvError::UnknownFlag {
                verb, nearest: None, ..
            } if verb == "signet ssh" => {
                failure.hint("options for ssh stand behind the host, or behind `--` in front of it")
            }
            ArgvError::UnknownVerb {
                nearest: Some(near), ..
            } => failure.hint(format!("did you mean `{near}`?")),
            ArgvError::UnknownFlag {
                verb, nearest: None, ..
            }
            | ArgvError::UnknownVerb {
                verb, nearest: None, ..
            } => failure.hint(format!("see `{verb} -help`")),
            ArgvError::MissingValue(flag) => failure.hint(format!("write `{flag}=…`")),
            ArgvError::NotUtf8 => failure.hint("write flags in UTF-8"),
        }
    }
}

impl From<DestinationError> for Failure {
    fn from(error: DestinationError) -> Self {
        let failure = Self::from_error(Exit::Usage, &error);
        match error {
            DestinationError::NoHost => failure.hint("write `signet ssh -role=… user@host`"),
            DestinationError::MissingValue(letter) => failure.hint(format!("write `-{letter}` and its value")),
            DestinationError::Empty(..) => failure.hint("write user@host"),
            DestinationError::Dash(..) | DestinationError::Forbidden(..) => {
                failure.hint("write plain names; a Host block in your ssh configuration can map others")
            }
        }
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self::from_error(Exit::Usage, &error).hint("set -address or SIGNET_ADDR, such as https://ca.example.com:8200")
    }
}

impl From<TokenFileError> for Failure {
    fn from(error: TokenFileError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            TokenFileError::NoFolder => failure.hint("set HOME, or use SIGNET_TOKEN and `signet login -no-store`"),
            TokenFileError::Io { .. } => failure.hint("check who owns the file and its folder"),
            TokenFileError::TooOpen { .. } => failure.hint(TOO_OPEN_HINT),
        }
    }
}

impl From<RuntimeDirError> for Failure {
    fn from(error: RuntimeDirError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            RuntimeDirError::Io { .. } => failure.hint("set XDG_RUNTIME_DIR to a folder of yours"),
            RuntimeDirError::NotPrivate { path, .. } => failure.hint(format!(
                "look at `{}`, remove it, or set XDG_RUNTIME_DIR to a folder of yours",
                path.display()
            )),
            RuntimeDirError::BadPath { .. } => failure.hint("set XDG_RUNTIME_DIR to a short, plain path"),
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused(refusal) => from_refusal(&refusal),
            VaultError::TlsFile { .. } => {
                Self::from_error(Exit::Usage, &error).hint("check -ca-cert, -client-cert and their kin")
            }
            VaultError::Setup { .. } => {
                Self::from_error(Exit::Failed, &error).hint("check -address and the proxy settings")
            }
            VaultError::Unreachable { .. } => Self::from_error(Exit::Later, &error)
                .hint("check -address (SIGNET_ADDR) and the network, then try again"),
            VaultError::Untrusted { distrust, .. } => Self::from_error(Exit::Failed, &error).hint(match distrust {
                Distrust::Issuer => {
                    "give the authority's certificate with -ca-cert (SIGNET_CACERT): the file tls.crt of its data folder, \
                     once its fingerprint is the one that the authority prints when it starts"
                }
                Distrust::Name => {
                    "use the name in its certificate as -address, or say it with -tls-server-name (SIGNET_TLS_SERVER_NAME)"
                }
                Distrust::Time => "compare this machine's clock with the authority's; else its certificate must be renewed",
            }),
            VaultError::NotVault { .. } => Self::from_error(Exit::Failed, &error).hint("check -address (SIGNET_ADDR)"),
        }
    }
}

/// The server says what and which rule; the words for it are here.
fn from_refusal(refusal: &Refusal) -> Failure {
    let known = refusal.known_code();
    let exit = match (known, refusal.status) {
        (Some(code), _) => code.exit(),
        _ if refusal.wants_login() => Exit::LogIn,
        (None, 429 | 502..=504 | 412) => Exit::Later,
        (None, 400 | 403) => Exit::Refused,
        (None, _) => Exit::Failed,
    };
    let what = refusal.reason.clone();
    let what = what.unwrap_or_else(|| VaultError::Refused(Box::new(refusal.clone())).to_string());
    let mut failure = Failure::new(exit, what);
    let code = refusal
        .code
        .clone()
        .unwrap_or_else(|| format!("status {}", refusal.status));
    failure.causes.push(match (exit, &refusal.request_id) {
        (Exit::Failed, Some(id)) => format!("the authority could not answer ({code}, request {id})"),
        // Why a login failed stands in the ledger only, under this id.
        (_, Some(id)) if known == Some(super::ServerCode::LoginRefused) => {
            format!("the authority refused the request ({code}, request {id})")
        }
        _ => format!("the authority refused the request ({code})"),
    });
    let own = known.map(|code| code.hint().to_owned());
    let by_status = match exit {
        Exit::LogIn => Some("run `signet login`"),
        Exit::Later => Some("try again in a moment"),
        Exit::Refused => Some("`signet whoami` shows who you are, `signet roles` what you may use"),
        Exit::Failed | Exit::Usage => None,
    };
    failure.hint = refusal.hint.clone().or(own).or_else(|| by_status.map(str::to_owned));
    failure
}

impl From<ObtainError> for Failure {
    fn from(error: ObtainError) -> Self {
        match error {
            ObtainError::Vault(error) => error.into(),
            ObtainError::Certificate(error) => error.into(),
            ObtainError::Key(_) => Self::from_error(Exit::Failed, &error),
            ObtainError::NoSignedKey => Self::from_error(Exit::Failed, &error).hint("check -address and -mount-point"),
            ObtainError::HostKey { .. } => Self::from_error(Exit::Failed, &error).hint("check -host-key-mount-point"),
            ObtainError::KnownHosts { .. } => Self::from_error(Exit::Failed, &error).hint("check the runtime folder"),
        }
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            CertificateError::Expired { .. } => failure.hint("compare this machine's clock with the authority's"),
            CertificateError::Unreadable(_)
            | CertificateError::OtherKey
            | CertificateError::NotUser
            | CertificateError::BadSignature => {
                failure.hint("this is no answer of a sound authority: check -address and tell whoever runs it")
            }
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            AgentError::Running => failure.hint("`signet agent -status` asks it, `signet agent -stop` ends it"),
            AgentError::Io { .. } => failure.hint("check the runtime folder, or use -no-agent"),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::from_error(Exit::Failed, &error).hint("use -no-agent, or `signet agent` to see why")
    }
}

impl From<SshError> for Failure {
    fn from(error: SshError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            SshError::Start { .. } => failure.hint("install OpenSSH, or name it with -ssh-executable"),
            SshError::Wait(_) => failure,
        }
    }
}

impl From<UserAgentError> for Failure {
    fn from(error: UserAgentError) -> Self {
        Self::from_error(Exit::Failed, &error)
            .hint("check SSH_AUTH_SOCK and `ssh-add -l`, or use -key=~/.ssh/id_ed25519")
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        let with = |exit| Self::from_error(exit, &error);
        match &error {
            LoginError::Vault(_) | LoginError::Agent(_) => {}
            LoginError::NoToken => return with(Exit::Failed).hint("check -address and -path"),
            LoginError::Address(_) => {
                return with(Exit::Usage).hint("set -address, such as https://ca.example.com:8200");
            }
            LoginError::NoKey => {
                return with(Exit::Usage)
                    .hint("start an ssh-agent and `ssh-add` your key, or use -key=~/.ssh/id_ed25519");
            }
            LoginError::NoKeyAccepted { .. } => {
                return with(Exit::Refused).hint("is your public key in the authority's people.toml? -key chooses one");
            }
            LoginError::KeyFile { .. } => {
                return with(Exit::Usage).hint("check the path and, for an encrypted key, the passphrase");
            }
            LoginError::Encrypted(_) => return with(Exit::Usage).hint("`ssh-add` it to your ssh-agent first"),
            LoginError::Sign(_) => return with(Exit::Failed).hint("try another key with -key"),
            LoginError::NoJwt => {
                return with(Exit::Usage).hint(
                    "use -jwt-file or SIGNET_JWT; in GitHub Actions give the job `permissions: id-token: write`",
                );
            }
            LoginError::GitHub(_) => return with(Exit::Later).hint("give the job `permissions: id-token: write`"),
        }
        match error {
            LoginError::Vault(error) => error.into(),
            LoginError::Agent(error) => error.into(),
            other => Self::from_error(Exit::Failed, &other),
        }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            InspectError::PublicKey(_) => failure.hint("give the certificate (…-cert.pub)"),
            InspectError::PrivateKey => failure.hint("keep that file to yourself; give the certificate (…-cert.pub)"),
            InspectError::Empty
            | InspectError::NotBase64
            | InspectError::UnknownType(_)
            | InspectError::Truncated(_)
            | InspectError::TypeMismatch { .. } => failure.hint("give an OpenSSH certificate (…-cert.pub)"),
        }
    }
}
