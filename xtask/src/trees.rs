//! `cargo xtask trees`: the Debian trees that the tests make hosts of, by debootstrap, kept under `/var/cache`. Only root
//! can make and use them; whoever cannot is told what is left out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;

use crate::process::{command, environment, output};
use crate::report::line;

const FOLDER: &str = "/var/cache/signet-tests";

/// The releases whose OpenSSH (8.4, 9.2, 10.0) hosts are tested with, and what only some need: Ansible wants Python on its
/// host, and one host is enough for it.
const SUITES: &[(&str, &str)] = &[("bullseye", ""), ("bookworm", ",python3"), ("trixie", "")];

const PACKAGES: &str = "openssh-server,openssh-client,procps,ca-certificates,sudo,curl";

/// What is done to a tree once it is there: no host keys, since each host makes its own, and nothing that only apt needs.
const FINISH: &str = "rm -rf etc/ssh/ssh_host_* var/cache/apt/* var/lib/apt/lists/* usr/share/doc/* usr/share/locale/*";

/// Trees in the making, beside the build.
#[derive(Debug)]
pub(crate) struct Trees(Option<JoinHandle<Vec<Result<(), String>>>>);

/// Makes the trees that are missing or of another recipe, and waits for them.
///
/// # Errors
/// This is not root, or no tree could be made.
pub(crate) fn run() -> crate::Chore {
    if !is_root() {
        return Err("debootstrap needs root; type: sudo cargo xtask trees".to_owned());
    }
    Trees::begin().wait()
}

/// Whether this can make and use trees.
pub(crate) fn is_root() -> bool {
    output(&["id", "-u"]) == "0"
}

impl Trees {
    /// Begins, in the background: it is the network that takes the time.
    pub(crate) fn begin() -> Self {
        Self(is_root().then(|| std::thread::spawn(make_all)))
    }

    /// Waits for all, and says loudly which are missing.
    ///
    /// # Errors
    /// Root ends up with no tree at all: then nothing of what hosts do would be tested.
    pub(crate) fn wait(self) -> crate::Chore {
        let Some(making) = self.0 else {
            line(
                "LEFT OUT: everything that runs on hosts in namespaces (images, host sync, break-glass on hosts): needs root",
            );
            return Ok(());
        };
        let made = making.join().map_err(|_| "making the trees was lost".to_owned())?;
        for reason in made.iter().filter_map(|made| made.as_ref().err()) {
            line(&format!("LEFT OUT: hosts of one release: {reason}"));
        }
        if made.iter().all(Result::is_err) {
            return Err(format!(
                "no Debian tree under {FOLDER}: debootstrap failed for every release"
            ));
        }
        Ok(())
    }
}

fn make_all() -> Vec<Result<(), String>> {
    let make = || -> std::io::Result<std::fs::File> {
        std::fs::create_dir_all(FOLDER)?;
        let lock = std::fs::File::create(Path::new(FOLDER).join(".lock"))?;
        // Two checkouts on one machine share the trees; the second finds them made.
        lock.lock()?;
        Ok(lock)
    };
    let _lock = match make() {
        Ok(lock) => lock,
        Err(error) => return vec![Err(format!("cannot use {FOLDER}: {error}"))],
    };
    let making: Vec<_> = SUITES
        .iter()
        .map(|&(suite, more)| std::thread::spawn(move || make_tree(suite, more)))
        .collect();
    let lost = |_| Err("making it was lost".to_owned());
    making
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(lost))
        .collect()
}

/// Makes one tree beside its place and renames it there, unless it is there by this recipe.
fn make_tree(suite: &str, more: &str) -> crate::Chore {
    let place = Path::new(FOLDER).join(suite);
    let recipe = format!("minbase + {PACKAGES}{more}; {FINISH}\n");
    if std::fs::read_to_string(place.join(".recipe")).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    let beside = |what: &str| Path::new(FOLDER).join(format!("{suite}.{what}"));
    let (new, old, log) = (beside("new"), beside("old"), beside("log"));
    remove(&new)?;
    debootstrap(suite, &format!("--include={PACKAGES}{more}"), &new, &log)?;
    let script = format!("set -eu; cd {}; {FINISH}", new.display());
    crate::process::run(&["sh", "-c", &script])?;
    let put = || -> std::io::Result<()> {
        std::fs::write(new.join(".recipe"), &recipe)?;
        if place.exists() {
            std::fs::rename(&place, &old)?;
        }
        std::fs::rename(&new, &place)
    };
    put().map_err(|error| format!("cannot put {}: {error}", place.display()))?;
    line(&format!("made {}", place.display()));
    remove(&old)
}

fn debootstrap(suite: &str, include: &str, folder: &Path, log: &Path) -> crate::Chore {
    let mirror = environment("SIGNET_TEST_MIRROR").unwrap_or_else(|| "http://deb.debian.org/debian".into());
    let mirror = mirror.to_string_lossy();
    let folder = folder.display().to_string();
    let words = [
        "/usr/sbin/debootstrap",
        "--variant=minbase",
        include,
        suite,
        &folder,
        &mirror,
    ];
    let failed = |reason: String| format!("debootstrap {suite} from {mirror}: {reason}; see {}", log.display());
    let file = std::fs::File::create(log).map_err(|error| failed(error.to_string()))?;
    let more = file.try_clone().map_err(|error| failed(error.to_string()))?;
    let status = command(&words)
        .stdout(Stdio::from(file))
        .stderr(Stdio::from(more))
        .status()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(status.to_string()))
    }
}

fn remove(folder: &PathBuf) -> crate::Chore {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
