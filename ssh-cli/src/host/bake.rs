//! Makes a host trust the authority, step by step: look, check the inputs, keep what is there, write the files that sshd
//! reads, let sshd judge the configuration, put it in place, prove it. Nothing names a file before it is whole, so that a
//! power cut at any step leaves a host that opens as before or by break-glass; a second run goes on where the first stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use signet_core::breakglass::BreakglassError;
use signet_core::krl::Krl;
use signet_core::subject_key::{KeyKind, SubjectKey};
use signet_core::time::UnixTime;
use signet_core::trust_bundle::{BundleError, VerifiedBundle};

use super::accounts::{self, Account};
use super::apply::{self, ApplyError, Breakglass, Trust};
use super::authorized_keys::{self, KeyLine, LineError};
use super::backup::{LAST, ORIGINAL, Snapshot};
use super::config_text;
use super::configure::{self, ConfigureError, Wish};
use super::files::{self, FOLDER, FileError, Files, PUBLIC};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::proof::{self, Check, ProofError};
use super::settings::{HostSettings, SettingsError};
use super::sshd::{Reload, Sshd, SshdError, SshdVersion, unit_options};
use super::state::State;

/// Where the trust comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A trust bundle's text; verified by the pinned keys.
    Bundle(String),
    /// The text of a file of CA keys, and who opens what: a host without an authority.
    CaKeys {
        /// Lines of keys.
        text: String,
        /// Account → principals.
        principals: BTreeMap<String, BTreeSet<String>>,
    },
    /// What the host holds already: a second run that mends.
    Held,
}

/// What bake is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where the trust comes from.
    pub source: Source,
    /// Keys that a bundle may be signed with, now and at the next sync.
    pub bundle_keys: Vec<SubjectKey>,
    /// The text of a break-glass file or document.
    pub breakglass: Option<String>,
    /// Changes to the host's settings.
    pub settings: HostSettings,
    /// `-o` options of sshd's unit beside those that are found.
    pub sshd_options: Vec<String>,
    /// `PerSourcePenaltyExemptList`.
    pub penalty_exempt: Option<String>,
    /// Whether to prove everything before it counts.
    pub prove: bool,
    /// Whether to keep what is there for a timer that puts it back.
    pub keep_last: bool,
    /// The process that is told to read its configuration again.
    pub sshd_pid: Option<u32>,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Baked {
    /// Files that changed.
    pub changed: Vec<PathBuf>,
    /// What works and is worth knowing.
    pub remarks: Vec<String>,
    /// The proof, if one was asked for.
    pub proof: Vec<Check>,
    /// How sshd was told.
    pub reload: Reload,
    /// sshd's version.
    pub sshd_version: SshdVersion,
    /// Options of sshd's unit.
    pub sshd_options: Vec<String>,
}

