//! Ways into the host that are not ours.

use super::Look;
use crate::host::layout::BREAKGLASS_ACCOUNT;
use crate::host::sshd::Effective;
use crate::host::{accounts, authorized_keys, config_text, files};

impl Look<'_> {
    pub(super) fn doors(&mut self) {
        self.doors_of_the_configuration();
        self.other_lines();
        self.authorized_keys();
    }

    fn doors_of_the_configuration(&mut self) {
        let Some(answers) = &self.effective else { return };
        let mut found: Vec<(String, &str)> = Vec::new();
        let is_yes = |effective: &Effective, keyword: &str| effective.one(keyword) == "yes";
        if is_yes(&answers.ordinary, "passwordauthentication") {
            found.push((
                "passwords open this host (`PasswordAuthentication yes`)".to_owned(),
                "set it to no",
            ));
        }
        if is_yes(&answers.ordinary, "permitemptypasswords") {
            found.push((
                "empty passwords open this host (`PermitEmptyPasswords yes`)".to_owned(),
                "set it to no",
            ));
        }
        if is_yes(&answers.ordinary, "hostbasedauthentication") {
            found.push((
                "other hosts open this host (`HostbasedAuthentication yes`)".to_owned(),
                "set it to no",
            ));
        }
        if is_yes(&answers.root, "permitrootlogin") {
            found.push((
                "root may log in with a password (`PermitRootLogin yes`)".to_owned(),
                "set it to prohibit-password or no",
            ));
        }
        for keyword in ["authorizedkeyscommand", "authorizedprincipalscommand"] {
            let command = answers.ordinary.one(keyword);
            if !matches!(command, "" | "none") {
                let place = crate::host::configure::place(&answers.sshd, &answers.config, keyword, command);
                found.push((
                    format!("`{command}` decides who gets in as well ({keyword}, {place})"),
                    "remove it (EC2 Instance Connect: its package), or accept that door",
                ));
            }
        }
        if !answers.ordinary.one("loglevel").eq_ignore_ascii_case("verbose") {
            found.push((
                "`LogLevel` is not VERBOSE: the log does not say which certificate was refused".to_owned(),
                "remove the other LogLevel line",
            ));
        }
        for (text, next) in found {
            self.warn("door", text, next);
        }
    }

    /// Lines of others that set what we set, such as for one user under a `Match`.
    fn other_lines(&mut self) {
        let Some(answers) = &self.effective else { return };
        let mut texts = Vec::new();
        for keyword in ["trustedusercakeys", "revokedkeys", "authorizedprincipalsfile"] {
            for line in answers.config.foreign(keyword).filter(|line| line.value != "none") {
                let under = line.under.as_deref().map(|under| format!(" for `Match {under}`"));
                texts.push(format!(
                    "{} sets {keyword} to `{}`{}",
                    line.place(),
                    line.value,
                    under.unwrap_or_default()
                ));
            }
        }
        for text in texts {
            self.warn("door", text, "remove that line, if nobody needs it");
        }
    }

    fn authorized_keys(&mut self) {
        let Some(answers) = &self.effective else { return };
        let patterns: Vec<String> = answers
            .ordinary
            .words("authorizedkeysfile")
            .map(str::to_owned)
            .collect();
        for account in accounts::all(self.layout) {
            if account.name == BREAKGLASS_ACCOUNT {
                continue;
            }
            for pattern in patterns.iter().filter(|pattern| *pattern != "none") {
                let path = pattern
                    .replace("%u", &account.name)
                    .replace("%h", &account.home)
                    .replace("%%", "%");
                let path = std::path::Path::new(&account.home).join(path);
                let outside = config_text::outside(self.layout, &path);
                let Ok(Some(text)) = files::read_text(&outside) else {
                    continue;
                };
                let lines: Vec<_> = authorized_keys::lines(&text).collect();
                if lines.is_empty() {
                    continue;
                }
                let cas = lines.iter().flatten().filter(|line| line.has("cert-authority")).count();
                let kind = if cas > 0 { ", CA keys among them" } else { "" };
                self.warn(
                    "door",
                    format!(
                        "`{}` opens `{}` with {} key(s) of its own{kind}",
                        path.display(),
                        account.name,
                        lines.len()
                    ),
                    "remove the file, if nobody needs it",
                );
            }
        }
    }
}
