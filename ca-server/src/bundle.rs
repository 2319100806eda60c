//! Trust bundles: one text a mount that says all a host has to believe, signed by the bundle key. That key is made at the
//! first start and is never a CA key: who can sign certificates cannot tell hosts what to trust, and the other way round.
//!
//! A bundle is signed when its content changes or half of its time has passed, never for one request alone. It is durable
//! before anybody sees it, so that a restart neither goes back nor tells two stories under one version.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use signet_core::policy_set::PolicySet;
use signet_core::role::AlgorithmSigner;
use signet_core::signer::{CaKeyType, SignError, Signer, SoftwareSigner};
use signet_core::sshsig::{HashAlgorithm, SshSigError, SshSignature, signed_data};
use signet_core::time::UnixTime;
use signet_core::trust_bundle::{self, BUNDLE_NAMESPACE, TrustBundle};

use crate::authority::Authority;
use crate::barrier::BarrierError;
use crate::keyring::{Keyring, KeyringError};
use crate::metrics::Metrics;
use crate::mounts::{Issuer, Mount, Mounts};
use crate::revocations::{Published, RevocationError, etag, sha256};
use crate::store::{Change, Store, StoreError, Table};

/// The SSHSIG namespace of a revocation list's detached signature.
pub const KRL_NAMESPACE: &str = "krl.signet";

const KEY: &str = "bundle-key";
const BUNDLE_PREFIX: &str = "trust-bundle/";

/// The bundles of all mounts, and the key that signs them.
#[derive(Debug)]
pub struct Bundles {
    keyring: Arc<Keyring>,
    metrics: Metrics,
    signer: Arc<SoftwareSigner>,
    made: RwLock<HashMap<String, Arc<Made>>>,
    making: tokio::sync::Mutex<()>,
}

/// A signed bundle, durable.
#[derive(Debug)]
pub struct Made {
    text: Bytes,
    etag: String,
    version: u64,
    issued: UnixTime,
    valid_until: UnixTime,
    krl_version: u64,
    /// SHA-256 of all it says but version and times.
    content: [u8; 32],
    /// From what it was made: while all of it is the same, nobody has to look closer.
    sources: ArcSwap<Sources>,
}

/// What a bundle is made from. Weak, so that no old policy lives longer for it.
#[derive(Debug, Default, Clone)]
struct Sources {
    policy: Weak<PolicySet>,
    krl: Weak<Published>,
    user_ca: Vec<Weak<dyn Signer>>,
    host_ca: Vec<Weak<dyn Signer>>,
}

impl Sources {
    fn are(&self, other: &Self) -> bool {
        self.policy.ptr_eq(&other.policy)
            && self.krl.ptr_eq(&other.krl)
            && are_same(&self.user_ca, &other.user_ca)
            && are_same(&self.host_ca, &other.host_ca)
    }
}

fn are_same(some: &[Weak<dyn Signer>], others: &[Weak<dyn Signer>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.ptr_eq(other))
}

fn weak(issuers: &[Arc<Issuer>]) -> Vec<Weak<dyn Signer>> {
    issuers.iter().map(|issuer| Arc::downgrade(issuer.signer())).collect()
}

fn lines(issuers: &[Arc<Issuer>]) -> Vec<String> {
    let line = |issuer: &Arc<Issuer>| issuer.signer().public_key().line();
    issuers.iter().map(line).collect()
}

/// What is in force for a mount at the moment.
struct Present {
    policy: Arc<PolicySet>,
    krl: Arc<Published>,
    /// All that are trusted, not only those that sign: hosts have to know a key before it signs, and for as long as its
    /// certificates live.
    user_ca: Vec<Arc<Issuer>>,
    host_ca: Vec<Arc<Issuer>>,
}

impl Present {
    fn sources(&self) -> Sources {
        Sources {
            policy: Arc::downgrade(&self.policy),
            krl: Arc::downgrade(&self.krl),
            user_ca: weak(&self.user_ca),
            host_ca: weak(&self.host_ca),
        }
    }

