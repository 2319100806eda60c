//! `signet host enroll`: a name and a certificate for this host.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use signet_core::subject_key::SubjectKey;

use super::sync::on_host;
use crate::clock;
use crate::command::host::Writing;
use crate::config::Environment;
use crate::endpoint::{Endpoint, canonical_address};
use crate::host::authority::Proof;
use crate::host::certificate::HostCertificate;
use crate::host::configure::{Wish, configure};
use crate::host::enroll::{EnrollError, Enrolled, Pin, enroll, in_place};
use crate::host::files::{FOLDER, Files};
use crate::host::imds::{self, ImdsError};
use crate::host::layout::Layout;
use crate::host::settings::HostSettings;
use crate::host::sshd::unit_options;
use crate::host::sync::{Lock, reload, sentence};
use crate::host::units::{PROGRAM, install_units, start_units};
use crate::output::{self, Format};
use crate::report::{Exit, Failure, remark};

const SECRET_BYTES_MAX: u64 = 64 * 1024;
const TIMEOUT_SECS: u64 = 30;

/// Flags of `signet host enroll`.
#[derive(Debug, Args)]
#[command(
    after_help = "What proves the host's identity is taken from -token-file or -jwt-file, else from EC2's metadata service. Ends \
                  with 5 when trying again later may help."
)]
pub struct EnrollArgs {
    /// ec2, jwt or token
    #[arg(long, value_parser = ["ec2", "jwt", "token"])]
    pub method: Option<String>,
    /// File with the one-time token of `signet hosts token`, or - for stdin
    #[arg(long, conflicts_with = "jwt_file")]
    pub token_file: Option<PathBuf>,
    /// File with a JWT, or - for stdin
    #[arg(long)]
    pub jwt_file: Option<PathBuf>,
    /// For a JWT: role to ask for, where the authority has several for hosts
    #[arg(long)]
    pub role: Option<String>,
    /// For a JWT: login mount to ask at, where the authority has several for hosts
    #[arg(long)]
    pub login_mount: Option<String>,
    /// Address of the authority [env: SIGNET_ADDR] [default: that of host.toml]
    #[arg(long)]
    pub address: Option<String>,
    /// PEM file of the only certificate authorities to believe [env: SIGNET_CACERT] [default: that of host.toml]
    #[arg(long)]
    pub ca_cert: Option<PathBuf>,
    /// File with the public keys that trust bundles may be signed with, in place of those of the image
    #[arg(long, conflicts_with = "trust_on_first_use")]
    pub bundle_key: Option<PathBuf>,
    /// Where the image came without a bundle key, believe the one that the authority names
    #[arg(long)]
    pub trust_on_first_use: bool,
    /// Enrol again, although a certificate is in place
    #[arg(long)]
    pub force: bool,
    /// How it writes.
    #[command(flatten)]
    pub writing: Writing,
    /// table, json or yaml
    #[arg(long)]
    pub format: Option<String>,
    /// The host's root folder, for tests
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
    /// Leave sshd and systemd alone, for tests
    #[arg(long, hide = true)]
    pub files_only: bool,
    /// Address of the metadata service, for tests
    #[arg(long, default_value = imds::ADDRESS, hide = true)]
    pub imds: String,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &EnrollArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let layout = Layout::under(&args.root);
    let files = Files::new(&layout, args.writing.stop_after);
    let settings = settings(args, environment, &layout)?;
    let endpoint = endpoint(&settings, environment)?
        .ok_or_else(|| Failure::usage("no authority is named").hint("give -address, or `address` in host.toml"))?;
    let pin = pin(args)?;
    files
        .folder(&layout.state_folder(), FOLDER)
        .map_err(|error| on_host(&error))?;
    let lock = Lock::take(&layout)?;
    let held = if args.force {
        None
    } else {
        in_place(&layout, clock::now())?
    };
    let (settings, certificate) = match held.filter(|_| settings.host.is_some()) {
        Some(certificate) => (settings, certificate),
        None => fresh(args, (&layout, &files), &settings, &endpoint, &pin)?,
    };
    if !args.files_only {
        tell_sshd(args, &layout, &files)?;
    }
    drop(lock);
    let shown = json!({
        "host": settings.host,
        "names": certificate.names(),
        "tags": settings.tags,
        "valid_before": certificate.valid_before().to_string(),
        "key": certificate.key().fingerprint(),
    });
    show(&shown, &certificate, format)?;
    Ok(0)
}

