//! `signet trust`: makes ssh believe hosts by certificate. Writes the authority's `@cert-authority` line into `known_hosts`,
//! in a block of its own that it finds again.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use signet_core::subject_key::SubjectKey;

use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::replace::replace;
use crate::report::{self, Exit, Failure};
use crate::vault::Vault;

/// CA keys of one mount that are believed; one, and a few while they rotate.
const KEYS_MAX: usize = 16;

/// Flags of `signet trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Mount that signs host certificates
    #[arg(long, default_value = "ssh-host-signer", value_parser = value::mount)]
    pub mount_point: String,
    /// Names of the hosts that this authority may vouch for, as known_hosts has them: *.example.com,!bad.example.com
    #[arg(long, default_value = "*", value_parser = patterns)]
    pub hostnames: String,
    /// The file [default: ~/.ssh/known_hosts]
    #[arg(long)]
    pub known_hosts: Option<PathBuf>,
    /// Take the lines of this authority and mount out again
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub undo: bool,
    /// Print the lines, and write nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false", conflicts_with = "undo")]
    pub print: bool,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &TrustArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let endpoint = args.connect.endpoint(environment)?;
    let name = format!("{} {}", endpoint.address, args.mount_point);
    let lines = if args.undo {
        Vec::new()
    } else {
        // No token: whoever wants to believe the authority need not be known to it.
        let vault = Vault::new(endpoint, None)?;
        lines(&vault.text(&format!("{}/public_key", args.mount_point))?, args)?
    };
    if args.print {
        return output::text(&(lines.join("\n") + "\n")).map(|()| 0);
    }
    let path = known_hosts(args, environment)?;
    let old = read(&path)?;
    let new = with_block(&old, &name, &lines).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!("a block of `signet trust` in `{}` has no end", path.display()),
        )
        .hint("take out the line `# signet trust begin …` and what belongs to it by hand")
    })?;
    let changed = new != old;
    if changed {
        write(&path, &new)?;
    }
    tell(args, &path, changed, format)
}

/// The lines that make ssh believe these keys.
///
/// # Security
/// Each key is read and written anew, so that nothing a server sends becomes a line, an option or a marker of its own.
fn lines(text: &str, args: &TrustArgs) -> Result<Vec<String>, Failure> {
    let bad = |why: String| {
        Failure::new(
            Exit::Failed,
            format!("`{}/public_key` is not a list of public keys", args.mount_point),
        )
        .cause(why)
        .hint("check -address and -mount-point")
    };
    let keys: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(bad(format!("it has {} lines", keys.len())));
    }
    keys.into_iter()
        .map(|line| {
            // Bare base64 is Vault's own dialect, in which a file of public keys is never written.
            let key = SubjectKey::parse(line).map_err(|error| bad(error.to_string()))?;
            if !line.starts_with(key.kind().ssh_name()) {
                return Err(bad("a line does not begin with the key's type".to_owned()));
            }
            Ok(format!("@cert-authority {} {}", args.hostnames, key.line()))
        })
        .collect()
}

/// Patterns as `known_hosts` has them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
fn patterns(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_*?:[]%".contains(c);
    let mut some_match = false;
    for pattern in text.split(',') {
        let bare = pattern.strip_prefix('!').unwrap_or(pattern);
        if bare.is_empty() || !bare.chars().all(fine) {
            return Err("write names like *.example.com,10.0.0.*,!bad.example.com".to_owned());
        }
        some_match |= bare == pattern;
    }
    if some_match {
        Ok(text.to_owned())
    } else {
        Err("names with `!` alone match nothing".to_owned())
    }
}