    /// The bundle without version and times.
    fn bundle(&self, authority: &str, mount: &str, bundle_key: &SoftwareSigner) -> TrustBundle {
        let mut bundle = TrustBundle {
            authority: authority.to_owned(),
            mount: mount.to_owned(),
            version: 0,
            issued: 0,
            valid_until: 0,
            user_ca_keys: lines(&self.user_ca),
            host_ca_keys: lines(&self.host_ca),
            krl_version: 0,
            krl: String::new(),
            rules: self.policy.hosts.rules.clone(),
            breakglass: self.policy.breakglass.clone(),
            bundle_keys: vec![bundle_key.public_key().line()],
        };
        bundle.set_krl(self.krl.version(), self.krl.bytes());
        bundle
    }
}

impl Made {
    /// The bundle's text.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// The entity tag of its text, in quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// When it was signed.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.issued
    }

    /// When a host should be alarmed that nothing newer came.
    #[must_use]
    pub const fn valid_until(&self) -> UnixTime {
        self.valid_until
    }

    /// The version of the revocation list in it.
    #[must_use]
    pub const fn krl_version(&self) -> u64 {
        self.krl_version
    }

    /// Whether less than half of its time has passed. A clock that was set back counts as no time.
    fn is_fresh(&self, now: UnixTime) -> bool {
        let half = self.issued.secs_until(self.valid_until) / 2;
        now < self.issued.plus(half)
    }

    /// Reads a bundle that we signed and sealed ourselves.
    fn stored(text: &str) -> Option<Self> {
        let json = text.lines().nth(1)?;
        let bundle: TrustBundle = serde_json::from_str(json).ok()?;
        Some(Self {
            text: Bytes::from(text.to_owned()),
            etag: etag(text.as_bytes()),
            version: bundle.version,
            issued: UnixTime::from_secs(bundle.issued),
            valid_until: UnixTime::from_secs(bundle.valid_until),
            krl_version: bundle.krl_version,
            content: content(bundle).ok()?,
            sources: ArcSwap::default(),
        })
    }
}

/// SHA-256 of everything but version and times.
fn content(mut bundle: TrustBundle) -> Result<[u8; 32], BundleError> {
    (bundle.version, bundle.issued, bundle.valid_until) = (0, 0, 0);
    Ok(sha256(bundle.signed_text()?.as_bytes()))
}

