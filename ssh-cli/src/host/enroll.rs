//! Enrolment: a name and a certificate for this host. Everything that comes back is verified before the first file is
//! written, and until the last one is, sshd runs on as it did.

use std::collections::BTreeSet;

use signet_core::subject_key::{SubjectKey, SubjectKeyError};
use signet_core::time::UnixTime;
use signet_core::trust_bundle::{BundleError, VerifiedBundle};

use super::apply::{ApplyError, apply_bundle, key_file};
use super::authority::{Admission, Authority, AuthorityError, Proof};
use super::bundle_source::{BundleSource, Fetch, FetchError};
use super::certificate::{HostCertificate, HostCertificateError, is_name};
use super::files::{self, FileError, Files, PUBLIC};
use super::host_key::{HostKey, HostKeyError};
use super::layout::Layout;
use super::settings::{self, HostSettings};
use super::state::State;
use super::sync::{Held, open_new, pinned_keys};
use crate::endpoint::Endpoint;

/// Which key this host shall believe bundles of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The keys that the image came with.
    Baked,
    /// These, whatever the image came with.
    Given(Vec<SubjectKey>),
    /// Where the image came with none, the one that the authority names.
    FirstUse,
}

/// Why the host is not enrolled. Nothing has changed then, but where a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The host key.
    #[error(transparent)]
    Key(#[from] HostKeyError),
    /// The authority said no, or nothing.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The certificate that came.
    #[error("the host certificate that came is not put in place")]
    Certificate(#[from] HostCertificateError),
    /// A name or tag in the answer.
    #[error("the authority's answer holds `{0}`, which is neither a host's name nor a tag")]
    Word(String),
    /// The host CA's key.
    #[error("the authority's answer holds an unusable {what}")]
    AnswerKey {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: SubjectKeyError,
    },
    /// The bundle that the host shall follow names other host CAs than the answer.
    #[error("the host CA {0} is not in the authority's trust bundle")]
    HostCa(String),
    /// The image came without a bundle key, and nobody gave one.
    #[error("this host was not told which key the authority signs trust bundles with")]
    NoPin,
    /// The bundle cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Nothing says where bundles come from.
    #[error("there is neither an address nor a bundle_url to fetch the trust bundle from")]
    NoSource,
    /// The bundle that came.
    #[error("the authority's trust bundle is refused")]
    Bundle(#[from] BundleError),
    /// The bundle does not fit this host.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing proves who this host is.
    #[error("there is nothing to prove who this host is")]
    NoProof,
}

impl EnrollError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // cloud-init makes the host keys at first boot.
            Self::Key(HostKeyError::None(_)) => true,
            Self::Authority(error) => error.is_passing(),
            Self::Fetch(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// What is in place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The settings, with name, tags and mount.
    pub settings: HostSettings,
    /// The certificate.
    pub certificate: HostCertificate,
    /// Version of the bundle in force.
    pub bundle_version: u64,
}

/// This host's certificate, if it is in place, for the key that is there, and not due for renewal.
///
/// # Errors
/// [`EnrollError::Key`] and [`EnrollError::File`].
pub fn in_place(layout: &Layout, now: UnixTime) -> Result<Option<HostCertificate>, EnrollError> {
    let text = files::read_text(&layout.host_certificate())?;
    let Some(certificate) = text.and_then(|text| HostCertificate::parse(&text).ok()) else {
        return Ok(None);
    };
    let key = HostKey::read(layout, Some(certificate.key()))?;
    let is_good = certificate.key() == key.public() && now < certificate.renewal_time();
    Ok(is_good.then_some(certificate))
}

/// Enrols with the authority at `endpoint` and puts name, certificate and bundle in place. sshd is told by the caller.
///
/// # Errors
/// [`EnrollError`].
pub fn enroll(
    (layout, files): (&Layout, &Files),
    settings: &HostSettings,
    endpoint: &Endpoint,
    (proof, pin): (impl FnOnce() -> Result<Proof, EnrollError>, &Pin),
    now: UnixTime,
) -> Result<Enrolled, EnrollError> {
    let key = HostKey::read(layout, None)?;
    let authority = Authority::new(endpoint)?;
    let admission = admission(layout, settings, &authority, &key, proof)?;
    let settings = completed(settings, &admission)?;
    let (held, pinned) = bundle(layout, &settings, endpoint, &admission, pin, now)?;
    let host_ca = answer_key("host CA key", &admission.host_ca_key)?;
    let known = held.verified.host_ca_keys();
    if !known.is_empty() && !known.contains(&host_ca) {
        return Err(EnrollError::HostCa(host_ca.fingerprint()));
    }
    let certificate =
        HostCertificate::verify(&admission.signed_key, key.public(), std::slice::from_ref(&host_ca), now)?;
    let names = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    if names(certificate.names()) != names(&admission.names) {
        return Err(HostCertificateError::OtherNames.into());
    }
    // Everything is right; from here on only the disk can fail, and the next run goes on from whatever is there.
    settings.write(files, layout)?;
    apply_bundle(files, layout, &held.verified, &held.text, &settings.tags)?;
    if held.verified.bundle_keys().is_empty() {
        files.put(&layout.bundle_keys(), key_file(&pinned).as_bytes(), PUBLIC)?;
    }
    if known.is_empty() {
        files.put(
            &layout.host_ca_keys(),
            format!("{}\n", host_ca.line()).as_bytes(),
            PUBLIC,
        )?;
    }
    files.put(&layout.host_certificate(), certificate.text().as_bytes(), PUBLIC)?;
    Ok(Enrolled {
        bundle_version: held.bundle().version,
        settings,
        certificate,
    })
}

/// A host that the authority knows already, by its key, needs no new proof: a token is good only once, and an enrolment may
/// have been cut short after it was used.
fn admission(
    layout: &Layout,
    settings: &HostSettings,
    authority: &Authority,
    key: &HostKey,
    proof: impl FnOnce() -> Result<Proof, EnrollError>,
) -> Result<Admission, EnrollError> {
    let text = files::read_text(&layout.host_certificate())?;
    let certified = text.and_then(|text| HostCertificate::parse(&text).ok());
    let is_ours = certified.is_none_or(|certificate| certificate.key() == key.public());
    if let Some(host) = settings.host.as_ref().filter(|_| is_ours) {
        match authority.renew(key, host) {
            Ok(admission) => return Ok(admission),
            Err(error) if error.is_passing() => return Err(error.into()),
            // It does not know this host (any more).
            Err(_) => {}
        }
    }
    Ok(authority.enroll(key, &proof()?)?)
}

fn completed(settings: &HostSettings, admission: &Admission) -> Result<HostSettings, EnrollError> {
    let bad = |text: &String| EnrollError::Word(signet_core::inspect::escape(text));
    let names = std::iter::once(&admission.host).chain(&admission.names);
    if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
        return Err(bad(name));
    }
    if let Some(tag) = admission.tags.iter().find(|tag| !settings::is_word(tag)) {
        return Err(bad(tag));
    }
    if let Some(mount) = admission.mount.as_ref().filter(|mount| !is_mount(mount)) {
        return Err(bad(mount));
    }
    Ok(HostSettings {
        host: Some(admission.host.clone()),
        tags: admission.tags.clone(),
        mount: admission.mount.clone().unwrap_or_else(|| settings.mount.clone()),
        ..settings.clone()
    })
}

/// The authority's bundle, signed by a key that this host may believe, and those keys.
fn bundle(
    layout: &Layout,
    settings: &HostSettings,
    endpoint: &Endpoint,
    admission: &Admission,
    pin: &Pin,
    now: UnixTime,
) -> Result<(Held, Vec<SubjectKey>), EnrollError> {
    let baked = pinned_keys(layout)?;
    let pinned = match (pin, &admission.bundle_public_key) {
        (Pin::Given(keys), _) => keys.clone(),
        (Pin::FirstUse, Some(line)) if baked.is_empty() => vec![answer_key("bundle key", line)?],
        _ if baked.is_empty() => return Err(EnrollError::NoPin),
        _ => baked,
    };
    let source = BundleSource::of(settings).ok_or(EnrollError::NoSource)?;
    let Fetch::Text { text, .. } = source.fetch(endpoint, None)? else {
        return Err(EnrollError::NoSource);
    };
    let held = files::read_text(&layout.bundle())?;
    let held = held.and_then(|text| VerifiedBundle::open_held(&text, &pinned).ok());
    let of_held = held.filter(|held| held.bundle().mount == settings.mount);
    let of_held = of_held.map_or(0, |held| held.bundle().version);
    let seen = State::load(layout).map_or(0, |state| state.newest_of(&settings.mount));
    let new = open_new(text, &pinned, &settings.mount, now, of_held.max(seen))?;
    Ok((new, pinned))
}

fn is_mount(text: &str) -> bool {
    crate::cli::value::mount(text).is_ok_and(|mount| mount == text)
}

fn answer_key(what: &'static str, line: &str) -> Result<SubjectKey, EnrollError> {
    SubjectKey::parse(line).map_err(|source| EnrollError::AnswerKey { what, source })
}
