//! From what is wanted to what it hits: the certificates in the ledger, and what goes into the list for them. What is shown
//! is what is revoked, and nothing else (CVE-2025-66406).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use signet_core::ledger::{EventKind, Query};
use signet_core::serial::NodeId;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use super::list::{fingerprint, sha256};
use super::{Changing, Reach, Selector};
use crate::authority::Authority;
use crate::certificates::{Certificate, Wanted, by_serial, oldest_issue, search};
use crate::ledger::{FILE, Reader};
use crate::mounts::Mount;

/// Where to look.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The ledger's file.
    pub ledger: std::path::PathBuf,
    /// The node that writes it.
    pub node: NodeId,
    /// The mount's path.
    pub mount: String,
    /// The longest lifetime that was ever issued.
    pub longest_secs: u64,
    /// Blobs of the CA keys whose certificates may live.
    pub authorities: Vec<Vec<u8>>,
    /// The time.
    pub now: UnixTime,
}

impl Ground {
    /// All that an authority knows of a mount whose list is being changed.
    #[must_use]
    pub fn of(authority: &Authority, mount: &Mount, changing: &Changing<'_>, now: UnixTime) -> Self {
        let issuers = mount.issuers();
        let keys = issuers.iter().map(|issuer| issuer.signer().public_key());
        let longest_secs = authority.longest.secs();
        Self {
            ledger: authority.config.data.join(FILE),
            node: authority.config.node,
            mount: mount.path().to_owned(),
            longest_secs,
            authorities: changing.authorities(keys, now, longest_secs),
            now,
        }
    }
}

/// Certificates that are shown one by one; all are counted, and all are revoked. A million of them would not fit in memory.
pub const HITS_SHOWN: usize = 1000;

/// What a selection comes down to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The certificates that it hits, the newest first; no more than [`HITS_SHOWN`].
    pub hits: Vec<Certificate>,
    /// How many it hits.
    pub total: u64,
    /// What goes into the list; nothing when nothing was hit.
    pub reach: Option<Reach>,
    /// When the last of them ends, if nothing else can be hit.
    pub until: Option<UnixTime>,
    /// What whoever asks should know.
    pub warnings: Vec<String>,
}

/// Why a selection cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The mount has no CA key, so it never signed anything.
    #[error("the mount has no CA key, so there is nothing to revoke")]
    NoCaKey,
    /// A certificate of another mount: whoever may revoke here need not be allowed to revoke there.
    #[error("certificate {serial} was issued by the mount `{mount}`, revoke it there")]
    OtherMount {
        /// The serial.
        serial: u64,
        /// Whose it is.
        mount: String,
    },
    /// Not a CA key of this mount.
    #[error("`{0}` is no CA key of this mount")]
    UnknownIssuer(String),
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Ledger(#[from] rusqlite::Error),
}

/// What a search has found so far.
#[derive(Debug, Default)]
struct Found {
    shown: Vec<Certificate>,
    serials: Vec<u64>,
    /// When the last of them ends.
    until: Option<UnixTime>,
}

impl Found {
    fn add(&mut self, certificate: Certificate) {
        self.serials.push(certificate.number());
        self.until = self.until.max(Some(certificate.ends()));
        if self.shown.len() < HITS_SHOWN {
            self.shown.push(certificate);
        }
    }

    fn total(&self) -> u64 {
        u64::try_from(self.serials.len()).unwrap_or(u64::MAX)
    }
}

/// Finds what `selector` hits. Reads the ledger, so it belongs off the network threads.
///
/// # Errors
/// [`ResolveError`]
pub fn resolve(selector: &Selector, ground: &Ground) -> Result<Resolution, ResolveError> {
    if ground.authorities.is_empty() {
        return Err(ResolveError::NoCaKey);
    }
    if let Some(issuer) = &selector.issuer {
        return by_issuer(issuer, ground);
    }
    let by_key_alone = Selector {
        public_key: selector.public_key.clone(),
        fingerprint: selector.fingerprint,
        ..Selector::default()
    };
    let by_key_id_alone = Selector {
        key_id: selector.key_id.clone(),
        ..Selector::default()
    };
    let by_serial_alone = Selector {
        serials: selector.serials.clone(),
        ..Selector::default()
    };
    if *selector == by_key_alone {
        by_key(selector, ground)
    } else if *selector == by_key_id_alone {
        by_key_id(selector, ground)
    } else if *selector == by_serial_alone {
        by_serials(&selector.serials, ground)
    } else {
        by_record(selector, ground)
    }
}

