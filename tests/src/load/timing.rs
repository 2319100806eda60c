//! Wall and CPU time of whole commands, children included, as the shell's `time` gives them.

use std::process::{Command, Stdio};

/// What a command took, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// From start to end.
    pub wall: f64,
    /// User and system CPU of the command and the children it waited for.
    pub cpu: f64,
}

/// Runs a prepared command under bash's `time`, which reads the kernel's exact figures for children.
///
/// # Panics
/// The command fails.
pub fn time(command: &Command) -> Took {
    let script = "TIMEFORMAT='%3R %3U %3S'; time \"$@\" >/dev/null 2>&1 </dev/null";
    let mut shell = Command::new("bash");
    shell
        .args(["-c", script, "bash"])
        .arg(command.get_program())
        .args(command.get_args());
    shell
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let output = shell.stdin(Stdio::null()).output().expect("bash starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?} failed under `time`: {text}");
    let line = text.lines().last().unwrap_or_default();
    let seconds: Vec<f64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
    let [wall, user, system] = seconds[..] else {
        panic!("no times in `{text}`")
    };
    Took {
        wall: wall * 1000.0,
        cpu: (user + system) * 1000.0,
    }
}