/// Enrols. The proof is asked for only where it is needed: a token is read once.
fn fresh(
    args: &EnrollArgs,
    (layout, files): (&Layout, &Files),
    settings: &HostSettings,
    endpoint: &Endpoint,
    pin: &Pin,
) -> Result<(HostSettings, HostCertificate), Failure> {
    let mut trouble = None;
    let proof = || {
        proof(args).map_err(|failure| {
            trouble = Some(failure);
            EnrollError::NoProof
        })
    };
    match enroll((layout, files), settings, endpoint, (proof, pin), clock::now()) {
        Ok(Enrolled {
            settings, certificate, ..
        }) => Ok((settings, certificate)),
        Err(error) => Err(trouble.unwrap_or_else(|| error.into())),
    }
}

/// The certificate's line in sshd's configuration, judged by sshd itself; then the units that keep the host in step.
fn tell_sshd(args: &EnrollArgs, layout: &Layout, files: &Files) -> Result<(), Failure> {
    let wish = Wish::found(layout).map_err(|error| on_host(&error))?;
    configure(files, layout, &unit_options(layout), &wish).map_err(|error| on_host(&error))?;
    reload(layout, args.writing.sshd_pid).map_err(|why| {
        Failure::new(Exit::Failed, "the host is enrolled, and sshd was not told")
            .cause(why)
            .hint("reload sshd")
    })?;
    // Home folders are closed to the units, so the usual place is preferred to wherever this very program lies.
    let is_usual = args.root != Path::new("/") || Path::new(PROGRAM).exists();
    let program = match std::env::current_exe() {
        Ok(program) if !is_usual => program,
        _ => PathBuf::from(PROGRAM),
    };
    let installed = install_units(layout, files, &program).map_err(|error| sentence(&error));
    if let Err(why) = installed.and_then(|_| start_units(layout, false)) {
        remark(&format!("warning: the systemd units are not in place: {why}"));
    }
    Ok(())
}

fn show(shown: &serde_json::Value, certificate: &HostCertificate, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => output::text(&format!(
            "{} has a host certificate for {} until {}\n",
            output::plain(shown.get("host").unwrap_or_default()),
            certificate.names().join(", "),
            certificate.valid_before(),
        )),
        other => output::document(shown, other),
    }
}

fn settings(args: &EnrollArgs, environment: &Environment, layout: &Layout) -> Result<HostSettings, Failure> {
    let mut settings = HostSettings::read(layout)
        .map_err(|error| on_host(&error))?
        .unwrap_or_default();
    if let Some(address) = args.address.clone().or_else(|| environment.setting("ADDR")) {
        settings.address = Some(canonical_address(&address)?);
    }
    let ca_cert = args
        .ca_cert
        .clone()
        .or_else(|| environment.setting("CACERT").map(PathBuf::from));
    if let Some(path) = ca_cert {
        let path = std::path::absolute(&path).map_err(|_| Failure::usage("-ca-cert is empty"))?;
        settings.ca_cert = Some(path);
    }
    Ok(settings)
}

/// The authority by a host's settings.
///
/// # Errors
/// A usage [`Failure`] for an address that is none.
pub(super) fn endpoint(settings: &HostSettings, environment: &Environment) -> Result<Option<Endpoint>, Failure> {
    let Some(address) = &settings.address else {
        return Ok(None);
    };
    let address = canonical_address(address)?;
    let proxy = crate::proxy::for_address(&address, environment);
    Ok(Some(Endpoint {
        ca_cert: settings.ca_cert.clone(),
        timeout_secs: TIMEOUT_SECS,
        proxy,
        ..Endpoint::plain(&address)
    }))
}

