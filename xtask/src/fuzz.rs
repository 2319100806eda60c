//! `cargo xtask fuzz`: builds the fuzz targets with coverage counters in our own crates and runs them from their seeds.

use crate::machine::{COMPILERS, provide};
use crate::process::{command, finish, root, target};
use crate::report::line;

/// Reads the flags, then fuzzes.
///
/// # Errors
/// A bad flag, a build that fails, or an input that crashes a target.
pub(crate) fn run(arguments: &[&str]) -> crate::Chore {
    let (seconds, targets) = parse(arguments)?;
    provide(&[COMPILERS])?;
    fuzz(seconds, &targets)
}

fn parse<'a>(arguments: &[&'a str]) -> Result<(u32, Vec<&'a str>), String> {
    let mut seconds = 60;
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if *word == "--seconds" {
            let value = words.next().ok_or("--seconds needs a number")?;
            seconds = value
                .parse()
                .map_err(|_| format!("`{value}` is not a number of seconds"))?;
        } else if word.starts_with('-') {
            return Err(format!("unknown flag `{word}`; known: --seconds N"));
        } else {
            targets.push(*word);
        }
    }
    Ok((seconds, targets))
}

/// Builds and runs every target (or those named) for some seconds each.
///
/// # Errors
/// A build that fails, or an input that crashes a target: libFuzzer has printed it and the file it was written to.
pub(crate) fn fuzz(seconds: u32, only: &[&str]) -> crate::Chore {
    build()?;
    let names: Vec<String> = targets()?
        .into_iter()
        .filter(|name| only.is_empty() || only.contains(&name.as_str()))
        .collect();
    if names.is_empty() {
        return Err(format!(
            "no fuzz target is called {}; known: {}",
            only.join(", "),
            targets()?.join(", ")
        ));
    }
    for name in names {
        run_target(&name, seconds)?;
    }
    Ok(())
}

/// A build of our own crates with libFuzzer's counters. `--workspace` keeps the dependencies' features, and so their
/// build, the same as everywhere else.
fn build() -> crate::Chore {
    let line = ["cargo", "build", "--workspace", "--bin", "fuzz-*"];
    let wrapper = root().join("ca-core/fuzz/coverage-rustc.sh");
    finish(&line, command(&line).env("RUSTC_WORKSPACE_WRAPPER", wrapper))
}

/// The names of the targets: the files of `ca-core/fuzz/targets`.
fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("ca-core/fuzz/targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.replace('_', "-")))
        .collect();
    names.sort();
    Ok(names)
}

fn run_target(name: &str, seconds: u32) -> crate::Chore {
    let (seeds, folder) = (root().join("ca-core/fuzz/seeds").join(name), target("fuzz"));
    let found = folder.join(name);
    std::fs::create_dir_all(&found).map_err(|error| format!("cannot make {}: {error}", found.display()))?;
    let program = target("debug").join(format!("fuzz-{name}")).display().to_string();
    let artifacts = format!("-artifact_prefix={}/crash-", folder.display());
    let time = format!("-max_total_time={seconds}");
    let (found, seeds) = (found.display().to_string(), seeds.display().to_string());
    // A slow input is a finding too: nothing that we parse may take seconds, or hundreds of megabytes.
    let words = [
        &program,
        &artifacts,
        &time,
        "-max_len=16384",
        "-timeout=5",
        "-rss_limit_mb=1024",
        &found,
        &seeds,
    ];
    let printed = command(&words)
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let text = String::from_utf8_lossy(&printed.stderr).into_owned();
    if printed.status.success() {
        let done = text.lines().rfind(|line| line.contains("DONE")).unwrap_or("done");
        line(&format!("fuzz {name}, {seconds} s: {}", done.trim()));
        return Ok(());
    }
    line(&text);
    Err(format!(
        "fuzz target {name} found an input that it must survive; the lines above name the file"
    ))
}
