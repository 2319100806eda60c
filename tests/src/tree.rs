//! The Debian trees that hosts of the tests are made of: what `cargo xtask trees` has left under `/var/cache/signet-tests`.
//! Only root can use them; this is the one place that says what is left out, and why.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::workdir::is_root;

/// Where the trees lie; outside the checkout, since they outlive it.
const FOLDER: &str = "/var/cache/signet-tests";

/// The releases, oldest first, and their OpenSSH.
const SUITES: &[(&str, (u32, u32))] = &[("bullseye", (8, 4)), ("bookworm", (9, 2)), ("trixie", (10, 0))];

/// A minimal Debian with an OpenSSH server, as debootstrap makes it. Never changed: hosts are overlays of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    suite: &'static str,
    openssh: (u32, u32),
}

impl Tree {
    /// Every tree there is, oldest release first; none, and a line that says so, for an ordinary user.
    ///
    /// # Panics
    /// Root has no tree at all: then nothing of what needs one would be tested, and nobody would know.
    pub fn all() -> Vec<Self> {
        if !is_root() {
            eprintln!("left out: hosts in namespaces need root and the trees of `cargo xtask trees`");
            return Vec::new();
        }
        let (there, missing): (Vec<Self>, Vec<Self>) = SUITES
            .iter()
            .map(|&(suite, openssh)| Self { suite, openssh })
            .partition(|tree| tree.path().join(".recipe").is_file());
        assert!(
            !there.is_empty(),
            "no Debian tree under {FOLDER}; type: cargo xtask trees"
        );
        for tree in missing {
            eprintln!("left out: {tree}, whose tree is not under {FOLDER}; type: cargo xtask trees");
        }
        there
    }

    /// The tree that stands for all where the release does not count: Debian 12, or the newest there is.
    pub fn any() -> Option<Self> {
        let all = Self::all();
        let usual = all.iter().find(|tree| tree.suite == "bookworm");
        usual.or(all.last()).copied()
    }

    /// The release's name.
    pub fn suite(self) -> &'static str {
        self.suite
    }

    /// The version of its OpenSSH.
    pub fn openssh(self) -> (u32, u32) {
        self.openssh
    }

    /// The tree's root folder.
    pub fn path(self) -> PathBuf {
        Path::new(FOLDER).join(self.suite)
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.openssh;
        write!(formatter, "{} (OpenSSH {major}.{minor})", self.suite)
    }
}
