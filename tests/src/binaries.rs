//! Finding the programs under test: our own beside this test's executable, OpenSSH's on the machine.

use std::path::PathBuf;

/// The path of one of our own binaries.
///
/// # Panics
/// It has not been built, with the command that builds it.
pub fn ours(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let folder = this.ancestors().skip(1).find(|folder| folder.join(name).is_file());
    folder.map_or_else(
        || panic!("`{name}` is not built; type: cargo build --workspace --bins"),
        |folder| folder.join(name),
    )
}

/// The `signet` that hosts get: linked statically, so that it runs on releases older than this machine's.
///
/// # Panics
/// It has not been built, with the command that builds it.
pub fn static_client() -> PathBuf {
    // target/PROFILE/signet and target/static/PROFILE/signet.
    let ours = ours("signet");
    let folder = ours.parent().expect("the profile's folder");
    let (profile, target) = (
        folder.file_name().expect("a profile"),
        folder.parent().expect("the target folder"),
    );
    let program = target.join("static").join(profile).join("signet");
    assert!(
        program.is_file(),
        "`{}` is not built; type: cargo xtask host-binary --debug",
        program.display()
    );
    program
}

/// The path of a program of this machine; daemons live outside the PATH of an ordinary user.
///
/// # Panics
/// It is not installed, with the command that installs it.
pub fn system(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("`{name}` is missing; type: apt-get install openssh-server openssh-client curl iproute2 packer")
        })
}

/// OpenSSH's version as (major, minor), from `ssh -V`.
pub fn openssh_version() -> (u32, u32) {
    let printed = std::process::Command::new(system("ssh"))
        .arg("-V")
        .output()
        .expect("`ssh -V`");
    let text = String::from_utf8_lossy(&printed.stderr).into_owned();
    let number = text.trim_start_matches("OpenSSH_");
    let mut parts = number
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse().ok());
    (
        parts.next().expect("a major version"),
        parts.next().expect("a minor version"),
    )
}