impl Bundles {
    /// Reads the bundle key, made at the first start, and the bundles that were served last.
    ///
    /// # Errors
    /// [`BundleError`] naming what cannot be read.
    pub fn open(keyring: Arc<Keyring>, mounts: &Mounts, metrics: Metrics) -> Result<Self, BundleError> {
        let rows = keyring.store().scan(Table::Settings)?;
        let signer = match rows.iter().find(|(key, _)| key == KEY) {
            Some((key, sealed)) => {
                SoftwareSigner::from_secret(&keyring.unseal(Table::Settings, key, sealed)?).map_err(BundleError::Key)?
            }
            None => new_key(&keyring)?,
        };
        let by_uuid: HashMap<String, Arc<Mount>> = mounts
            .list()
            .into_iter()
            .map(|mount| (mount.uuid().to_owned(), mount))
            .collect();
        let (mut made, mut orphans) = (HashMap::new(), Vec::new());
        for (key, sealed) in &rows {
            let Some(uuid) = key.strip_prefix(BUNDLE_PREFIX) else {
                continue;
            };
            let Some(mount) = by_uuid.get(uuid) else {
                orphans.push(Change::Delete(Table::Settings, key.clone()));
                continue;
            };
            let text = keyring.unseal(Table::Settings, key, sealed)?;
            let damaged = || BundleError::Damaged { key: key.clone() };
            let text = std::str::from_utf8(&text).map_err(|_| damaged())?;
            let bundle = Made::stored(text).ok_or_else(damaged)?;
            metrics.trust_bundle(mount.path(), bundle.version);
            made.insert(uuid.to_owned(), Arc::new(bundle));
        }
        if !orphans.is_empty() {
            keyring.store().apply(orphans).wait()?;
        }
        Ok(Self {
            keyring,
            metrics,
            signer: Arc::new(signer),
            made: RwLock::new(made),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// The line of the public half of the bundle key, newline-terminated: what hosts pin.
    #[must_use]
    pub fn public_line(&self) -> String {
        self.signer.public_line()
    }

    /// The bundle of a mount that was served last, if any.
    #[must_use]
    pub fn made(&self, mount: &Mount) -> Option<Arc<Made>> {
        self.made
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(mount.uuid())
            .cloned()
    }

    /// Forgets a mount that was deleted. Its row is dropped at the next start.
    pub fn forget(&self, mount: &Mount) {
        self.made
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(mount.uuid());
    }

    /// The detached signature over a revocation list, armored; made once a list.
    ///
    /// # Errors
    /// [`BundleError`]
    pub fn krl_signature<'a>(&self, krl: &'a Published) -> Result<&'a str, BundleError> {
        krl.signature_or(|| {
            sign(&self.signer, KRL_NAMESPACE, krl.bytes())?
                .to_armor()
                .map_err(Into::into)
        })
    }

    /// Makes the next bundle durable and serves it from then on.
    async fn renew(&self, authority: &Authority, mount: &Mount, now: UnixTime) -> Result<Arc<Made>, BundleError> {
        let _making = self.making.lock().await;
        let present = present(authority, mount, now).await?;
        let last = self.made(mount);
        if let Some(last) = &last
            && last.is_fresh(now)
            && last.sources.load().are(&present.sources())
        {
            return Ok(Arc::clone(last));
        }
        let key = format!("{BUNDLE_PREFIX}{}", mount.uuid());
        let (name, path, ttl) = (
            authority.config.name.clone(),
            mount.path().to_owned(),
            authority.config.hosts.bundle_ttl_secs,
        );
        let (signer, keyring) = (Arc::clone(&self.signer), Arc::clone(&self.keyring));
        // A list of a million serials makes a bundle of eleven megabytes: off the network threads.
        let next = tokio::task::spawn_blocking(move || {
            let bundle = present.bundle(&name, &path, &signer);
            next(bundle, &present.sources(), last, now, ttl, &signer, |text| {
                keyring.seal(Table::Settings, &key, text)
            })
        });
        match next.await.map_err(|_| BundleError::Crashed)?? {
            Next::Same(last) => Ok(last),
            Next::New(made, change) => {
                self.keyring.store().apply(vec![change]).durable().await?;
                let made = Arc::new(*made);
                self.made
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(mount.uuid().to_owned(), Arc::clone(&made));
                self.metrics.trust_bundle(mount.path(), made.version);
                tracing::info!(mount = mount.path(), version = made.version, "trust bundle signed");
                Ok(made)
            }
        }
    }
}

/// The bundle of a mount: the one that was served last while it says what is in force, else a new one.
///
/// # Errors
/// [`BundleError`]; what hosts hold stays in force.
pub async fn current(authority: &Arc<Authority>, mount: &Arc<Mount>, now: UnixTime) -> Result<Arc<Made>, BundleError> {
    let sources = present(authority, mount, now).await?.sources();
    if let Some(made) = authority.bundles.made(mount)
        && made.is_fresh(now)
        && made.sources.load().are(&sources)
    {
        return Ok(made);
    }
    // In a task of its own, so that it ends also when the host that asked hangs up.
    let (authority, mount) = (Arc::clone(authority), Arc::clone(mount));
    tokio::spawn(async move { authority.bundles.renew(&authority, &mount, now).await })
        .await
        .map_err(|_| BundleError::Crashed)?
}

async fn present(authority: &Authority, mount: &Mount, now: UnixTime) -> Result<Present, BundleError> {
    let user_ca = mount.trusted(now);
    if user_ca.is_empty() {
        return Err(BundleError::NoCaKey);
    }
    let host_mount = authority.config.hosts.host_mount.as_deref();
    let host_ca = host_mount
        .and_then(|path| authority.mounts.get(path))
        .map_or_else(Vec::new, |mount| mount.trusted(now));
    Ok(Present {
        policy: authority.policy(),
        krl: authority.revocations.list(mount, now).await?.published(),
        user_ca,
        host_ca,
    })
}

enum Next {
    Same(Arc<Made>),
    New(Box<Made>, Change),
}

fn next(
    mut bundle: TrustBundle,
    sources: &Sources,
    last: Option<Arc<Made>>,
    now: UnixTime,
    ttl_secs: u64,
    signer: &SoftwareSigner,
    seal: impl FnOnce(&[u8]) -> Result<Change, BarrierError>,
) -> Result<Next, BundleError> {
    let content = content(bundle.clone())?;
    let sources = sources.clone();
    if let Some(last) = last
        .as_ref()
        .filter(|last| last.content == content && last.is_fresh(now))
    {
        last.sources.store(Arc::new(sources));
        return Ok(Next::Same(Arc::clone(last)));
    }
    // Never below the clock: a data folder restored from a backup must not offer versions that hosts have seen already.
    let after = last.map_or(1, |last| last.version.saturating_add(1));
    let valid_until = now.plus(ttl_secs);
    bundle.version = after.max(now.secs());
    (bundle.issued, bundle.valid_until) = (now.secs(), valid_until.secs());
    let signed_text = bundle.signed_text()?;
    let text = TrustBundle::with_signature(&signed_text, &sign(signer, BUNDLE_NAMESPACE, signed_text.as_bytes())?)?;
    let made = Made {
        etag: etag(text.as_bytes()),
        version: bundle.version,
        issued: now,
        valid_until,
        krl_version: bundle.krl_version,
        content,
        sources: ArcSwap::from_pointee(sources),
        text: Bytes::from(text),
    };
    let change = seal(&made.text)?;
    Ok(Next::New(Box::new(made), change))
}

/// The changes that forget the bundles of a store that was put back to an older state: the next ones have versions of the
/// clock's, which no host has seen.
///
/// # Errors
/// The store's.
pub(crate) fn forgotten(store: &dyn Store) -> Result<Vec<Change>, StoreError> {
    let rows = store.scan(Table::Settings)?.into_iter().map(|(key, _)| key);
    let bundles = rows.filter(|key| key.starts_with(BUNDLE_PREFIX));
    Ok(bundles.map(|key| Change::Delete(Table::Settings, key)).collect())
}

fn new_key(keyring: &Keyring) -> Result<SoftwareSigner, BundleError> {
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).map_err(BundleError::Key)?;
    let secret = signer.to_secret().map_err(BundleError::Key)?;
    let change = keyring.seal(Table::Settings, KEY, &secret)?;
    keyring.store().apply(vec![change]).wait()?;
    tracing::info!(fingerprint = signer.public_key().fingerprint(), "bundle key made");
    Ok(signer)
}

