//! Core files: where the kernel would write one, and that it does so for an ordinary process.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use signet_tests::canary::{Canaries, files_under};
use signet_tests::workdir::Workdir;

const UNLIMITED: Rlimit = Rlimit {
    current: None,
    maximum: None,
};

/// Lifts the limit on core files of a process; only root may lift one that the process has set itself.
pub(super) fn allow(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Core, UNLIMITED).ok();
}

pub(super) trait CoreDumped {
    /// Whether the kernel wrote a core: it says so, or there is one in the folder where it would be (where cores do not go
    /// to a program).
    fn core_dumped_in(&self, folder: &Path) -> bool;
}

impl CoreDumped for ExitStatus {
    fn core_dumped_in(&self, folder: &Path) -> bool {
        self.core_dumped() || cores_in(folder) > 0
    }
}

fn cores_in(folder: &Path) -> usize {
    let is_core = |file: &std::path::PathBuf| {
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("core"))
    };
    files_under(folder).iter().filter(|file| is_core(file)).count()
}

#[test]
fn an_ordinary_process_leaves_a_core_with_its_secrets_so_that_looking_for_one_is_known_to_work() {
    let folder = Workdir::new();
    let script = "ulimit -c unlimited 2>/dev/null; secret=$(printf 'canary-%s' of-a-core); kill -SEGV $$";
    let ended = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder.path())
        .status();
    let ended = ended.expect("sh");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("where cores go");
    assert!(ended.core_dumped(), "{ended:?}; cores go to `{}`", pattern.trim());
    if pattern.starts_with(['|', '/']) {
        return;
    }
    assert_eq!(cores_in(folder.path()), 1, "cores go to `{}`", pattern.trim());
    let mut canaries = Canaries::default();
    canaries.add_text("secret", "canary-of-a-core");
    assert!(!canaries.found_under(folder.path(), &|_| false).is_empty());
}