/// The CA key itself: all it signed and all it will sign.
fn by_issuer(issuer: &str, ground: &Ground) -> Result<Resolution, ResolveError> {
    let unknown = || ResolveError::UnknownIssuer(issuer.chars().take(80).collect());
    let hash = match SubjectKey::parse(issuer) {
        Ok(key) => *key.sha256(),
        Err(_) => fingerprint(issuer).ok_or_else(unknown)?,
    };
    let blob = ground.authorities.iter().find(|blob| sha256(blob) == hash);
    let blob = blob.ok_or_else(unknown)?.clone();
    let shown = SubjectKey::from_blob(blob.clone()).map_or_else(|_| issuer.to_owned(), |key| key.fingerprint());
    let mut found = Found::default();
    each_live(&Selector::default(), ground, |hit| {
        if hit.ca_fingerprint.as_ref().is_none_or(|signed_by| *signed_by == shown) {
            found.add(hit);
        }
    })?;
    Ok(Resolution {
        total: found.total(),
        hits: found.shown,
        reach: Some(Reach {
            keys: vec![blob],
            ..Reach::default()
        }),
        until: None,
        warnings: vec![format!(
            "this revokes the CA key {shown} itself: every certificate that it signed or will sign is refused by every host \
             that has the new list; until hosts trust another CA key, only other ways in are left"
        )],
    })
}

/// A subject key: its certificates of today and tomorrow, and the plain key.
fn by_key(selector: &Selector, ground: &Ground) -> Result<Resolution, ResolveError> {
    let reach = match (&selector.public_key, selector.fingerprint) {
        (Some(key), _) => Reach {
            keys: vec![key.blob().to_vec()],
            ..Reach::default()
        },
        (None, hash) => Reach {
            sha256: hash.into_iter().collect(),
            ..Reach::default()
        },
    };
    let hash = selector
        .fingerprint
        .or(selector.public_key.as_ref().map(|key| *key.sha256()));
    let mut warnings = vec![
        "hosts refuse this key from now on in every certificate and also as a plain key in authorized_keys".to_owned(),
    ];
    if ground.authorities.iter().any(|blob| Some(sha256(blob)) == hash) {
        warnings.push(
            "this is a CA key of this mount: every certificate that it signed or will sign is refused".to_owned(),
        );
    }
    let found = live(selector, ground)?;
    Ok(Resolution {
        total: found.total(),
        hits: found.shown,
        reach: Some(reach),
        until: None,
        warnings,
    })
}

/// A key ID: certificates of today and tomorrow that carry it.
fn by_key_id(selector: &Selector, ground: &Ground) -> Result<Resolution, ResolveError> {
    let found = live(selector, ground)?;
    Ok(Resolution {
        total: found.total(),
        hits: found.shown,
        reach: Some(Reach {
            authorities: ground.authorities.clone(),
            key_ids: selector.key_id.iter().cloned().collect(),
            ..Reach::default()
        }),
        until: None,
        warnings: vec![
            "later certificates with this key ID are refused too, until this revocation is removed".to_owned(),
        ],
    })
}

/// Serials, whether the ledger knows them or not.
fn by_serials(serials: &BTreeSet<u64>, ground: &Ground) -> Result<Resolution, ResolveError> {
    let reader = Reader::open(&ground.ledger)?;
    let (mut hits, mut warnings, mut unknown) = (Found::default(), Vec::new(), false);
    for serial in serials.iter().rev() {
        match by_serial(&reader, ground.node, *serial)? {
            Some(found) if found.mount != ground.mount => {
                return Err(ResolveError::OtherMount {
                    serial: *serial,
                    mount: found.mount,
                });
            }
            Some(found) => {
                if !found.is_live(ground.now) {
                    warnings.push(format!(
                        "certificate {serial} has ended already, at {}",
                        found.valid_before
                    ));
                }
                hits.add(found);
            }
            None => {
                unknown = true;
                warnings.push(format!(
                    "no certificate {serial} is in this ledger: it is revoked all the same, and stays so until this revocation \
                     is removed"
                ));
            }
        }
    }
    Ok(Resolution {
        reach: Some(Reach {
            authorities: ground.authorities.clone(),
            serials: serials.iter().copied().collect(),
            key_ids: unique_key_ids(&hits, ground)?,
            ..Reach::default()
        }),
        until: hits.until.filter(|_| !unknown),
        total: hits.total(),
        hits: hits.shown,
        warnings,
    })
}