fn pin(args: &EnrollArgs) -> Result<Pin, Failure> {
    let Some(path) = &args.bundle_key else {
        return Ok(if args.trust_on_first_use {
            Pin::FirstUse
        } else {
            Pin::Baked
        });
    };
    let unusable = |why: String| {
        Failure::usage(format!("the bundle key `{}` cannot be used", path.display()))
            .cause(why)
            .hint("give the file that <mount>/trust-bundle/public_key answers")
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let keys = lines.map(|line| SubjectKey::parse(line).map_err(|error| unusable(error.to_string())));
    let keys: Vec<SubjectKey> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(Pin::Given(keys))
}

fn proof(args: &EnrollArgs) -> Result<Proof, Failure> {
    let method = match (args.method.as_deref(), &args.token_file, &args.jwt_file) {
        (Some("token") | None, Some(path), _) => return from_file(args, "token", path),
        (Some("jwt") | None, _, Some(path)) => return from_file(args, "jwt", path),
        (Some("ec2") | None, None, None) => "ec2",
        (Some("token"), ..) => return Err(Failure::usage("the token is missing").hint("give -token-file")),
        (Some("jwt"), ..) => return Err(Failure::usage("the JWT is missing").hint("give -jwt-file")),
        (Some(other), ..) => {
            return Err(
                Failure::usage(format!("-method={other} takes neither a token nor a JWT")).hint("leave one out"),
            );
        }
    };
    let evidence = imds::identity(&args.imds).map_err(|error| {
        // Early in the boot it may not answer yet.
        let exit = match &error {
            ImdsError::Absent(_)
            | ImdsError::Refused {
                status: 429 | 500.., ..
            } => Exit::Later,
            ImdsError::Refused { .. } | ImdsError::Unreadable(_) => Exit::Failed,
        };
        Failure::from_error(exit, &error).hint("elsewhere than on EC2 give -token-file or -jwt-file")
    })?;
    Ok(shown(args, method, evidence))
}

fn shown(args: &EnrollArgs, method: &'static str, evidence: String) -> Proof {
    Proof {
        method,
        evidence,
        role: args.role.clone(),
        mount: args.login_mount.clone(),
    }
}

fn from_file(args: &EnrollArgs, method: &'static str, path: &Path) -> Result<Proof, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| {
        Failure::usage(format!("the {method} in `{}` cannot be read", path.display())).cause(error.to_string())
    })?;
    let evidence = text.trim().to_owned();
    if evidence.is_empty() {
        return Err(Failure::usage(format!("the {method} is empty")).hint("give the right file"));
    }
    Ok(shown(args, method, evidence))
}

impl From<EnrollError> for Failure {
    fn from(error: EnrollError) -> Self {
        use crate::host::authority::AuthorityError;
        if error.is_passing() {
            return Self::from_error(Exit::Later, &error).hint("it is tried again; sshd runs on with its plain key");
        }
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            EnrollError::Authority(AuthorityError::Vault(error)) => error.into(),
            EnrollError::Key(_) => failure.hint("run it as root; `ssh-keygen -A` makes host keys"),
            EnrollError::NoPin => failure
                .hint("give -bundle-key with the answer of <mount>/trust-bundle/public_key, or -trust-on-first-use"),
            EnrollError::Bundle(_) | EnrollError::HostCa(_) => failure.hint(
                "is -address the authority that this image was baked for? -bundle-key names another key to believe",
            ),
            EnrollError::Fetch(_) | EnrollError::NoSource => failure.hint("check address and bundle_url in host.toml"),
            EnrollError::Certificate(_)
            | EnrollError::Authority(_)
            | EnrollError::Word(_)
            | EnrollError::AnswerKey { .. } => {
                failure.hint("this is no answer of a sound authority: check -address and tell whoever runs it")
            }
            EnrollError::Apply(_) => failure.hint("have hosts.toml of the authority corrected"),
            EnrollError::File(_) => failure.hint("run it as root; is the disk full?"),
            EnrollError::NoProof => failure.hint("give -token-file or -jwt-file"),
        }
    }
}
