//! The files that sshd and we read: CA keys, KRL, principals, break-glass keys, bundle, host certificate.

use std::collections::BTreeSet;

use signet_core::inspect::{Severity as OddSeverity, SignatureState, inspect};
use signet_core::krl::{Krl, KrlError};
use signet_core::subject_key::SubjectKey;
use signet_core::trust_bundle::{BundleError, VerifiedBundle};

use super::{BEHIND_SECS_MAX, Look};
use crate::host::layout::BREAKGLASS_ACCOUNT;
use crate::host::state::State;
use crate::host::{accounts, authorized_keys, config_text, files};

const AGAIN: &str = "`signet host sync`, or `signet host bake` again";

impl Look<'_> {
    pub(super) fn ca_keys(&mut self) {
        let path = self.layout.user_ca_keys();
        let Ok(text) = files::read_text(&path) else {
            return self.note("ca-keys", "the CA file cannot be read", "run as root");
        };
        let Some(text) = text else {
            return self.problem(
                "ca-keys",
                "there is no CA file: sshd starts, and refuses every certificate without a word in its log",
                AGAIN,
            );
        };
        // sshd stops reading at the first line that it does not understand.
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            match SubjectKey::parse(line) {
                Ok(key) if config_text::shell_words(line).len() > 2 && line.contains(" ssh-") => {
                    self.trusts.user_ca_keys.push(key.fingerprint());
                    self.problem(
                        "ca-keys",
                        format!("line {number} of the CA file holds two keys: sshd takes the second for a comment"),
                        AGAIN,
                    );
                }
                Ok(key) => self.trusts.user_ca_keys.push(key.fingerprint()),
                Err(error) => {
                    self.problem(
                        "ca-keys",
                        format!("line {number} of the CA file is no CA key ({error}): sshd reads nothing behind it"),
                        AGAIN,
                    );
                    break;
                }
            }
        }
        if self.trusts.user_ca_keys.is_empty() {
            self.problem(
                "ca-keys",
                "the CA file holds no key: every certificate is refused",
                AGAIN,
            );
        }
        self.modes(
            "ca-keys",
            &path,
            "whoever can write it can add a CA of his own, and sshd does not look",
        );
    }

    pub(super) fn krl(&mut self) {
        let path = self.layout.krl();
        let Ok(bytes) = files::read(&path) else {
            return self.problem(
                "krl",
                "the KRL cannot be read: if sshd cannot either, every login with a key fails",
                AGAIN,
            );
        };
        match bytes.as_deref().map(Krl::parse) {
            None => self.problem(
                "krl",
                "there is no KRL: every login with a key fails, but for the break-glass account",
                AGAIN,
            ),
            Some(Ok(krl)) => self.trusts.krl_version = Some(krl.version),
            Some(Err(_)) if bytes.as_deref().is_some_and(<[u8]>::is_empty) => {
                self.problem("krl", "the KRL has 0 bytes: it revokes nothing", AGAIN);
            }
            Some(Err(error)) => {
                let why = match error {
                    KrlError::Damaged => "is damaged".to_owned(),
                    KrlError::NotAKrl => "is no KRL".to_owned(),
                    KrlError::Unknown(what) => format!("holds what sshd does not read ({what})"),
                };
                self.problem(
                    "krl",
                    format!("the KRL {why}: every login with a key fails, but for the break-glass account"),
                    AGAIN,
                );
            }
        }
        self.modes("krl", &path, "whoever can write it can take revocations back");
    }

    pub(super) fn principals(&mut self) {
        let folder = self.layout.principals();
        let known: BTreeSet<String> = accounts::all(self.layout)
            .into_iter()
            .map(|account| account.name)
            .collect();
        let mut is_any = false;
        for path in config_text::glob(&folder, "*") {
            let account = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(Some(text)) = files::read_text(&path) else {
                continue;
            };
            is_any = true;
            let mut names = Vec::new();
            for (index, line) in text.split('\n').enumerate() {
                let number = index + 1;
                let trimmed = line.trim_matches([' ', '\t']);
                if trimmed.is_empty() || trimmed.starts_with('#') {
                    continue;
                }
                let why = if trimmed.ends_with('\r') {
                    "ends in CR LF"
                } else if trimmed.contains(',') && !trimmed.contains('"') {
                    "is a list with commas, which sshd reads as one name"
                } else {
                    ""
                };
                if why.is_empty() {
                    names.push(trimmed.to_owned());
                } else {
                    self.problem(
                        "principals",
                        format!("line {number} of the principals of `{account}` {why}: nobody has that principal"),
                        AGAIN,
                    );
                }
            }
            if !known.is_empty() && !known.contains(&account) {
                self.note(
                    "principals",
                    format!("there are principals for `{account}`, an account that this host does not have"),
                    "make the account, or leave it",
                );
            }
            self.modes("principals", &path, "sshd then refuses every certificate for it");
            self.trusts.accounts.insert(account, names);
        }
        if !is_any {
            self.warn(
                "principals",
                "no account lists a principal: no certificate opens anything here",
                "check the tags of this host and the authority's hosts.toml",
            );
        }
    }

    pub(super) fn breakglass(&mut self) {
        let path = self.layout.breakglass_keys();
        let Ok(Some(text)) = files::read_text(&path) else {
            return self.warn(
                "breakglass",
                "there is no break-glass key: when the CA file or the KRL is damaged nobody gets in",
                "`signet breakglass new` and `signet host bake -breakglass=…`",
            );
        };
        let lines: Vec<_> = authorized_keys::lines(&text).collect();
        let today = self.now.to_string().replace(['-', ':', 'T', 'Z'], "");
        let mut is_usable = false;
        for line in &lines {
            match line {
                Ok(line) => {
                    self.trusts.breakglass_keys.push(line.key.fingerprint());
                    let ended = line
                        .value("expiry-time")
                        .is_some_and(|end| today.as_str() >= end.trim_end_matches('Z'));
                    if ended {
                        let number = line.line;
                        self.warn(
                            "breakglass",
                            format!("the break-glass key on line {number} has expired"),
                            "`signet breakglass rotate`",
                        );
                    } else {
                        is_usable = true;
                    }
                }
                Err(error) => self.problem(
                    "breakglass",
                    format!("the break-glass keys: {error}"),
                    "`signet host bake -breakglass=…` again",
                ),
            }
        }
        if !is_usable {
            self.problem(
                "breakglass",
                "no break-glass key can be used",
                "`signet host bake -breakglass=…` again",
            );
        }
        self.modes("breakglass", &path, "sshd then refuses the break-glass keys");
        self.breakglass_account();
        self.breakglass_krl();
        self.breakglass_options();
    }

    fn breakglass_account(&mut self) {
        let Some(account) = accounts::find(self.layout, BREAKGLASS_ACCOUNT) else {
            return self.problem(
                "breakglass",
                "there is no account `breakglass`",
                "`signet host bake` again",
            );
        };
        let pam = self
            .effective
            .as_ref()
            .map(|answers| answers.breakglass.one("usepam") == "yes");
        if account.is_locked() == Some(true) && pam == Some(false) {
            self.problem(
                "breakglass",
                "the password of `breakglass` is locked with `!`, and sshd without PAM takes that for a locked account",
                "`usermod -p '*' breakglass`",
            );
        }
        if !account.has_shell() {
            self.problem(
                "breakglass",
                format!("the shell of `breakglass` is `{}`", account.shell),
                "`usermod -s /bin/bash breakglass`",
            );
        }
        let groups = account.root_equivalent_groups().join(", ");
        if !groups.is_empty() {
            self.warn(
                "breakglass",
                format!("`breakglass` is in {groups}, which makes it root"),
                "give it what it needs through sudoers, where it is logged",
            );
        }
    }

    fn breakglass_krl(&mut self) {
        let path = self.layout.breakglass_krl();
        let parsed = files::read(&path).ok().flatten().map(|bytes| Krl::parse(&bytes));
        if !matches!(parsed, Some(Ok(_))) {
            self.problem(
                "breakglass",
                "the break-glass account's own KRL is missing or damaged: the break-glass keys are refused",
                "`signet host bake` again",
            );
        }
        self.modes(
            "breakglass",
            &path,
            "whoever can write it can shut the break-glass account",
        );
    }

    fn breakglass_options(&mut self) {
        let Some(answers) = &self.effective else { return };
        let inside = crate::host::layout::Layout::default();
        let wanted = [
            ("authorizedkeysfile", inside.breakglass_keys().display().to_string()),
            ("revokedkeys", inside.breakglass_krl().display().to_string()),
            ("trustedusercakeys", "none".to_owned()),
        ];
        let mut wrong = Vec::new();
        for (keyword, wanted) in wanted {
            let found = answers.breakglass.one(keyword);
            if found != wanted {
                let place = crate::host::configure::place(&answers.sshd, &answers.config, keyword, found);
                wrong.push(format!(
                    "for `breakglass` sshd's {keyword} is `{found}`, not `{wanted}` ({place})"
                ));
            }
        }
        let groups = accounts::find(self.layout, BREAKGLASS_ACCOUNT).map(|account| account.groups);
        let groups = groups.unwrap_or_default();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        if let Some(rule) = crate::host::configure::kept_out(&answers.breakglass, BREAKGLASS_ACCOUNT, &groups) {
            wrong.push(format!("`{rule}` keeps `breakglass` out"));
        }
        for text in wrong {
            self.problem(
                "breakglass",
                text,
                "`signet host bake` again, which says what is in the way",
            );
        }
    }

    pub(super) fn bundle(&mut self) {
        let (Ok(text), Ok(keys)) = (
            files::read_text(&self.layout.bundle()),
            files::read_text(&self.layout.bundle_keys()),
        ) else {
            return self.note("bundle", "the trust bundle cannot be read", "run as root");
        };
        let Some(text) = text else {
            return self.note(
                "bundle",
                "this host holds no trust bundle: nobody can tell it of a revocation",
                "`signet host bake -bundle=… -bundle-key=…`, or `signet host enroll`",
            );
        };
        let keys = keys.unwrap_or_default();
        let pinned: Vec<SubjectKey> = keys.lines().filter_map(|line| SubjectKey::parse(line).ok()).collect();
        let verified = match VerifiedBundle::open_held(&text, &pinned) {
            Ok(verified) => verified,
            Err(BundleError::Krl(error)) => {
                return self.problem(
                    "bundle",
                    format!("the trust bundle's KRL cannot be used: {error}"),
                    AGAIN,
                );
            }
            Err(error) => return self.problem("bundle", format!("the trust bundle in place: {error}"), AGAIN),
        };
        let bundle = verified.bundle();
        self.trusts.bundle_version = Some(bundle.version);
        self.trusts.bundle_valid_until = Some(bundle.valid_until);
        let ended = signet_core::time::UnixTime::from_secs(bundle.valid_until);
        let issued = signet_core::time::UnixTime::from_secs(bundle.issued);
        if self.now >= ended {
            self.problem(
                "bundle",
                format!("the trust bundle was valid until {ended}: this host does not hear of revocations"),
                "`systemctl status signet-host-sync.timer`, then `signet host sync`",
            );
        }
        if self.now.plus(BEHIND_SECS_MAX) < issued {
            self.problem(
                "clock",
                format!(
                    "the clock says {}, before the trust bundle was made ({issued})",
                    self.now
                ),
                "set the clock: fresh certificates are \"not yet valid\" here",
            );
        }
        let newest = State::load(self.layout).map_or(0, |state| state.newest_of(&bundle.mount));
        if newest > bundle.version {
            self.problem(
                "bundle",
                format!(
                    "the trust bundle in place is version {}, and this host has seen version {newest}",
                    bundle.version
                ),
                "somebody put an old one back: `signet host sync`",
            );
        }
        self.differences(&verified);
    }

    /// Whether the files that sshd reads say what the bundle says.
    fn differences(&mut self, verified: &VerifiedBundle) {
        let wanted: BTreeSet<String> = verified.user_ca_keys().iter().map(SubjectKey::fingerprint).collect();
        let found: BTreeSet<String> = self.trusts.user_ca_keys.iter().cloned().collect();
        for extra in found.difference(&wanted) {
            self.problem(
                "ca-keys",
                format!("sshd trusts the CA key {extra}, which the trust bundle does not have"),
                "find out who put it there, then `signet host sync`",
            );
        }
        for missing in wanted.difference(&found) {
            self.problem(
                "ca-keys",
                format!("sshd does not trust the CA key {missing} of the trust bundle"),
                AGAIN,
            );
        }
        let in_force = files::read(&self.layout.krl()).ok().flatten();
        if in_force.is_some_and(|bytes| bytes != verified.krl() && Krl::parse(&bytes).is_ok()) {
            self.problem("krl", "the KRL in force is not the one of the trust bundle", AGAIN);
        }
    }

    pub(super) fn host_certificate(&mut self) {
        let Ok(Some(line)) = files::read_text(&self.layout.host_certificate()) else {
            return self.note(
                "host-certificate",
                "this host has no certificate: clients know it by its key only",
                "`signet host enroll`",
            );
        };
        let seen = match inspect(&line, self.now) {
            Ok(seen) => seen,
            Err(error) => {
                return self.problem(
                    "host-certificate",
                    format!("the host certificate cannot be read: {error}"),
                    "`signet host sync`",
                );
            }
        };
        self.trusts.host_names.clone_from(&seen.principals);
        self.trusts.host_certificate_ends = Some(seen.valid_before);
        let next = "`signet host sync`";
        if seen.cert_type != "host" {
            self.problem(
                "host-certificate",
                "the host certificate is one for users: sshd offers its plain key",
                next,
            );
        }
        if seen.signature == SignatureState::Wrong {
            self.problem("host-certificate", "the host certificate's signature is wrong", next);
        }
        if self.now.secs() >= seen.valid_before || self.now.secs() < seen.valid_after {
            self.problem(
                "host-certificate",
                "the host certificate is not valid now: clients that insist on it do not connect",
                next,
            );
        } else if seen.oddities.iter().any(|odd| odd.severity == OddSeverity::Refused) {
            self.problem("host-certificate", "ssh refuses the host certificate", next);
        }
        if seen.principals.is_empty() {
            self.problem(
                "host-certificate",
                "the host certificate names no host: ssh from 10.3 on refuses it",
                next,
            );
        }
        self.fits_host_key(&seen.subject_key.fingerprint);
        let is_shown = self.effective.as_ref().is_none_or(|answers| {
            let inside = crate::host::layout::Layout::default().host_certificate();
            let shown = answers.ordinary.all("hostcertificate");
            shown.iter().any(|path| inside.as_os_str() == path.as_str())
        });
        if !is_shown {
            self.problem(
                "host-certificate",
                "sshd does not show the host certificate",
                "`signet host bake` again",
            );
        }
    }

    fn fits_host_key(&mut self, fingerprint: &str) {
        let folder = self.layout.root().join("etc/ssh");
        let keys = config_text::glob(&folder, "ssh_host_*_key.pub");
        if keys.is_empty() {
            return self.problem(
                "host-certificate",
                "this host has no host key",
                "`ssh-keygen -A`, or let cloud-init make them",
            );
        }
        let fits = keys.iter().any(|path| {
            let text = files::read_text(path).ok().flatten().unwrap_or_default();
            SubjectKey::parse(&text).is_ok_and(|key| key.fingerprint() == fingerprint)
        });
        if !fits {
            self.problem(
                "host-certificate",
                "the host certificate is for another key than this host's: sshd offers its plain key",
                "`signet host enroll` anew",
            );
        }
    }
}