/// Nothing was changed, or everything was put back.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// Only root may.
    #[error("only root can bake a host")]
    NotRoot,
    /// sshd is missing or refuses what is there.
    #[error("sshd of this host cannot be used; nothing was changed")]
    Sshd(#[source] SshdError),
    /// The bundle is not believed.
    #[error("the trust bundle is refused; nothing was changed")]
    Bundle(#[source] BundleError),
    /// No key to verify the bundle with.
    #[error("there is no key to verify the trust bundle with")]
    NoBundleKey,
    /// A line of the CA file is none.
    #[error("line {line} of the CA keys is refused: {why}; nothing was changed")]
    CaKeys {
        /// Counted from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// A host that holds nothing was to be mended.
    #[error("this host holds no trust yet")]
    NothingHeld,
    /// The break-glass keys are not taken.
    #[error("the break-glass keys are refused; nothing was changed")]
    Breakglass(#[source] LineError),
    /// The break-glass document cannot be read.
    #[error("the break-glass document is refused; nothing was changed")]
    Document(#[source] BreakglassError),
    /// No key in the break-glass file.
    #[error("the break-glass file holds no key; nothing was changed")]
    NoBreakglassKey,
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// host.toml cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The trust cannot be put in force.
    #[error("the trust cannot be put in force")]
    Apply(#[from] ApplyError),
    /// The configuration is not taken.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// The break-glass account cannot be made.
    #[error("the account `breakglass` cannot be made: {0}")]
    Account(String),
    /// The proof could not be run.
    #[error("the proof could not be run; everything was put back")]
    Proof(#[from] ProofError),
    /// The proof found something.
    #[error("the proof failed, everything was put back: {}", .0.join("; "))]
    Disproved(Vec<String>),
    /// sshd runs on with what it has read before.
    #[error("sshd does not take over what was baked; everything was put back")]
    Reload(#[source] SshdError),
    /// It failed, and what was there could not be put back.
    #[error("{failed}; and what was there could not be put back")]
    NotRestored {
        /// What failed first.
        failed: String,
        /// Why it was not put back.
        #[source]
        source: FileError,
    },
}

/// Everything about the inputs, checked.
struct Checked {
    trust: Trust,
    bundle: Option<(VerifiedBundle, String)>,
    breakglass: Option<String>,
    remarks: Vec<String>,
}

/// Bakes a host.
///
/// # Errors
/// [`BakeError`]; what was there is then in place.
pub fn bake(files: &Files, layout: &Layout, order: &Order, now: UnixTime) -> Result<Baked, BakeError> {
    if !rustix::process::geteuid().is_root() {
        return Err(BakeError::NotRoot);
    }
    let mut options = unit_options(layout);
    options.extend(order.sshd_options.iter().cloned());
    let sshd = Sshd::find(layout, &options).map_err(BakeError::Sshd)?;
    let version = sshd.version().map_err(BakeError::Sshd)?;
    sshd.test().map_err(BakeError::Sshd)?;
    let checked = check(layout, order, now, &version)?;

    let account = accounts::find(layout, BREAKGLASS_ACCOUNT);
    let before = Snapshot::take(layout, now, account.is_some())?;
    let is_first = Snapshot::load(&layout.backup().join(ORIGINAL)).ok().flatten().is_none();
    if let Err(error) = keep(files, layout, &before, is_first, order.keep_last) {
        if is_first {
            forget(layout);
        }
        return Err(error.into());
    }

    let mut baked = Baked {
        changed: Vec::new(),
        remarks: checked.remarks.clone(),
        proof: Vec::new(),
        reload: Reload::NothingToTell(String::new()),
        sshd_version: version,
        sshd_options: options,
    };
    let steps = steps(files, layout, order, &checked, &sshd, account.as_ref(), &mut baked, now);
    if let Err(error) = steps {
        if account.is_none() && accounts::find(layout, BREAKGLASS_ACCOUNT).is_some() {
            drop(remove_account(layout));
        }
        return Err(match before.restore(files, layout, false) {
            Ok(_) => {
                if is_first {
                    forget(layout);
                }
                error
            }
            Err(source) => BakeError::NotRestored {
                failed: error.to_string(),
                source,
            },
        });
    }
    Ok(baked)
}

/// Keeps what is there, for `undo` and for the timer of `-safety`.
fn keep(files: &Files, layout: &Layout, before: &Snapshot, is_first: bool, keep_last: bool) -> Result<(), FileError> {
    files.folder(&layout.folder(), FOLDER)?;
    if is_first {
        before.save(files, &layout.backup().join(ORIGINAL))?;
    }
    if keep_last {
        before.save(files, &layout.backup().join(LAST))?;
    }
    Ok(())
}

/// Leaves nothing of a first bake that came to nothing, lest `undo` go back to a state that somebody has changed since.
fn forget(layout: &Layout) {
    drop(std::fs::remove_dir_all(layout.backup()));
    for folder in [layout.principals(), layout.folder()] {
        // One that is not empty has files of others, and stays.
        drop(std::fs::remove_dir(folder));
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the steps of one function, apart for their common way back"
)]
fn steps(
    files: &Files,
    layout: &Layout,
    order: &Order,
    checked: &Checked,
    sshd: &Sshd,
    account: Option<&Account>,
    baked: &mut Baked,
    now: UnixTime,
) -> Result<(), BakeError> {
    if let Some(text) = &checked.breakglass {
        breakglass(files, layout, text, account, baked, now)?;
    }
    match &checked.bundle {
        Some((bundle, text)) => {
            let tags = &order.settings.tags;
            let applied = apply::apply_bundle(files, layout, bundle, text, tags)?;
            baked.changed.extend(applied.changed);
            if let Breakglass::Refused(why) = applied.breakglass {
                baked
                    .remarks
                    .push(format!("the break-glass document in the bundle is not believed: {why}"));
            }
        }
        None => baked.changed.extend(apply::apply_trust(files, layout, &checked.trust)?),
    }
    let brings_keys = checked
        .bundle
        .as_ref()
        .is_some_and(|(bundle, _)| !bundle.bundle_keys().is_empty());
    if !brings_keys && !order.bundle_keys.is_empty() {
        let text = apply::key_file(&order.bundle_keys);
        if files.put(&layout.bundle_keys(), text.as_bytes(), PUBLIC)? {
            baked.changed.push(layout.bundle_keys());
        }
    }
    if order.settings.write(files, layout)? {
        baked.changed.push(layout.settings());
    }
    let mut wish = Wish::found(layout)?;
    wish.allow_breakglass = wish.breakglass && configure::needs_allow(layout, sshd).map_err(BakeError::Sshd)?;
    if let Some(networks) = &order.penalty_exempt {
        if configure::knows_penalties(&baked.sshd_version) {
            wish.penalty_exempt = Some(networks.clone());
        } else {
            baked.remarks.push(format!(
                "sshd {} has no PerSourcePenalties: there is nothing to exempt from",
                baked.sshd_version
            ));
        }
    }
    let configured = configure::configure(files, layout, &baked.sshd_options, &wish)?;
    baked.changed.extend(configured.changed);
    baked.remarks.extend(configured.remarks);
    if order.prove {
        baked.proof = proof::prove(files, layout, &baked.sshd_options, &wish)?;
        let failed: Vec<String> = baked.proof.iter().filter_map(Check::failure).collect();
        if !failed.is_empty() {
            return Err(BakeError::Disproved(failed));
        }
    }
    baked.reload = sshd.reload(order.sshd_pid).map_err(BakeError::Reload)?;
    Ok(())
}

fn check(layout: &Layout, order: &Order, now: UnixTime, version: &SshdVersion) -> Result<Checked, BakeError> {
    let mut remarks = Vec::new();
    let (trust, bundle) = match &order.source {
        Source::Bundle(text) => {
            let mut pinned = order.bundle_keys.clone();
            pinned.extend(held_bundle_keys(layout)?);
            if pinned.is_empty() {
                return Err(BakeError::NoBundleKey);
            }
            let mount = &order.settings.mount;
            let held = held_bundle(layout, &pinned)?.filter(|(held, _)| held.bundle().mount == *mount);
            let of_held = held.map_or(0, |(held, _)| held.bundle().version);
            // The bundle in place may be damaged; what sync has seen counts as well.
            let seen = State::load(layout).map_or(0, |state| state.newest_of(mount));
            let newest = of_held.max(seen);
            let bundle = VerifiedBundle::open(text, &pinned, mount, now, newest).map_err(BakeError::Bundle)?;
            (trust_of(&bundle, order), Some((bundle, text.clone())))
        }
        Source::CaKeys { text, principals } => {
            let trust = Trust {
                user_ca_keys: ca_keys(text)?,
                host_ca_keys: Vec::new(),
                krl: held_krl(layout)?.unwrap_or_else(|| apply::empty_krl(now)),
                principals: principals.clone(),
            };
            (trust, None)
        }
        Source::Held => held(layout, order, now)?,
    };
    let text = match &order.breakglass {
        Some(text) => Some(breakglass_lines(text)?),
        None => files::read_text(&layout.breakglass_keys())?,
    };
    match &text {
        Some(text) => {
            let lines = authorized_keys::breakglass(text).map_err(BakeError::Breakglass)?;
            if lines.is_empty() {
                return Err(BakeError::NoBreakglassKey);
            }
            remarks.extend(breakglass_remarks(&lines, version));
        }
        None => remarks.push(
            "there is no break-glass key: when the CA file or the KRL is damaged nobody gets in (-breakglass)"
                .to_owned(),
        ),
    }
    if is_fips(layout) && trust.user_ca_keys.iter().any(|key| key.kind() == KeyKind::Ed25519) {
        remarks.push("this host is in FIPS mode, where sshd refuses Ed25519: use an ECDSA P-256 CA key".to_owned());
    }
    if trust.principals.is_empty() {
        remarks.push("no account lists a principal: no certificate opens anything here yet".to_owned());
    }
    Ok(Checked {
        trust,
        bundle,
        breakglass: text,
        remarks,
    })
}

fn trust_of(bundle: &VerifiedBundle, order: &Order) -> Trust {
    Trust {
        user_ca_keys: bundle.user_ca_keys().to_vec(),
        host_ca_keys: bundle.host_ca_keys().to_vec(),
        krl: bundle.krl().to_vec(),
        principals: signet_core::host_policy::principals_by_account(&bundle.bundle().rules, &order.settings.tags),
    }
}

/// What the host holds: its bundle, else its files.
fn held(layout: &Layout, order: &Order, now: UnixTime) -> Result<(Trust, Option<(VerifiedBundle, String)>), BakeError> {
    if let Some((bundle, text)) = held_bundle(layout, &held_bundle_keys(layout)?)? {
        return Ok((trust_of(&bundle, order), Some((bundle, text))));
    }
    let text = files::read_text(&layout.user_ca_keys())?.ok_or(BakeError::NothingHeld)?;
    let mut principals: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in config_text::glob(&layout.principals(), "*") {
        let account = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lines = files::read_text(&path)?.unwrap_or_default();
        let names = lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned);
        principals.insert(account, names.collect());
    }
    let trust = Trust {
        user_ca_keys: ca_keys(&text)?,
        host_ca_keys: Vec::new(),
        krl: held_krl(layout)?.unwrap_or_else(|| apply::empty_krl(now)),
        principals,
    };
    Ok((trust, None))
}

fn held_bundle_keys(layout: &Layout) -> Result<Vec<SubjectKey>, FileError> {
    let text = files::read_text(&layout.bundle_keys())?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| SubjectKey::parse(line).ok()).collect())
}

/// The bundle in place, if it is whole.
fn held_bundle(layout: &Layout, keys: &[SubjectKey]) -> Result<Option<(VerifiedBundle, String)>, FileError> {
    let Some(text) = files::read_text(&layout.bundle())? else {
        return Ok(None);
    };
    let verified = VerifiedBundle::open_held(&text, keys).ok();
    Ok(verified.map(|bundle| (bundle, text)))
}

/// The KRL in place, if sshd can read it: revocations are never dropped for a new CA file.
fn held_krl(layout: &Layout) -> Result<Option<Vec<u8>>, FileError> {
    let bytes = files::read(&layout.krl())?;
    Ok(bytes.filter(|bytes| Krl::parse(bytes).is_ok()))
}

/// Every line of a CA file has to be one bare public key: sshd stops reading at the first that is not, without a word.
fn ca_keys(text: &str) -> Result<Vec<SubjectKey>, BakeError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: String| BakeError::CaKeys { line: index + 1, why };
        let comment = line.split_ascii_whitespace().skip(2);
        if comment
            .clone()
            .any(|word| word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-"))
        {
            return Err(wrong(
                "it holds two keys, and sshd takes the second for a comment".to_owned(),
            ));
        }
        keys.push(SubjectKey::parse(line).map_err(|error| wrong(error.to_string()))?);
    }
    if keys.is_empty() {
        return Err(BakeError::CaKeys {
            line: 1,
            why: "there is no key in the file".to_owned(),
        });
    }
    Ok(keys)
}

/// The lines of a break-glass document, or the text itself. Whoever bakes an image says what its first break-glass keys are;
/// only later ones need a signature of a key in place.
fn breakglass_lines(text: &str) -> Result<String, BakeError> {
    if text.starts_with(signet_core::breakglass::HEADER) {
        signet_core::breakglass::first(text).map_err(BakeError::Document)
    } else {
        Ok(text.to_owned())
    }
}

fn breakglass_remarks(lines: &[KeyLine], version: &SshdVersion) -> Vec<String> {
    let mut remarks = Vec::new();
    let security_keys = lines.iter().filter(|line| line.key.kind().is_security_key()).count();
    if security_keys > 0 && !version.is_at_least(8, 2) {
        remarks.push(format!(
            "sshd {version} does not know security keys: those break-glass lines open nothing"
        ));
    }
    let ends = lines.iter().filter(|line| line.has("expiry-time")).count();
    if ends == lines.len() {
        remarks.push(
            "every break-glass key has an expiry: with a clock at 1970 or past it none opens this host".to_owned(),
        );
    }
    remarks
}

fn is_fips(layout: &Layout) -> bool {
    let path = layout.root().join("proc/sys/crypto/fips_enabled");
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

/// Account, its own KRL, its keys: in this order, so that the keys file never stands without what it needs.
fn breakglass(
    files: &Files,
    layout: &Layout,
    text: &str,
    account: Option<&Account>,
    baked: &mut Baked,
    now: UnixTime,
) -> Result<(), BakeError> {
    let account = if let Some(account) = account {
        account.clone()
    } else {
        host_program(layout, "useradd", &["-m", "-s", "/bin/bash", BREAKGLASS_ACCOUNT])?;
        accounts::find(layout, BREAKGLASS_ACCOUNT)
            .ok_or_else(|| BakeError::Account("useradd has made none".to_owned()))?
    };
    // `!` locks the account for an sshd without PAM; `*` is no password and no lock.
    if account.password.as_deref() != Some("*") {
        host_program(layout, "usermod", &["-p", "*", BREAKGLASS_ACCOUNT])?;
    }
    if !account.has_shell() {
        return Err(BakeError::Account(format!(
            "it is there, with the shell `{}`",
            account.shell
        )));
    }
    let groups = account.root_equivalent_groups().join(", ");
    if !groups.is_empty() {
        baked
            .remarks
            .push(format!("`breakglass` is in {groups}, which makes it root"));
    }
    let held = files::read(&layout.breakglass_krl())?;
    let krl = held
        .filter(|bytes| Krl::parse(bytes).is_ok())
        .unwrap_or_else(|| apply::empty_krl(now));
    if files.put(&layout.breakglass_krl(), &krl, PUBLIC)? {
        baked.changed.push(layout.breakglass_krl());
    }
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    if files.put(&layout.breakglass_keys(), text.as_bytes(), PUBLIC)? {
        baked.changed.push(layout.breakglass_keys());
    }
    Ok(())
}

/// Removes the break-glass account with its home.
///
/// # Errors
/// [`BakeError::Account`]
pub fn remove_account(layout: &Layout) -> Result<(), BakeError> {
    host_program(layout, "userdel", &["-r", BREAKGLASS_ACCOUNT])
}

fn host_program(layout: &Layout, program: &str, words: &[&str]) -> Result<(), BakeError> {
    let mut command: Command = Sshd::host_command(layout.root(), program);
    let output = command
        .args(words)
        .output()
        .map_err(|error| BakeError::Account(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(BakeError::Account(format!("{program}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8x3pKbTNxtA7+dGyMHzCwY5yH5SLBlD+3GD1Lp3QmV";

    #[test]
    fn a_ca_file_is_taken_whole_or_not_at_all() {
        assert_eq!(
            ca_keys(&format!("# ours\r\n{KEY} ca 2026\r\n\n{KEY}")).unwrap().len(),
            2
        );
        for (text, want) in [
            (
                String::new(),
                "line 1 of the CA keys is refused: there is no key in the file; nothing was changed",
            ),
            (
                format!("{KEY}\ncert-authority {KEY}\n"),
                "line 2 of the CA keys is refused: it is not the line of a public key file; nothing was changed",
            ),
            (
                format!("{KEY} x {KEY}\n"),
                "line 1 of the CA keys is refused: it holds two keys, and sshd takes the second for a comment; nothing \
                 was changed",
            ),
            (
                "ssh-ed25519-cert-v01@openssh.com AAAA\n".to_owned(),
                "line 1 of the CA keys is refused: the key's bytes are damaged; nothing was changed",
            ),
        ] {
            assert_eq!(ca_keys(&text).unwrap_err().to_string(), want, "{text}");
        }
    }
}
