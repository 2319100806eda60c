//! The local alarm: a program of the operator's that is run at each break-glass login, also while the authority is away.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use signet_core::enrollment::AcceptedLogin;

/// How long one run may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Why an alarm did not go out.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    /// Somebody else could have written it.
    #[error("the alarm program `{path}` is not run: {why}")]
    Unsafe {
        /// Which file.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It did not start or did not take its input.
    #[error("the alarm program `{path}` does not run")]
    Run {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("the alarm program `{path}` ended with {status}")]
    Failed {
        /// Which file.
        path: String,
        /// How.
        status: ExitStatus,
    },
    /// It did not end.
    #[error("the alarm program `{path}` did not end within 10 s")]
    TooSlow {
        /// Which file.
        path: String,
    },
}

/// Runs the program with one line of JSON on its stdin; nothing where there is no program.
///
/// # Errors
/// [`AlarmError`]; the alarm is then due again.
pub fn raise(hook: &Path, host: &str, login: &AcceptedLogin) -> Result<(), AlarmError> {
    let shown = || hook.display().to_string();
    let metadata = match std::fs::symlink_metadata(hook) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(AlarmError::Run { path: shown(), source }),
        Ok(metadata) => metadata,
    };
    if let Some(why) = unsafe_because(&metadata) {
        return Err(AlarmError::Unsafe { path: shown(), why });
    }
    let line = json!({"event": "breakglass-login", "host": host, "login": login}).to_string();
    let run = |source| AlarmError::Run { path: shown(), source };
    let mut child = Command::new(hook)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may still have raised the alarm.
        drop(stdin.write_all(format!("{line}\n").as_bytes()));
    }
    match wait(&mut child).map_err(run)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(AlarmError::Failed { path: shown(), status }),
        None => Err(AlarmError::TooSlow { path: shown() }),
    }
}

/// It runs as root, so only root (in tests: whoever runs this) may be able to change it.
fn unsafe_because(metadata: &std::fs::Metadata) -> Option<&'static str> {
    let me = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        Some("it is not a plain file")
    } else if metadata.uid() != 0 && metadata.uid() != me {
        Some("it does not belong to root")
    } else if metadata.mode() & 0o022 != 0 {
        Some("others can write to it")
    } else if metadata.mode() & 0o111 == 0 {
        Some("it is not executable")
    } else {
        None
    }
}

fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    while started.elapsed() < TIME_MAX {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_a_program_that_nobody_else_can_change_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let hook = folder.path().join("alarm");
        let out = folder.path().join("out");
        let login = AcceptedLogin {
            account: "breakglass".to_owned(),
            ..AcceptedLogin::default()
        };
        raise(&hook, "web-1", &login).unwrap();
        let write = |body: &str, mode| {
            std::fs::write(&hook, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&format!("cat >> {}", out.display()), 0o755);
        raise(&hook, "web-1", &login).unwrap();
        let told: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(
            (told["host"].as_str(), told["login"]["account"].as_str()),
            (Some("web-1"), Some("breakglass"))
        );
        write("true", 0o775);
        assert!(matches!(raise(&hook, "h", &login), Err(AlarmError::Unsafe { .. })));
        write("true", 0o644);
        assert!(matches!(raise(&hook, "h", &login), Err(AlarmError::Unsafe { .. })));
        write("exit 3", 0o755);
        assert!(matches!(raise(&hook, "h", &login), Err(AlarmError::Failed { .. })));
        std::os::unix::fs::symlink(&hook, folder.path().join("link")).unwrap();
        assert!(matches!(
            raise(&folder.path().join("link"), "h", &login),
            Err(AlarmError::Unsafe { .. })
        ));
    }
}
