//! What keeps secrets in memory from others on this machine, out of core files and out of swap. Not in here: that freed
//! memory is wiped, which is the allocator's matter (`main.rs`).

use std::fmt;

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, capabilities};

/// Comes first in `main`, before the command line, the configuration or a secret is read.
///
/// What fails here is told by [`lock_and_report`], as there is no log yet.
pub fn harden() {
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Not dumpable: no core file, and no debugger and no look into /proc/PID/{mem,environ} for others of the same user.
    // This is what counts: where cores go to a program (systemd-coredump), the kernel does not ask the limit.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).ok();
}

/// Locks the memory where that is permitted, and warns of what the system did not give. Once the log is there, and before
/// secrets are read.
pub fn lock_and_report() {
    if !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)) {
        tracing::warn!("core files cannot be forbidden: a core of this process would hold the keys");
    }
    if getrlimit(Resource::Core).current != Some(0) {
        tracing::warn!("the limit of core files cannot be set to 0");
    }
    match lock_memory() {
        Ok(()) => tracing::debug!("memory is locked: it does not go to swap"),
        Err(error) => tracing::warn!(
            %error,
            hint = "set LimitMEMLOCK=infinity in the unit (`ulimit -l unlimited`), or have no swap but an encrypted one",
            "memory is not locked, keys may go to swap"
        ),
    }
}

/// Why memory is not locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotLocked {
    /// Memory beyond the limit could be had no more, so that the server would end in the middle of its work.
    Limit(u64),
    /// The kernel refuses.
    Refused(Errno),
}

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(bytes) => write!(f, "RLIMIT_MEMLOCK is {bytes} bytes"),
            Self::Refused(errno) => write!(f, "mlockall: {errno}"),
        }
    }
}

/// Locks what is there and what comes, each page when it is first touched: memory that is only reserved stays free.
fn lock_memory() -> Result<(), NotLocked> {
    // With a finite limit the call may succeed and allocations fail later, long after the start.
    if let Some(bytes) = getrlimit(Resource::Memlock).current
        && !may_exceed_limits()
    {
        return Err(NotLocked::Limit(bytes));
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(NotLocked::Refused)
}

/// Whether `CAP_IPC_LOCK` lifts the limit. In a user namespace one can have it and it lifts nothing: the kernel asks for the
/// first namespace's.
fn may_exceed_limits() -> bool {
    let has_it = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    has_it && map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}
