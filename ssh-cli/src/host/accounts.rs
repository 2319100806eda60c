//! The accounts of a host, read from its own files, so that an image is judged by its own accounts.

use std::collections::BTreeSet;

use super::layout::Layout;

/// Groups whose members are root in all but name.
const ROOT_EQUIVALENT: [&str; 11] = [
    "root", "sudo", "wheel", "admin", "adm", "docker", "lxd", "incus", "disk", "shadow", "libvirt",
];
const NO_SHELL: [&str; 4] = ["nologin", "false", "halt", "sync"];

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its home, as a path inside the root.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Its groups by name.
    pub groups: BTreeSet<String>,
    /// The password field of `/etc/shadow`; `None` when we may not read it.
    pub password: Option<String>,
}

impl Account {
    /// Groups of this account that make it root.
    #[must_use]
    pub fn root_equivalent_groups(&self) -> Vec<&str> {
        let groups = self.groups.iter().map(String::as_str);
        groups.filter(|group| ROOT_EQUIVALENT.contains(group)).collect()
    }

    /// Whether its shell lets anybody in.
    #[must_use]
    pub fn has_shell(&self) -> bool {
        let name = self.shell.rsplit('/').next().unwrap_or_default();
        !NO_SHELL.contains(&name)
    }

    /// Whether its password is locked with `!`, which sshd without PAM takes for a locked account.
    #[must_use]
    pub fn is_locked(&self) -> Option<bool> {
        self.password.as_ref().map(|field| field.starts_with('!'))
    }
}

/// All accounts of the host.
#[must_use]
pub fn all(layout: &Layout) -> Vec<Account> {
    let read = |path: &str| std::fs::read_to_string(layout.root().join(path)).unwrap_or_default();
    let (passwd, group, shadow) = (read("etc/passwd"), read("etc/group"), read("etc/shadow"));
    passwd
        .lines()
        .filter_map(|line| account(line, &group, &shadow))
        .collect()
}

/// One account.
#[must_use]
pub fn find(layout: &Layout, name: &str) -> Option<Account> {
    all(layout).into_iter().find(|account| account.name == name)
}

fn account(line: &str, group: &str, shadow: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.to_owned();
    let home = fields.nth(1)?.to_owned();
    let shell = fields.next().unwrap_or_default().to_owned();
    let groups = group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let group = fields.next()?;
        let is_primary = fields.nth(1) == Some(gid.as_str());
        let is_member = fields
            .next()
            .unwrap_or_default()
            .split(',')
            .any(|member| member == name);
        (is_primary || is_member).then(|| group.to_owned())
    });
    let password = shadow.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name.as_str())).then(|| fields.next().unwrap_or_default().to_owned())
    });
    Some(Account {
        uid,
        home,
        shell: if shell.is_empty() { "/bin/sh".to_owned() } else { shell },
        groups: groups.collect(),
        password,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_with_their_groups() {
        let group = "root:x:0:\nsudo:x:27:ann,bob\nbob:x:1001:\n";
        let shadow = "bob:!:1::::::\nann:*:1::::::\n";
        let bob = account("bob:x:1000:1001:,,,:/home/bob:/bin/bash", group, shadow).unwrap();
        assert_eq!(bob.root_equivalent_groups(), ["sudo"]);
        assert_eq!((bob.is_locked(), bob.has_shell()), (Some(true), true));
        let daemon = account("daemon:x:1:1::/:/usr/sbin/nologin", group, shadow).unwrap();
        assert_eq!((daemon.is_locked(), daemon.has_shell()), (None, false));
    }
}
