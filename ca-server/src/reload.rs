//! SIGHUP: policies and certificate files are read again, sinks opened again. All or nothing for each of them: with a
//! mistake in the files, what was in force stays in force. Runs beside the request threads, never on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signet_core::ledger::EventKind;
use signet_core::mistake::Mistake;
use signet_core::policy_set::PolicySet;

use crate::config::Config;
use crate::foundation::Foundation;
use crate::ledger::LedgerError;
use crate::policy_dir;
use crate::tls::Tls;

/// Reads the configured policies; without a folder nobody may do anything but root.
///
/// # Errors
/// Every mistake in the files.
pub fn read_policies(config: &Config) -> Result<PolicySet, Vec<Mistake>> {
    match &config.policies {
        Some(folder) => policy_dir::read(folder),
        None => Ok(PolicySet::empty()),
    }
}

/// Does what SIGHUP asks for. What went wrong is logged with file and line.
pub fn reload(foundation: &Foundation, tls: Option<&Tls>) {
    foundation.ledger.reopen_sinks();
    if let Some(tls) = tls {
        match tls.reload() {
            Ok(()) => tracing::info!(fingerprint = tls.fingerprint(), "TLS certificate read"),
            Err(error) => tracing::error!(%error, "TLS certificate kept: the files cannot be used"),
        }
    }
    match read_policies(&foundation.config) {
        Ok(policy) => {
            if let Err(error) = enforce(foundation, policy) {
                foundation.metrics.policy_reload(false);
                tracing::error!(%error, "policies kept: the change cannot be recorded");
            }
        }
        Err(mistakes) => {
            foundation.metrics.policy_reload(false);
            log_mistakes(&mistakes);
            tracing::error!(
                mistakes = mistakes.len(),
                version = foundation.policy().version(),
                "policies kept"
            );
        }
    }
}

/// Logs each mistake on a line of its own.
pub fn log_mistakes(mistakes: &[Mistake]) {
    for mistake in mistakes {
        tracing::error!(file = mistake.file, line = mistake.line, "{mistake}");
    }
}

/// Records the set, then puts it in force. A set that only forbids more must not fail to come into force because the
/// disk is full; but then nothing can be issued either, so recording first loses nothing.
fn enforce(foundation: &Foundation, policy: PolicySet) -> Result<(), LedgerError> {
    let old = foundation.policy();
    record_policy(foundation, &policy)?;
    tracing::info!(version = policy.version(), "policies in force");
    foundation.set_policy(policy);
    foundation.metrics.policy_reload(true);
    drop_late(old);
    Ok(())
}

/// Writes the version in force into the ledger.
///
/// # Errors
/// [`LedgerError`]
pub fn record_policy(foundation: &Foundation, policy: &PolicySet) -> Result<(), LedgerError> {
    let roles = u64::try_from(policy.all_roles().count()).unwrap_or(u64::MAX);
    let event = foundation
        .ledger
        .event(EventKind::PolicyLoad)
        .text("version", policy.version())
        .number("roles", roles);
    foundation.ledger.record_blocking(event).map(drop)
}

/// Taking ten thousand policies apart costs milliseconds; no request should be the last to hold them.
fn drop_late(old: Arc<PolicySet>) {
    let given_up = Instant::now() + Duration::from_secs(2);
    while Arc::strong_count(&old) > 1 && Instant::now() < given_up {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(old);
}
