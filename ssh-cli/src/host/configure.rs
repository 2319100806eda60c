//! Our lines in sshd's configuration: a drop-in where sshd includes drop-ins, marked blocks in `sshd_config` where it does
//! not. What is to be put in place is first judged by sshd as a copy, then put in place, then judged again; on any doubt what
//! was there comes back. So a power cut leaves only configurations that sshd has approved.

use std::path::{Path, PathBuf};

use signet_core::subject_key::{KeyKind, SubjectKey};

use super::accounts;
use super::config_text::{self, ConfigText};
use super::files::{self, FOLDER, FileError, Files, PRIVATE, PUBLIC};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::sshd::{Effective, Sshd, SshdError, SshdVersion};

const HEADER: &str = "# Written by `signet host bake`; `signet host undo` takes it back.\n";
const BEGIN: &str = "# BEGIN signet (written by `signet host bake`)";
const END: &str = "# END signet";
const DROP_IN: &str = "10-signet.conf";
/// Somebody who is in nobody's list: what sshd says of this name holds for everybody.
pub const ORDINARY: &str = "signet-nobody";
/// An address of nobody (RFC 5737), for questions to sshd.
pub const SOME_ADDRESS: &str = "192.0.2.1";

/// The paths that our lines name, as sshd sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `TrustedUserCAKeys`.
    pub user_ca_keys: PathBuf,
    /// `RevokedKeys`.
    pub krl: PathBuf,
    /// The folder of `AuthorizedPrincipalsFile`.
    pub principals: PathBuf,
    /// The break-glass account's `AuthorizedKeysFile`.
    pub breakglass_keys: PathBuf,
    /// The break-glass account's `RevokedKeys`.
    pub breakglass_krl: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        let inside = Layout::default();
        Self {
            user_ca_keys: inside.user_ca_keys(),
            krl: inside.krl(),
            principals: inside.principals(),
            breakglass_keys: inside.breakglass_keys(),
            breakglass_krl: inside.breakglass_krl(),
        }
    }
}

/// What our lines are to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Which files.
    pub paths: Paths,
    /// Whether there is a break-glass account to let in.
    pub breakglass: bool,
    /// Whether the host's `AllowUsers` needs the break-glass account added.
    pub allow_breakglass: bool,
    /// Whether the host has a certificate to show.
    pub host_certificate: bool,
    /// Networks that `PerSourcePenalties` spares (OpenSSH 9.8 and newer).
    pub penalty_exempt: Option<String>,
}

impl Wish {
    /// What fits the files that are there now; what cannot be seen from them is taken from the lines in place.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn found(layout: &Layout) -> Result<Self, FileError> {
        let lines = ours(layout)?;
        let value = |keyword: &str| {
            let line = lines.lines().map(str::trim).find(|line| line.starts_with(keyword))?;
            line.split_once(' ').map(|(_, value)| value.to_owned())
        };
        Ok(Self {
            paths: Paths::default(),
            breakglass: layout.breakglass_keys().exists() && accounts::find(layout, BREAKGLASS_ACCOUNT).is_some(),
            allow_breakglass: value("AllowUsers").is_some(),
            host_certificate: layout.host_certificate().exists(),
            penalty_exempt: value("PerSourcePenaltyExemptList"),
        })
    }

    fn globals(&self) -> String {
        let paths = &self.paths;
        let mut text = format!(
            "TrustedUserCAKeys {}\nRevokedKeys {}\nAuthorizedPrincipalsFile {}/%u\nLogLevel VERBOSE\n",
            paths.user_ca_keys.display(),
            paths.krl.display(),
            paths.principals.display(),
        );
        if self.host_certificate {
            text.push_str(&format_line("HostCertificate", &Layout::default().host_certificate()));
        }
        if let Some(networks) = &self.penalty_exempt {
            text.extend(["PerSourcePenaltyExemptList ", networks, "\n"]);
        }
        text
    }

    /// The break-glass account shares nothing with the online CA: neither its CA file, nor its principals, nor its KRL, which
    /// refuses everybody's keys when it is damaged. `RevokedKeys none` would look for a file of that name.
    fn matched(&self) -> String {
        if !self.breakglass {
            return String::new();
        }
        let paths = &self.paths;
        let allow = if self.allow_breakglass {
            format!("  AllowUsers {BREAKGLASS_ACCOUNT}\n")
        } else {
            String::new()
        };
        format!(
            "Match User {BREAKGLASS_ACCOUNT}\n  AuthorizedKeysFile {}\n  RevokedKeys {}\n  TrustedUserCAKeys none\n  \
             AuthorizedPrincipalsFile none\n  AuthorizedKeysCommand none\n  PubkeyAuthentication yes\n  \
             AuthenticationMethods publickey\n  PasswordAuthentication no\n{allow}Match all\n",
            paths.breakglass_keys.display(),
            paths.breakglass_krl.display(),
        )
    }
}

