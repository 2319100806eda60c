//! Whether this host's sshd would accept a certificate, link by link in sshd's order, each with the file and line that
//! decides. It reads what sshd reads; where something cannot be known here (a program that is asked, an address that was not
//! given), the link says so.

mod certificate;
mod lines;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use signet_core::inspect::{InspectError, Inspection, Severity, inspect};
use signet_core::krl::{Hit, Krl, Subject};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use super::accounts::{self, Account};
use super::authorized_keys;
use super::config_text::{self, ConfigText};
use super::configure;
use super::files::{self, FileError};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::sshd::{Effective, Sshd, SshdError};

use self::certificate::Parts;

/// How a link came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It holds.
    Holds,
    /// It breaks: sshd refuses.
    Breaks,
    /// It cannot be known here.
    Unknown,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// How it came out.
    pub state: State,
    /// One sentence.
    pub text: String,
    /// The file and line that decides, where there is one.
    pub place: Option<String>,
}

/// The answer for one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The account.
    pub account: String,
    /// Whether sshd would accept the certificate: every link holds, as far as can be known here.
    pub accepted: bool,
    /// The links, in sshd's order.
    pub links: Vec<Link>,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// It is no certificate.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// sshd cannot be asked.
    #[error(transparent)]
    Sshd(#[from] SshdError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why, for each of these accounts; for those that list principals, and the break-glass account, when none is given.
///
/// # Errors
/// [`WhyError`]
pub fn why(
    layout: &Layout,
    options: &[String],
    line: &str,
    account: Option<&str>,
    from: Option<IpAddr>,
    now: UnixTime,
) -> Result<Vec<Verdict>, WhyError> {
    let seen = inspect(line, now)?;
    let sshd = Sshd::find(layout, options)?;
    let names = account.map_or_else(|| accounts_of_interest(layout), |name| vec![name.to_owned()]);
    let config = ConfigText::read(layout)?;
    let mut verdicts = Vec::new();
    for name in names {
        let address = from.map_or_else(|| configure::SOME_ADDRESS.to_owned(), |from| from.to_string());
        let mut chain = Chain {
            layout,
            sshd: &sshd,
            config: &config,
            effective: sshd.effective(&name, &address)?,
            seen: &seen,
            parts: Parts::read(line),
            account: accounts::find(layout, &name),
            name: &name,
            from,
            links: Vec::new(),
        };
        chain.walk();
        verdicts.push(Verdict {
            accepted: chain.links.iter().all(|link| link.state != State::Breaks),
            links: chain.links,
            account: name,
        });
    }
    Ok(verdicts)
}

fn accounts_of_interest(layout: &Layout) -> Vec<String> {
    let files = config_text::glob(&layout.principals(), "*");
    let mut names: Vec<String> = files
        .iter()
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .collect();
    if layout.breakglass_keys().exists() || names.is_empty() {
        names.push(if names.is_empty() && !layout.breakglass_keys().exists() {
            "root".to_owned()
        } else {
            BREAKGLASS_ACCOUNT.to_owned()
        });
    }
    names
}

/// One walk along the links.
struct Chain<'a> {
    layout: &'a Layout,
    sshd: &'a Sshd,
    config: &'a ConfigText,
    effective: Effective,
    seen: &'a Inspection,
    parts: Parts,
    account: Option<Account>,
    name: &'a str,
    from: Option<IpAddr>,
    links: Vec<Link>,
}

