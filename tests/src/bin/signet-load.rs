//! Drives a running authority: `signet-load --port 8200 --pid PID --path ssh/sign/my-role --token-file FILE`. `cargo xtask
//! bench` does all of that by itself; this is for looking at one thing for longer, with a profiler attached.

use std::process::ExitCode;
use std::time::Duration;

use signet_tests::load::connection::Target;
use signet_tests::load::drive::{Plan, drive};
use signet_tests::load::subject_keys;
use signet_tests::workdir::login_name;

const USAGE: &str = "usage: signet-load --port N --pid N --path MOUNT/sign/ROLE --token-file FILE
                   [--connections 32] [--seconds 10] [--principal NAME] [--plain]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let flag = |name: &str| {
        let place = arguments.iter().position(|word| word == name)?;
        arguments.get(place + 1).cloned()
    };
    let number = |name: &str| flag(name).and_then(|text| text.parse::<u32>().ok());
    let (Some(port), Some(pid), Some(path), Some(file)) =
        (number("--port"), number("--pid"), flag("--path"), flag("--token-file"))
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let tokens: Vec<String> = std::fs::read_to_string(file)
        .expect("the tokens")
        .lines()
        .map(str::to_owned)
        .collect();
    let port = u16::try_from(port).expect("a port");
    let plain = arguments.iter().any(|word| word == "--plain");
    let target = if plain {
        Target { port, tls: None }
    } else {
        Target::tls(port)
    };
    let figures = drive(&Plan {
        target: &target,
        pid,
        path: &path,
        tokens: &tokens,
        principal: &flag("--principal").unwrap_or_else(login_name),
        keys: &subject_keys::make(50_000),
        connections: number("--connections").unwrap_or(32).try_into().expect("a count"),
        warm_up: Duration::from_secs(1),
        window: Duration::from_secs(number("--seconds").unwrap_or(10).into()),
    });
    println!(
        "{:.0} certificates/s, server {:.1} µs = {:.2} signs each, p50 {:.0} µs, p99 {:.0} µs, {:.1} MiB{}",
        figures.rate(),
        figures.micros_each(),
        figures.signs_each(),
        figures.p50,
        figures.p99,
        figures.resident,
        figures
            .doubt()
            .map(|doubt| format!("; not judged: {doubt}"))
            .unwrap_or_default(),
    );
    ExitCode::SUCCESS
}