fn format_line(keyword: &str, path: &Path) -> String {
    format!("{keyword} {}\n", path.display())
}

/// sshd's configuration stays, or is again, what it was.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// sshd refuses the configuration that is there: nothing was touched.
    #[error("sshd refuses the configuration that is here already; nothing was changed")]
    Broken(#[source] SshdError),
    /// sshd refuses our lines.
    #[error("sshd refuses its configuration with our lines in it; what was there is in place")]
    Refused(#[source] SshdError),
    /// Some other line wins over ours.
    #[error("`{keyword}` for `{user}` is `{found}`, not `{wanted}`: {place} wins; what was there is in place")]
    Wins {
        /// The keyword.
        keyword: &'static str,
        /// For whom.
        user: String,
        /// What sshd says.
        found: String,
        /// What ours says.
        wanted: String,
        /// The file and line.
        place: String,
    },
    /// sshd would let no certificate of this CA in.
    #[error("`CASignatureAlgorithms` of this host leaves out {0} keys, and a CA key is one")]
    CaAlgorithm(&'static str),
    /// The break-glass account may not log in at all.
    #[error("{rule} keeps `breakglass` out ({place})")]
    BreakglassRefused {
        /// Which keyword.
        rule: &'static str,
        /// The file and line.
        place: String,
    },
    /// `sshd_config` is a link.
    #[error("`{}` is a link, and would be replaced by a file", .0.display())]
    Link(PathBuf),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Files that changed.
    pub changed: Vec<PathBuf>,
    /// Whether our lines stand in a drop-in.
    pub drop_in: bool,
    /// What works and is worth knowing.
    pub remarks: Vec<String>,
}

/// Texts of the files that hold our lines; `None` for one that is to be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Texts {
    main: String,
    drop_in: Option<String>,
}

/// Puts our lines in place.
///
/// # Errors
/// [`ConfigureError`]; what was there is then in place.
pub fn configure(
    files: &Files,
    layout: &Layout,
    sshd_options: &[String],
    wish: &Wish,
) -> Result<Configured, ConfigureError> {
    let link = std::fs::symlink_metadata(layout.sshd_config()).is_ok_and(|found| found.is_symlink());
    if link {
        return Err(ConfigureError::Link(layout.sshd_config()));
    }
    let sshd = Sshd::find(layout, sshd_options).map_err(ConfigureError::Broken)?;
    sshd.test().map_err(ConfigureError::Broken)?;
    let before = Texts {
        main: files::read_text(&layout.sshd_config())?.unwrap_or_default(),
        drop_in: files::read_text(&layout.drop_in())?,
    };
    let texts = texts(layout, &before.main, wish)?;
    let folder = layout.folder().join("candidate");
    files.folder(&layout.folder(), FOLDER)?;
    let inside = Layout::default().folder().join("candidate");
    let judged = write_candidate(files, layout, &folder, &inside, &texts).map_err(ConfigureError::File);
    let judged = judged.and_then(|config| {
        let candidate = Sshd::find(layout, sshd_options)
            .map_err(ConfigureError::Refused)?
            .with_config(Some(&config));
        judge(layout, &candidate, wish)
    });
    // What is left of it does no harm: nothing includes it.
    drop(std::fs::remove_dir_all(&folder));
    let remarks = judged?;
    let changed = put(files, layout, &texts)?;
    if let Err(error) = judge(layout, &sshd, wish) {
        put(files, layout, &before)?;
        return Err(error);
    }
    Ok(Configured {
        changed,
        drop_in: texts.drop_in.is_some(),
        remarks,
    })
}

/// Takes our lines out, whatever else was changed since they were put in; answers which files changed.
///
/// # Errors
/// [`ConfigureError`]; our lines are then in place again.
pub fn unconfigure(files: &Files, layout: &Layout, sshd_options: &[String]) -> Result<Vec<PathBuf>, ConfigureError> {
    let before = Texts {
        main: files::read_text(&layout.sshd_config())?.unwrap_or_default(),
        drop_in: files::read_text(&layout.drop_in())?,
    };
    let sshd = Sshd::find(layout, sshd_options).map_err(ConfigureError::Broken)?;
    let was_sound = sshd.test().is_ok();
    let texts = Texts {
        main: without_blocks(&before.main),
        drop_in: None,
    };
    let changed = put(files, layout, &texts)?;
    match sshd.test() {
        Err(error) if was_sound => {
            put(files, layout, &before)?;
            Err(ConfigureError::Refused(error))
        }
        _ => Ok(changed),
    }
}

/// Writes a configuration as it would be into a folder, with the paths of `wish`; answers the main file, as sshd sees it.
///
/// # Errors
/// [`FileError`]
pub fn write_copy(files: &Files, layout: &Layout, inside: &Path, wish: &Wish) -> Result<PathBuf, FileError> {
    let main = files::read_text(&layout.sshd_config())?.unwrap_or_default();
    let texts = texts(layout, &main, wish)?;
    let folder = config_text::outside(layout, inside);
    write_candidate(files, layout, &folder, inside, &texts)
}

fn texts(layout: &Layout, main: &str, wish: &Wish) -> Result<Texts, FileError> {
    let bare = without_blocks(main);
    if ConfigText::read(layout)?.includes_drop_ins().is_some() {
        return Ok(Texts {
            main: bare,
            drop_in: Some(format!("{HEADER}{}{}", wish.globals(), wish.matched())),
        });
    }
    let mut main = format!("{BEGIN}\n{}{END}\n{bare}", wish.globals());
    if !main.ends_with('\n') {
        main.push('\n');
    }
    if wish.breakglass {
        main.extend([BEGIN, "\n", &wish.matched(), END, "\n"]);
    }
    Ok(Texts { main, drop_in: None })
}

/// The lines of ours that are in place.
fn ours(layout: &Layout) -> Result<String, FileError> {
    let mut lines = files::read_text(&layout.drop_in())?.unwrap_or_default();
    let main = files::read_text(&layout.sshd_config())?.unwrap_or_default();
    let mut inside = false;
    for line in main.lines() {
        match line.trim() {
            BEGIN => inside = true,
            END => inside = false,
            line if inside => lines.extend([line, "\n"]),
            _ => {}
        }
    }
    Ok(lines)
}

fn without_blocks(main: &str) -> String {
    if !main.lines().any(|line| line.trim() == BEGIN) {
        return main.to_owned();
    }
    let mut inside = false;
    let mut kept = String::new();
    for line in main.lines() {
        match line.trim() {
            BEGIN => inside = true,
            END if inside => inside = false,
            _ if inside => {}
            _ => kept.extend([line, "\n"]),
        }
    }
    kept
}

/// The main file with its include of drop-ins spelt out file by file, ours (as it would be) among them at its place.
fn write_candidate(
    files: &Files,
    layout: &Layout,
    folder: &Path,
    inside: &Path,
    texts: &Texts,
) -> Result<PathBuf, FileError> {
    files.folder(folder, FOLDER)?;
    let mut main = texts.main.clone();
    if let Some(drop_in) = &texts.drop_in {
        files.put(&folder.join(DROP_IN), drop_in.as_bytes(), PRIVATE)?;
        main = spelt_out(layout, &main, &inside.join(DROP_IN));
    }
    files.put(&folder.join("sshd_config"), main.as_bytes(), PRIVATE)?;
    Ok(inside.join("sshd_config"))
}

fn spelt_out(layout: &Layout, main: &str, ours: &Path) -> String {
    let mut text = String::new();
    let mut is_done = false;
    for line in main.lines() {
        let words = config_text::shell_words(line.trim());
        let is_include = words.first().is_some_and(|word| word.eq_ignore_ascii_case("include"));
        if !is_include || is_done || !line.contains("sshd_config.d") {
            text.extend([line, "\n"]);
            continue;
        }
        is_done = true;
        let mut paths: Vec<PathBuf> = Vec::new();
        for pattern in words.iter().skip(1) {
            let mut found = config_text::included(layout, pattern);
            if pattern.contains("sshd_config.d/") {
                found.retain(|path| path.file_name() != Some(DROP_IN.as_ref()));
                let at = found.partition_point(|path| path.file_name() < Some(DROP_IN.as_ref()));
                found.insert(at, ours.to_owned());
            }
            paths.extend(found);
        }
        for path in paths {
            text.push_str(&format_line("Include", &path));
        }
    }
    text
}

fn put(files: &Files, layout: &Layout, texts: &Texts) -> Result<Vec<PathBuf>, FileError> {
    let mut changed = Vec::new();
    let mode = std::fs::metadata(layout.sshd_config()).map_or(PUBLIC, |found| {
        std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o7777
    });
    let current = files::read_text(&layout.sshd_config())?.unwrap_or_default();
    let mut put_main = || -> Result<(), FileError> {
        // Somebody else's file: its owner and mode are not ours to mend when the text is right.
        if current != texts.main {
            files.put(&layout.sshd_config(), texts.main.as_bytes(), mode)?;
            changed.push(layout.sshd_config());
        }
        Ok(())
    };
    put_main()?;
    let has_changed = match &texts.drop_in {
        Some(drop_in) => files.put(&layout.drop_in(), drop_in.as_bytes(), PUBLIC)?,
        None => files.remove(&layout.drop_in())?,
    };
    if has_changed {
        changed.push(layout.drop_in());
    }
    Ok(changed)
}

/// Asks sshd what a configuration comes to, and compares. Answers what is worth knowing.
fn judge(layout: &Layout, sshd: &Sshd, wish: &Wish) -> Result<Vec<String>, ConfigureError> {
    sshd.test().map_err(ConfigureError::Refused)?;
    let config = ConfigText::read(layout)?;
    let paths = &wish.paths;
    let principals = format!("{}/%u", paths.principals.display());
    let ours = [
        ("trustedusercakeys", paths.user_ca_keys.display().to_string()),
        ("revokedkeys", paths.krl.display().to_string()),
        ("authorizedprincipalsfile", principals),
        ("pubkeyauthentication", "yes".to_owned()),
    ];
    let breakglass = [
        ("authorizedkeysfile", paths.breakglass_keys.display().to_string()),
        ("revokedkeys", paths.breakglass_krl.display().to_string()),
        ("trustedusercakeys", "none".to_owned()),
        ("pubkeyauthentication", "yes".to_owned()),
        ("authenticationmethods", "publickey".to_owned()),
    ];
    let mut users = vec!["root".to_owned(), ORDINARY.to_owned()];
    users.extend(principals_accounts(layout));
    let mut remarks = Vec::new();
    for user in users {
        let effective = sshd.effective(&user, SOME_ADDRESS).map_err(ConfigureError::Refused)?;
        for (keyword, wanted) in &ours {
            same(sshd, &config, &effective, &user, keyword, wanted)?;
        }
        if user == ORDINARY {
            ca_algorithms(layout, &effective)?;
            remarks = doors(&effective);
        }
    }
    if wish.breakglass {
        let effective = sshd
            .effective(BREAKGLASS_ACCOUNT, SOME_ADDRESS)
            .map_err(ConfigureError::Refused)?;
        for (keyword, wanted) in &breakglass {
            same(sshd, &config, &effective, BREAKGLASS_ACCOUNT, keyword, wanted)?;
        }
        let account = accounts::find(layout, BREAKGLASS_ACCOUNT);
        let groups = account.map(|account| account.groups).unwrap_or_default();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        if let Some(rule) = kept_out(&effective, BREAKGLASS_ACCOUNT, &groups) {
            let place = place(sshd, &config, &rule.to_ascii_lowercase(), "");
            return Err(ConfigureError::BreakglassRefused { rule, place });
        }
    }
    Ok(remarks)
}

/// Which of the four lists keeps an account out, as sshd(8) orders them.
#[must_use]
pub fn kept_out(effective: &Effective, user: &str, groups: &[&str]) -> Option<&'static str> {
    let by_name = |keyword: &str| {
        effective.words(keyword).any(|pattern| {
            let name = pattern.split('@').next().unwrap_or_default();
            config_text::matches(name, user)
        })
    };
    let by_group = |keyword: &str| {
        effective
            .words(keyword)
            .any(|pattern| groups.iter().any(|group| config_text::matches(pattern, group)))
    };
    let is_set = |keyword: &str| !effective.all(keyword).is_empty();
    if by_name("denyusers") {
        Some("DenyUsers")
    } else if is_set("allowusers") && !by_name("allowusers") {
        Some("AllowUsers")
    } else if by_group("denygroups") {
        Some("DenyGroups")
    } else if is_set("allowgroups") && !by_group("allowgroups") {
        Some("AllowGroups")
    } else {
        None
    }
}