fn sign(signer: &SoftwareSigner, namespace: &str, message: &[u8]) -> Result<SshSignature, BundleError> {
    let data = signed_data(namespace, HashAlgorithm::Sha512, message)?;
    let blob = signer.sign(&data, AlgorithmSigner::Default).map_err(BundleError::Key)?;
    let key = signer.public_key().blob();
    Ok(SshSignature::new(key, namespace, HashAlgorithm::Sha512, &blob)?)
}

/// Why there is no trust bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The mount has no CA key: a bundle of it would let nobody in.
    #[error("the mount has no CA key yet")]
    NoCaKey,
    /// A stored bundle cannot be read.
    #[error("the stored trust bundle `{key}` cannot be read")]
    Damaged {
        /// Where it lies.
        key: String,
    },
    /// The bundle key cannot be made or used.
    #[error("the bundle key cannot be used")]
    Key(#[source] SignError),
    /// It could not be written out.
    #[error(transparent)]
    Text(#[from] trust_bundle::BundleError),
    /// It could not be signed.
    #[error(transparent)]
    Signature(#[from] SshSigError),
    /// The thread that makes bundles has crashed.
    #[error("the trust bundle could not be made")]
    Crashed,
    /// There is no revocation list for it.
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    /// The barrier failed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keyring failed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}