impl Chain<'_> {
    fn push(&mut self, state: State, text: impl Into<String>, place: Option<String>) {
        self.links.push(Link {
            state,
            text: text.into(),
            place,
        });
    }

    fn holds(&mut self, text: impl Into<String>, place: Option<String>) {
        self.push(State::Holds, text, place);
    }

    fn breaks(&mut self, text: impl Into<String>, place: Option<String>) {
        self.push(State::Breaks, text, place);
    }

    fn unknown(&mut self, text: impl Into<String>, place: Option<String>) {
        self.push(State::Unknown, text, place);
    }

    fn walk(&mut self) {
        self.certificate();
        self.account();
        self.lists();
        self.root_login();
        self.methods();
        self.algorithms();
        self.revocation();
        self.trust_and_principals();
        self.source_address();
        self.commands();
    }

    fn place(&self, keyword: &str) -> Option<String> {
        let value = self.effective.one(keyword);
        let lines = self.config.directives.iter().filter(|line| line.keyword == keyword);
        let line = lines
            .clone()
            .find(|line| line.value == value)
            .or_else(|| lines.clone().next());
        match line {
            Some(line) => Some(line.place()),
            None if self
                .sshd
                .options()
                .iter()
                .any(|option| option.to_ascii_lowercase().starts_with(keyword)) =>
            {
                Some("an -o option of sshd's unit".to_owned())
            }
            None => None,
        }
    }

    fn certificate(&mut self) {
        if self.seen.cert_type == "user" {
            self.holds(
                format!(
                    "it is a user certificate, key ID `{}`, serial {}",
                    self.seen.key_id, self.seen.serial
                ),
                None,
            );
        } else {
            self.breaks(
                format!("it is a {} certificate, not one for users", self.seen.cert_type),
                None,
            );
        }
        let refused: Vec<String> = self
            .seen
            .oddities
            .iter()
            .filter(|oddity| oddity.severity == Severity::Refused)
            .map(|oddity| oddity.text.clone())
            .collect();
        if refused.is_empty() {
            self.holds(
                format!(
                    "it is well formed, and valid until {}",
                    UnixTime::from_secs(self.seen.valid_before)
                ),
                None,
            );
        }
        for text in refused {
            self.breaks(text, None);
        }
    }

    fn account(&mut self) {
        let passwd = Some("/etc/passwd".to_owned());
        let name = self.name;
        let Some(account) = self.account.clone() else {
            return self.breaks(format!("there is no account `{name}` on this host"), passwd);
        };
        let shell = config_text::outside(self.layout, Path::new(&account.shell));
        if std::fs::metadata(&shell).is_ok_and(|found| !found.is_file()) || !exists(&shell) {
            self.breaks(
                format!("the shell of `{name}`, `{}`, is not there", account.shell),
                passwd.clone(),
            );
        } else if account.has_shell() {
            self.holds(format!("the account `{name}` is there"), passwd.clone());
        } else {
            self.unknown(
                format!(
                    "the shell of `{name}` is `{}`: sshd accepts, and the session ends at once",
                    account.shell
                ),
                passwd.clone(),
            );
        }
        let uses_pam = self.effective.one("usepam") == "yes";
        match account.is_locked() {
            Some(true) if !uses_pam => self.breaks(
                format!(
                    "the password of `{name}` is locked with `!`, which sshd without PAM takes for a locked account"
                ),
                Some("/etc/shadow".to_owned()),
            ),
            None => self.unknown("whether the account is locked cannot be read: run as root", None),
            Some(_) => {}
        }
    }

    fn lists(&mut self) {
        let groups = self
            .account
            .as_ref()
            .map(|account| account.groups.clone())
            .unwrap_or_default();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        match configure::kept_out(&self.effective, self.name, &groups) {
            Some(rule) => {
                let place = self.place(&rule.to_ascii_lowercase());
                self.breaks(format!("`{rule}` keeps `{}` out", self.name), place);
            }
            None => self.holds(
                "no AllowUsers, DenyUsers, AllowGroups or DenyGroups is in the way",
                None,
            ),
        }
    }

    fn root_login(&mut self) {
        if self.account.as_ref().is_none_or(|account| account.uid != 0) {
            return;
        }
        let value = self.effective.one("permitrootlogin").to_owned();
        let place = self.place("permitrootlogin");
        let is_forced = self
            .seen
            .critical_options
            .iter()
            .any(|option| option.name == "force-command");
        match value.as_str() {
            "no" => self.breaks("`PermitRootLogin` is no", place),
            "forced-commands-only" if !is_forced => self.breaks(
                "`PermitRootLogin` is forced-commands-only, and the certificate forces no command",
                place,
            ),
            value => self.holds(format!("`PermitRootLogin` is {value}"), place),
        }
    }

    fn methods(&mut self) {
        if self.effective.one("pubkeyauthentication") == "no" {
            let place = self.place("pubkeyauthentication");
            self.breaks("`PubkeyAuthentication` is no", place);
        }
        let methods = self.effective.one("authenticationmethods").to_owned();
        let place = self.place("authenticationmethods");
        let mut lists = methods.split_ascii_whitespace();
        if matches!(methods.as_str(), "" | "any") || lists.clone().any(|list| list == "publickey") {
            return;
        }
        if lists.any(|list| list.split(',').any(|method| method == "publickey")) {
            self.unknown(
                format!("`AuthenticationMethods {methods}` asks for more than the certificate"),
                place,
            );
        } else {
            self.breaks(
                format!("`AuthenticationMethods {methods}` has no use for a certificate"),
                place,
            );
        }
    }

    fn algorithms(&mut self) {
        let signature = self.seen.signature_algorithm.clone();
        let allowed = self.effective.one("casignaturealgorithms").to_owned();
        if !allowed.is_empty() && !allowed.split(',').any(|name| name == signature) {
            let place = self.place("casignaturealgorithms");
            self.breaks(format!("`CASignatureAlgorithms` leaves out `{signature}`"), place);
        }
        let keyword = ["pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes"]
            .into_iter()
            .find(|keyword| !self.effective.one(keyword).is_empty());
        let Some(keyword) = keyword else { return };
        let wanted: Vec<&str> = match self.seen.algorithm.as_str() {
            "ssh-rsa-cert-v01@openssh.com" => {
                vec!["rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com"]
            }
            other => vec![other],
        };
        if !self
            .effective
            .one(keyword)
            .split(',')
            .any(|name| wanted.contains(&name))
        {
            let place = self.place(keyword);
            self.breaks(format!("`{keyword}` leaves out `{}`", self.seen.algorithm), place);
        }
        let least = self.effective.one("requiredrsasize").parse::<usize>().unwrap_or(0);
        if self.seen.subject_key.bits.is_some_and(|bits| bits < least) {
            let place = self.place("requiredrsasize");
            self.breaks(format!("`RequiredRSASize` is {least}, and the key is shorter"), place);
        }
    }

    fn revocation(&mut self) {
        let lists: Vec<String> = self.effective.words("revokedkeys").map(str::to_owned).collect();
        if lists.is_empty() || lists == ["none"] && self.name != BREAKGLASS_ACCOUNT {
            return self.unknown("this host has no `RevokedKeys`: nothing is ever revoked here", None);
        }
        for list in lists {
            let inside = PathBuf::from(&list);
            let place = Some(list.clone());
            let bytes = match files::read(&config_text::outside(self.layout, &inside)) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    self.breaks("the KRL is missing: sshd refuses every key", place);
                    continue;
                }
                Err(error) => {
                    self.unknown(format!("{error}: run as root"), place);
                    continue;
                }
            };
            if bytes.is_empty() {
                self.holds(
                    "the KRL has 0 bytes: it revokes nothing (`signet host check` calls that a problem)",
                    place,
                );
                continue;
            }
            match Krl::parse(&bytes) {
                Ok(krl) => self.hit(&krl, place),
                Err(error) => self.breaks(format!("{error}: sshd refuses every key"), place),
            }
        }
    }

    fn hit(&mut self, krl: &Krl, place: Option<String>) {
        let Some(bytes) = &self.parts.bytes else {
            return self.unknown("the certificate is too odd to be looked up in the KRL", place);
        };
        let subject = Subject {
            ca_key: &bytes.ca_key,
            serial: bytes.serial,
            key_id: &bytes.key_id,
            subject_key: &bytes.subject_key,
        };
        let version = krl.version;
        let what = match krl.hit(subject) {
            None => return self.holds(format!("version {version} of the KRL does not have it"), place),
            Some(Hit::Serial) => format!("serial {}", self.seen.serial),
            Some(Hit::KeyId) => format!("key ID `{}`", self.seen.key_id),
            Some(Hit::SubjectKey) => format!("key {}", self.seen.subject_key.fingerprint),
            Some(Hit::CaKey) => format!("CA key {}", self.seen.ca_key.fingerprint),
        };
        self.breaks(format!("revoked: version {version} of the KRL has its {what}"), place);
    }

    /// Two ways in: `TrustedUserCAKeys` with the principals file, and a `cert-authority` line of the account.
    fn trust_and_principals(&mut self) {
        match self.trusted_ca() {
            Ok(place) => {
                self.holds(
                    format!("its CA {} is trusted", self.seen.ca_key.fingerprint),
                    Some(place),
                );
                self.principals();
            }
            Err(why) => {
                if let Some((text, place)) = self.cert_authority_line() {
                    return self.holds(text, Some(place));
                }
                let (text, place) = why;
                self.breaks(text, place);
            }
        }
    }

    /// The file and line of the CA, read as sshd reads it: up to the first bad line.
    fn trusted_ca(&self) -> Result<String, (String, Option<String>)> {
        let ca = &self.seen.ca_key.fingerprint;
        let path = self.effective.one("trustedusercakeys");
        if matches!(path, "" | "none") {
            return Err((
                format!(
                    "`TrustedUserCAKeys` is none for `{}`, and no `cert-authority` line has its CA {ca}",
                    self.name
                ),
                self.place("trustedusercakeys"),
            ));
        }
        let outside = config_text::outside(self.layout, Path::new(path));
        let text = match files::read_text(&outside) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err((
                    format!("the CA file `{path}` is missing"),
                    self.place("trustedusercakeys"),
                ));
            }
            Err(error) => return Err((error.to_string(), Some(path.to_owned()))),
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{path}:{}", index + 1);
            match SubjectKey::parse(line) {
                Ok(key) if &key.fingerprint() == ca => return Ok(place),
                Ok(_) => {}
                Err(error) => {
                    return Err((
                        format!("its CA {ca} is not found before a bad line, where sshd stops reading ({error})"),
                        Some(place),
                    ));
                }
            }
        }
        Err((format!("this host does not trust its CA {ca}"), Some(path.to_owned())))
    }

    /// A `cert-authority` line of the account with this CA and one of the principals.
    fn cert_authority_line(&self) -> Option<(String, String)> {
        let account = self.account.as_ref()?;
        for pattern in self.effective.words("authorizedkeysfile") {
            let path = lines::expand(pattern, account);
            let text = files::read_text(&config_text::outside(self.layout, &path)).ok()??;
            for line in authorized_keys::lines(&text).flatten() {
                if !line.has("cert-authority") || line.key.fingerprint() != self.seen.ca_key.fingerprint {
                    continue;
                }
                let wanted: Vec<&str> = line
                    .value("principals")
                    .map_or_else(|| vec![account.name.as_str()], |list| list.split(',').collect());
                let found = self
                    .seen
                    .principals
                    .iter()
                    .find(|name| wanted.contains(&name.as_str()))?;
                if line
                    .value("from")
                    .is_some_and(|list| lines::from_fits(list, self.from) == Some(false))
                {
                    continue;
                }
                let place = format!("{}:{}", path.display(), line.line);
                return Some((format!("a `cert-authority` line takes the principal `{found}`"), place));
            }
        }
        None
    }

    fn principals(&mut self) {
        let pattern = self.effective.one("authorizedprincipalsfile").to_owned();
        let command = self.effective.one("authorizedprincipalscommand").to_owned();
        let names = self.seen.principals.join(", ");
        if self.seen.principals.is_empty() {
            return self.breaks("the certificate has no principal", None);
        }
        if matches!(pattern.as_str(), "" | "none") && matches!(command.as_str(), "" | "none") {
            if self.seen.principals.iter().any(|name| name == self.name) {
                self.holds(
                    format!("the certificate names the account `{}` itself", self.name),
                    None,
                );
            } else {
                let name = self.name;
                self.breaks(
                    format!(
                        "no principals file is set, and `{name}` is not among the certificate's principals ({names})"
                    ),
                    None,
                );
            }
            return;
        }
        let found = self.principals_line(&pattern);
        match found {
            Ok((text, place)) => self.holds(text, Some(place)),
            Err(_) if !matches!(command.as_str(), "" | "none") => {
                let place = self.place("authorizedprincipalscommand");
                self.unknown(
                    format!("`{command}` is asked which principals open `{}`", self.name),
                    place,
                );
            }
            Err((text, place)) => self.breaks(text, place),
        }
    }

    fn principals_line(&self, pattern: &str) -> Result<(String, String), (String, Option<String>)> {
        let Some(account) = &self.account else {
            return Err(("without an account no principals file is read".to_owned(), None));
        };
        let path = lines::expand(pattern, account);
        let shown = path.display().to_string();
        let outside = config_text::outside(self.layout, &path);
        let text = match files::read_text(&outside) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err((
                    format!(
                        "no principal opens `{}` here: its principals file is missing",
                        self.name
                    ),
                    Some(shown),
                ));
            }
            Err(error) => return Err((error.to_string(), Some(shown))),
        };
        if self.effective.one("strictmodes") != "no"
            && let Some(bad) = lines::strict_modes(self.layout, &outside)
        {
            return Err((bad, Some(shown)));
        }
        let mut refused = None;
        // Not `lines()`: sshd keeps a CR, and then nobody has that principal.
        for (index, line) in text.split('\n').enumerate() {
            let place = format!("{shown}:{}", index + 1);
            match lines::principal(line, &self.seen.principals, self.from, self.forced_command()) {
                lines::Fit::Yes(name) => return Ok((format!("its principal `{name}` opens `{}`", self.name), place)),
                lines::Fit::No => {}
                lines::Fit::Refused(why) => refused = Some((why, Some(place))),
            }
        }
        Err(refused.unwrap_or_else(|| {
            (
                format!(
                    "none of its principals ({}) opens `{}`",
                    self.seen.principals.join(", "),
                    self.name
                ),
                Some(shown),
            )
        }))
    }

    fn forced_command(&self) -> Option<&str> {
        let mut options = self.seen.critical_options.iter();
        options
            .find(|option| option.name == "force-command")
            .map(|option| option.value.as_str())
    }

    fn source_address(&mut self) {
        let value = self
            .seen
            .critical_options
            .iter()
            .find(|option| option.name == "source-address");
        let Some(list) = value.map(|option| option.value.clone()) else {
            return;
        };
        match lines::from_fits(&list, self.from) {
            Some(true) => self.holds(
                format!("the address is in the certificate's source-address {list}"),
                None,
            ),
            Some(false) => self.breaks(
                format!("the address is not in the certificate's source-address {list}"),
                None,
            ),
            None => self.unknown(format!("it works from {list} only (give -from)"), None),
        }
    }

    fn commands(&mut self) {
        let forced = self.effective.one("forcecommand").to_owned();
        if !matches!(forced.as_str(), "" | "none") {
            let place = self.place("forcecommand");
            self.unknown(format!("it gets in, and runs `{forced}` whatever it asks for"), place);
        } else if let Some(command) = self.forced_command().map(str::to_owned) {
            self.holds(format!("it runs `{command}` and nothing else"), None);
        }
    }
}

fn exists(path: &Path) -> bool {
    // A link in an image points into the image: `/bin/sh` may be one to `dash` or to `/usr/bin/sh`.
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests;