/// Whether the lists of the host, as they are now, keep the break-glass account out for want of its name.
///
/// # Errors
/// [`SshdError`]
pub fn needs_allow(layout: &Layout, sshd: &Sshd) -> Result<bool, SshdError> {
    let effective = sshd.effective(BREAKGLASS_ACCOUNT, SOME_ADDRESS)?;
    let is_ours = files::read_text(&layout.drop_in())
        .ok()
        .flatten()
        .is_some_and(|text| text.contains("AllowUsers"));
    Ok(is_ours || kept_out(&effective, BREAKGLASS_ACCOUNT, &[]) == Some("AllowUsers"))
}

fn same(
    sshd: &Sshd,
    config: &ConfigText,
    effective: &Effective,
    user: &str,
    keyword: &'static str,
    wanted: &str,
) -> Result<(), ConfigureError> {
    let found = effective.one(keyword);
    if found == wanted {
        return Ok(());
    }
    Err(ConfigureError::Wins {
        keyword: spelling(keyword),
        user: user.to_owned(),
        found: found.to_owned(),
        wanted: wanted.to_owned(),
        place: place(sshd, config, keyword, found),
    })
}

/// OpenSSH's own spelling of the keywords that we set.
const fn spelling(keyword: &'static str) -> &'static str {
    match keyword.as_bytes() {
        b"trustedusercakeys" => "TrustedUserCAKeys",
        b"revokedkeys" => "RevokedKeys",
        b"authorizedprincipalsfile" => "AuthorizedPrincipalsFile",
        b"authorizedkeysfile" => "AuthorizedKeysFile",
        b"pubkeyauthentication" => "PubkeyAuthentication",
        b"authenticationmethods" => "AuthenticationMethods",
        _ => keyword,
    }
}

/// The file and line that set a keyword to this value, as far as it can be told.
#[must_use]
pub fn place(sshd: &Sshd, config: &ConfigText, keyword: &str, value: &str) -> String {
    let from_unit = sshd.options().iter().find(|option| {
        let name = option.split(['=', ' ', '\t']).next().unwrap_or_default();
        name.eq_ignore_ascii_case(keyword)
    });
    if let Some(option) = from_unit {
        return format!("the option `-o {option}` of its unit");
    }
    let mut lines: Vec<_> = config.foreign(keyword).collect();
    lines.sort_by_key(|line| line.value != value);
    let Some(line) = lines.first() else {
        return "a line of its configuration".to_owned();
    };
    match &line.under {
        Some(under) => format!("{} (under `Match {under}`)", line.place()),
        None => line.place(),
    }
}

fn principals_accounts(layout: &Layout) -> Vec<String> {
    let files = config_text::glob(&layout.principals(), "*");
    let names = files
        .iter()
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    names.collect()
}

fn ca_algorithms(layout: &Layout, effective: &Effective) -> Result<(), ConfigureError> {
    let allowed = effective.one("casignaturealgorithms");
    // sshd before 7.9 has no such list.
    if allowed.is_empty() {
        return Ok(());
    }
    let text = files::read_text(&layout.user_ca_keys())?.unwrap_or_default();
    for key in text.lines().filter_map(|line| SubjectKey::parse(line).ok()) {
        let names: &[&str] = match key.kind() {
            KeyKind::Rsa { .. } => &["rsa-sha2-512", "rsa-sha2-256"],
            other => &[other.ssh_name()],
        };
        if !allowed.split(',').any(|word| names.contains(&word)) {
            return Err(ConfigureError::CaAlgorithm(key.kind().ssh_name()));
        }
    }
    Ok(())
}

/// Ways in that are not ours.
fn doors(effective: &Effective) -> Vec<String> {
    let mut remarks = Vec::new();
    let command = effective.one("authorizedkeyscommand");
    if !matches!(command, "" | "none") {
        remarks.push(format!(
            "`AuthorizedKeysCommand {command}` is a door of its own (EC2 Instance Connect is one); remove its package or accept it"
        ));
    }
    let command = effective.one("authorizedprincipalscommand");
    if !matches!(command, "" | "none") {
        remarks.push(format!(
            "`AuthorizedPrincipalsCommand {command}` adds to the principals that we list"
        ));
    }
    if !effective.one("loglevel").eq_ignore_ascii_case("verbose")
        && !effective.one("loglevel").to_ascii_lowercase().starts_with("debug")
    {
        remarks.push("`LogLevel` is not VERBOSE: refused certificates will not be in the log".to_owned());
    }
    remarks
}

/// Whether sshd knows `PerSourcePenaltyExemptList`.
#[must_use]
pub fn knows_penalties(version: &SshdVersion) -> bool {
    version.is_at_least(9, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_put_in_and_taken_out_without_a_trace() {
        let main = "Port 22\nMatch User x\n  X11Forwarding no\n";
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        std::fs::create_dir_all(layout.sshd_config_d()).unwrap();
        std::fs::write(layout.sshd_config(), main).unwrap();
        let wish = Wish {
            breakglass: true,
            ..Wish::default()
        };
        let first = texts(&layout, main, &wish).unwrap();
        assert!(first.main.starts_with(BEGIN) && first.drop_in.is_none());
        assert!(first.main.find("Port 22").unwrap() < first.main.find("Match User breakglass").unwrap());
        assert_eq!(
            texts(&layout, &first.main, &wish).unwrap(),
            first,
            "a second run changes nothing"
        );
        assert_eq!(without_blocks(&first.main), main);
    }

    #[test]
    fn the_candidate_names_drop_ins_in_sshds_order() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        std::fs::create_dir_all(layout.sshd_config_d()).unwrap();
        for name in ["05-a.conf", "10-signet.conf", "50-cloud-init.conf"] {
            std::fs::write(layout.sshd_config_d().join(name), "").unwrap();
        }
        let main = "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n";
        assert_eq!(
            spelt_out(&layout, main, Path::new("/c/10-signet.conf")),
            "Include /etc/ssh/sshd_config.d/05-a.conf\nInclude /c/10-signet.conf\n\
             Include /etc/ssh/sshd_config.d/50-cloud-init.conf\nPort 22\n"
        );
    }

    #[test]
    fn lists_keep_out_as_sshd_orders_them() {
        for (lines, want) in [
            ("", None),
            ("allowusers ann", Some("AllowUsers")),
            ("allowusers ann\nallowusers break*@10.0.0.0/8", None),
            ("denyusers *glass", Some("DenyUsers")),
            ("allowgroups ops", Some("AllowGroups")),
            ("allowgroups breakglass", None),
            ("denygroups break*", Some("DenyGroups")),
        ] {
            assert_eq!(
                kept_out(&Effective::parse(lines), "breakglass", &["breakglass"]),
                want,
                "{lines}"
            );
        }
    }
}
