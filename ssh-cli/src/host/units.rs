//! The systemd units that a host runs: the files under `ami/systemd`, carried in the program so that one file is enough to make
//! a host.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::files::{FOLDER, FileError, Files, PUBLIC};
use super::layout::Layout;

/// Name, text, and the target that wants it.
const UNITS: [(&str, &str, Option<&str>); 3] = [
    (
        "signet-host-sync.service",
        include_str!("../../../ami/systemd/signet-host-sync.service"),
        None,
    ),
    (
        "signet-host-sync.timer",
        include_str!("../../../ami/systemd/signet-host-sync.timer"),
        Some("timers.target"),
    ),
    (
        "signet-host-enroll.service",
        include_str!("../../../ami/systemd/signet-host-enroll.service"),
        Some("multi-user.target"),
    ),
];
const FOLDER_PATH: &str = "etc/systemd/system";
/// Where the units look for the program; another place is written in its stead where it lies there.
pub const PROGRAM: &str = "/usr/local/bin/signet";

/// Writes the units and enables them, by the links that `systemctl enable` would make: so it works in an image too. Nothing
/// where there is no systemd. `program` is where this host has the `signet` program. Answers what changed.
///
/// # Errors
/// [`FileError`].
pub fn install_units(layout: &Layout, files: &Files, program: &Path) -> Result<Vec<PathBuf>, FileError> {
    let folder = layout.root().join(FOLDER_PATH);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut changed = Vec::new();
    for (name, text, target) in UNITS {
        let path = folder.join(name);
        let text = text.replace(PROGRAM, &program.to_string_lossy());
        if files.put(&path, text.as_bytes(), PUBLIC)? {
            changed.push(path.clone());
        }
        if let Some(target) = target {
            let wants = folder.join(format!("{target}.wants"));
            files.folder(&wants, FOLDER)?;
            let link = wants.join(name);
            let to = Path::new("/").join(FOLDER_PATH).join(name);
            if std::fs::read_link(&link).is_ok_and(|found| found == to) {
                continue;
            }
            files.remove(&link)?;
            symlink(&to, &link).map_err(FileError::of("made", &link))?;
            changed.push(link);
        }
    }
    Ok(changed)
}

/// Removes what [`install_units`] wrote; answers what was there.
///
/// # Errors
/// [`FileError`].
pub fn remove_units(layout: &Layout, files: &Files) -> Result<Vec<PathBuf>, FileError> {
    let folder = layout.root().join(FOLDER_PATH);
    let mut removed = Vec::new();
    for (name, _, target) in UNITS {
        let link = target.map(|target| folder.join(format!("{target}.wants")).join(name));
        for path in link.into_iter().chain([folder.join(name)]) {
            if files.remove(&path)? {
                removed.push(path);
            }
        }
    }
    Ok(removed)
}

/// Has a running systemd take the units up: the timer from now on, and the enrolment where that is wanted. Nothing in an image,
/// whose first boot does it.
///
/// # Errors
/// systemctl's words.
pub fn start_units(layout: &Layout, enroll: bool) -> Result<(), String> {
    if !runs_systemd(layout) {
        return Ok(());
    }
    systemctl(&["daemon-reload"])?;
    systemctl(&["start", "--no-block", "signet-host-sync.timer"])?;
    if enroll {
        systemctl(&["start", "--no-block", "signet-host-enroll.service"])?;
    }
    Ok(())
}

/// Stops the timer of a running systemd, before its unit is removed.
pub fn stop_units(layout: &Layout) {
    if runs_systemd(layout) {
        // What does not run cannot be stopped, and that is as well.
        drop(systemctl(&[
            "stop",
            "signet-host-sync.timer",
            "signet-host-enroll.service",
        ]));
    }
}

fn runs_systemd(layout: &Layout) -> bool {
    layout.root() == Path::new("/") && Path::new("/run/systemd/system").is_dir()
}

fn systemctl(words: &[&str]) -> Result<(), String> {
    let output = Command::new("systemctl").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_enabled_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let files = Files::new(&layout, None);
        let program = Path::new("/opt/signet");
        assert_eq!(
            install_units(&layout, &files, program).unwrap(),
            Vec::<PathBuf>::new(),
            "no systemd"
        );
        let folder = root.path().join(FOLDER_PATH);
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(install_units(&layout, &files, program).unwrap().len(), 5);
        assert_eq!(install_units(&layout, &files, program).unwrap(), Vec::<PathBuf>::new());
        for (name, _, _) in UNITS {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            assert!(!text.contains(PROGRAM), "{name}");
        }
        let timer = std::fs::read_link(folder.join("timers.target.wants/signet-host-sync.timer")).unwrap();
        assert_eq!(timer, Path::new("/etc/systemd/system/signet-host-sync.timer"));
        assert_eq!(remove_units(&layout, &files).unwrap().len(), 5);
        assert_eq!(remove_units(&layout, &files).unwrap(), Vec::<PathBuf>::new());
    }
}