/// Whatever fits and lives, by its serials.
fn by_record(selector: &Selector, ground: &Ground) -> Result<Resolution, ResolveError> {
    let hits = live(selector, ground)?;
    let mut warnings = Vec::new();
    if hits.serials.is_empty() {
        warnings.push("no live certificate fits: there is nothing to revoke".to_owned());
        return Ok(Resolution {
            warnings,
            ..Resolution::default()
        });
    }
    if selector.person.is_some() || selector.role.is_some() {
        warnings.push(
            "only certificates that live now are revoked: whoever may still log in gets new ones; take them out of the group \
             or out of people.toml first"
                .to_owned(),
        );
    }
    Ok(Resolution {
        reach: Some(Reach {
            authorities: ground.authorities.clone(),
            key_ids: unique_key_ids(&hits, ground)?,
            serials: hits.serials.iter().copied().collect(),
            ..Reach::default()
        }),
        until: hits.until,
        total: hits.total(),
        hits: hits.shown,
        warnings,
    })
}

fn live(selector: &Selector, ground: &Ground) -> Result<Found, ResolveError> {
    let mut found = Found::default();
    each_live(selector, ground, |hit| found.add(hit))?;
    Ok(found)
}

fn each_live(selector: &Selector, ground: &Ground, mut show: impl FnMut(Certificate)) -> Result<(), ResolveError> {
    let wanted = Wanted {
        mount: ground.mount.clone(),
        query: Query {
            person: selector.person.clone(),
            role: selector.role.clone(),
            key_id: selector.key_id.clone(),
            fingerprint: selector.subject_fingerprint(),
            event: Some(EventKind::Issue),
            since: selector.issued_since,
            until: selector.issued_until,
            ..Query::default()
        },
        serials: selector.serials.clone(),
        live_at: Some(ground.now),
        ..Wanted::default()
    };
    let oldest = oldest_issue(ground.now, ground.longest_secs);
    search(&ground.ledger, &wanted, Some(oldest), |found| {
        show(found);
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// Key IDs that stand for one of these certificates alone, and go into the list beside its serial. A key ID made of person or
/// key (Vault's default is both) will be that of the next certificate too, which nobody asked to revoke. Of more certificates
/// than are shown, serials are enough.
fn unique_key_ids(hits: &Found, ground: &Ground) -> Result<Vec<String>, ResolveError> {
    if hits.serials.len() > hits.shown.len() {
        return Ok(Vec::new());
    }
    let mut counts: BTreeMap<&str, u32> = hits
        .shown
        .iter()
        .filter(|hit| !names_person_or_key(hit))
        .map(|hit| (hit.key_id.as_str(), 0))
        .collect();
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let of_mount = Wanted {
        mount: ground.mount.clone(),
        ..Wanted::default()
    };
    let oldest = oldest_issue(ground.now, ground.longest_secs);
    search(&ground.ledger, &of_mount, Some(oldest), |found| {
        if let Some(count) = counts.get_mut(found.key_id.as_str()) {
            *count = count.saturating_add(1);
        }
        ControlFlow::Continue(())
    })?;
    let unique = counts.into_iter().filter(|(_, count)| *count == 1);
    Ok(unique.map(|(key_id, _)| key_id.to_owned()).collect())
}

fn names_person_or_key(hit: &Certificate) -> bool {
    let holds = |text: &str| !text.is_empty() && hit.key_id.contains(&signet_core::key_id::sanitized(text));
    let hash = fingerprint(&hit.fingerprint).map(|hash| data_encoding::HEXLOWER.encode(&hash));
    // Vault's names begin with the login method: `token-alice` is alice.
    let name = hit.display_name.split_once('-').map_or("", |(_, name)| name);
    let last = hit.person.rsplit('/').next().unwrap_or_default();
    holds(&hit.person)
        || holds(last)
        || holds(&hit.display_name)
        || holds(name)
        || holds(&hit.role)
        || hit.principals.iter().any(|principal| holds(principal))
        || hash.is_some_and(|hash| holds(&hash))
}
