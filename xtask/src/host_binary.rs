//! `cargo xtask host-binary`: the client linked statically, one file that runs on every release that hosts have.

use std::path::PathBuf;

use crate::machine::{COMPILERS, provide};
use crate::process::{command, finish, root, target};
use crate::report::line;

/// Reads the flags, builds, and says where the file lies.
///
/// # Errors
/// A bad flag, or a build that fails.
pub(crate) fn run(arguments: &[&str]) -> crate::Chore {
    let release = match arguments {
        [] => true,
        ["--debug"] => false,
        _ => return Err(format!("unknown flags `{}`; known: --debug", arguments.join(" "))),
    };
    provide(&[COMPILERS])?;
    let file = build(release)?;
    line(&file.display().to_string());
    Ok(())
}

/// Builds the file and gives its path, `target/static/PROFILE/signet`.
///
/// It passes through the profile's own folder, whose `signet` is then the static one until the next build of the workspace
/// puts the ordinary one back: so this comes first.
///
/// # Errors
/// The build fails, or the file cannot be copied.
pub(crate) fn build(release: bool) -> Result<PathBuf, String> {
    let profile = if release { "release" } else { "debug" };
    let mut words = vec!["cargo", "build", "--workspace", "--bin", "signet"];
    words.extend(release.then_some("--release"));
    let wrapper = root().join("ssh-cli/static-rustc.sh");
    finish(&words, command(&words).env("RUSTC_WORKSPACE_WRAPPER", wrapper))?;
    let (built, folder) = (target(profile).join("signet"), target("static").join(profile));
    let file = folder.join("signet");
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        // By rename: a test that is running may be copying the old one to a host.
        std::fs::copy(&built, folder.join("signet.new"))?;
        std::fs::rename(folder.join("signet.new"), &file)
    };
    copy().map_err(|error| format!("cannot copy {} to {}: {error}", built.display(), file.display()))?;
    Ok(file)
}