fn known_hosts(args: &TrustArgs, environment: &Environment) -> Result<PathBuf, Failure> {
    match (&args.known_hosts, environment.home()) {
        (Some(path), _) => Ok(path
            .to_str()
            .map_or_else(|| path.clone(), |text| environment.expand(text))),
        (None, Some(home)) => Ok(home.join(".ssh/known_hosts")),
        (None, None) => Err(Failure::usage("there is no home folder").hint("name the file with -known-hosts")),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    match std::fs::read(path) {
        // Its other lines are not ours to judge, but cannot be kept if they are no text.
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Failure::new(Exit::Failed, format!("`{}` is not a text file", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.exists()
    {
        let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
        made.map_err(|error| unusable(folder, &error))?;
    }
    replace(path, text.as_bytes(), 0o600).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("`{}` cannot be used", path.display())).cause(error.to_string())
}

/// The file's text with this block in the place of the old one, at the end when there was none; without lines, without it.
/// `None` when a block has no end.
fn with_block(old: &str, name: &str, lines: &[String]) -> Option<String> {
    let (begin, end) = (
        format!("# signet trust begin {name}"),
        format!("# signet trust end {name}"),
    );
    let block = if lines.is_empty() {
        String::new()
    } else {
        format!("{begin}\n{}\n{end}\n", lines.join("\n"))
    };
    let mut new = String::with_capacity(old.len() + block.len());
    let (mut inside, mut placed) = (false, false);
    for line in old.split_inclusive('\n') {
        let bare = line.trim_end();
        match (inside, bare == begin, bare == end) {
            (false, true, _) => inside = true,
            // Another beginning in a block: the old one was cut short, and what follows may be anybody's.
            (true, _, false) if bare.starts_with("# signet trust begin ") => return None,
            (true, _, true) => {
                inside = false;
                if !placed {
                    new.push_str(&block);
                    placed = true;
                }
            }
            (true, _, false) => {}
            (false, false, _) => new.push_str(line),
        }
    }
    if inside {
        return None;
    }
    if !placed && !block.is_empty() {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        new.push_str(&block);
    }
    Some(new)
}

fn tell(args: &TrustArgs, path: &Path, changed: bool, format: Format) -> Result<u8, Failure> {
    let path = path.display().to_string();
    if format != Format::Table {
        let data =
            json!({"known_hosts": path, "changed": changed, "hostnames": args.hostnames, "mount": args.mount_point});
        return output::document(&data, format).map(|()| 0);
    }
    let text = match (args.undo, changed) {
        (true, true) => format!("the authority's lines are out of {path}\n"),
        (true, false) => format!("there were no lines of this authority in {path}\n"),
        (false, true) => format!(
            "ssh believes the hosts {} by certificate now ({path})\n",
            args.hostnames
        ),
        (false, false) => format!("{path} says so already: nothing was changed\n"),
    };
    output::text(&text)?;
    if !args.undo {
        advise(args);
    }
    Ok(0)
}

fn advise(args: &TrustArgs) {
    if args.hostnames == "*" {
        report::remark("this authority may vouch for every host; narrow it with -hostnames='*.example.com'");
    }
    let hosts = args.hostnames.replace(',', " ");
    report::remark(&format!(
        "put `StrictHostKeyChecking yes` under `Host {hosts}` in ~/.ssh/config: without it ssh falls back to asking about the \
         plain key when a host's certificate has expired or names another host"
    ));
    report::remark("a host that is reached by another name than its certificate's needs `HostKeyAlias NAME` there too");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_block_is_put_in_found_again_and_taken_out() {
        let old = "host ssh-ed25519 AAAA";
        let one = with_block(old, "https://ca ssh", &texts(&["@cert-authority * k1"])).unwrap();
        assert_eq!(
            one,
            "host ssh-ed25519 AAAA\n# signet trust begin https://ca ssh\n@cert-authority * k1\n# signet trust end https://ca ssh\n"
        );
        assert_eq!(
            with_block(&one, "https://ca ssh", &texts(&["@cert-authority * k1"])).unwrap(),
            one
        );
        let two = with_block(&one, "https://ca other", &texts(&["@cert-authority * k2"])).unwrap();
        let changed = with_block(&two, "https://ca ssh", &texts(&["@cert-authority * k3"])).unwrap();
        assert_eq!(changed, two.replace("k1", "k3"));
        let without = with_block(&changed, "https://ca other", &[]).unwrap();
        assert_eq!(
            with_block(&without, "https://ca ssh", &[]).unwrap(),
            "host ssh-ed25519 AAAA\n"
        );
        assert_eq!(with_block(old, "https://ca ssh", &[]).unwrap(), old);
    }

    #[test]
    fn a_block_without_an_end_is_left_to_its_owner() {
        let cut = "# signet trust begin https://ca ssh\n@cert-authority * k1\nhost ssh-ed25519 AAAA\n";
        assert_eq!(with_block(cut, "https://ca ssh", &[]), None);
        let nested = format!("{cut}# signet trust begin https://ca other\n# signet trust end https://ca ssh\n");
        assert_eq!(with_block(&nested, "https://ca ssh", &[]), None);
        assert!(with_block(cut, "https://ca other", &[]).is_some(), "not ours");
    }

    #[test]
    fn patterns_are_what_known_hosts_takes() {
        for good in [
            "*",
            "*.example.com",
            "web-1,10.0.0.?",
            "[127.0.0.1]:2201",
            "*.x.test,!bad.x.test",
            "fe80::1%eth0",
        ] {
            assert!(patterns(good).is_ok(), "{good}");
        }
        for bad in [
            "", ",", "a,", "a b", "a\nb", "!a", "!a,!b", "a#b", "|1|x", "@revoked", "a\tb", "!!a", "ä",
        ] {
            assert!(patterns(bad).is_err(), "{bad:?}");
        }
    }
}
