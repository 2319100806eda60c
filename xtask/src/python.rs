//! The Python programs that the end-to-end tests talk to and are talked to by: Vault's client hvac, moto as AWS, `PyKMIP` as a
//! KMIP server. They live in an environment of their own outside the checkout, so that `git clean` costs nothing.

use std::path::PathBuf;

use crate::machine::Need;
use crate::process::{environment, output, run};
use crate::report::line;

/// What makes the environment.
pub(crate) const PYTHON: &[Need] = &[("python3", "python3 python3-venv")];

/// The packages, each at the version that was tried.
const PACKAGES: &[&str] = &["hvac==2.4.0", "moto[server]==5.2.5", "PyKMIP==0.11.0"];

/// The environment's folder; `tests/src/python.rs` looks there too.
fn folder() -> PathBuf {
    if output(&["id", "-u"]) == "0" {
        return PathBuf::from("/var/cache/signet-tests/python");
    }
    let cache = environment("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || environment("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache.or_else(home).unwrap_or_default().join("signet-tests/python")
}

/// Makes sure that the environment has every package.
///
/// # Errors
/// It cannot be made, or a package cannot be had.
pub(crate) fn provide() -> crate::Chore {
    let folder = folder();
    let stamp = folder.join("packages");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    line(&format!("installing {} into {}", PACKAGES.join(" "), folder.display()));
    run(&["python3", "-m", "venv", &folder.display().to_string()])?;
    let pip = folder.join("bin/pip").display().to_string();
    let mut words = vec![pip.as_str(), "install", "--quiet", "--disable-pip-version-check"];
    words.extend(PACKAGES);
    run(&words)?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}
