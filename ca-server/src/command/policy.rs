//! `signet-ca policy lint|test|explain|diff`: everything one wants to know of policy files before they are in force.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use signet_core::access::role_id;
use signet_core::caller::AuthMethod;
use signet_core::cases::CaseOutcome;
use signet_core::mistake::Mistake;
use signet_core::policy_set::{Access, Ask, Diff, Explanation, Finding, PolicySet};
use signet_core::time::UnixTime;

use crate::{command, policy_dir};

/// The exit code of a question that is answered with no.
const REFUSED: u8 = 3;

/// Works on policy files.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Finds what is legal and unwise; exit code 1 when there is something
    Lint(Folder),
    /// Runs the cases of tests/*.toml; exit code 1 when one fails
    Test(Folder),
    /// Tells why somebody may or may not have a certificate; exit code 3 when not
    Explain(Box<Explain>),
    /// Lists who gains and who loses which principals between two folders
    Diff(Folders),
}

/// A policies folder.
#[derive(Debug, Args)]
pub struct Folder {
    /// The policies folder
    #[arg(default_value = "policies")]
    folder: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Two policies folders.
#[derive(Debug, Args)]
pub struct Folders {
    /// The folder as it was
    old: PathBuf,
    /// The folder as it would be
    new: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Who asks for what.
#[derive(Debug, Args)]
pub struct Explain {
    /// The policies folder
    #[arg(default_value = "policies")]
    folder: PathBuf,
    /// Who asks
    #[arg(long)]
    person: String,
    /// The role
    #[arg(long)]
    role: String,
    /// The role's mount
    #[arg(long, default_value = signet_core::access::DEFAULT_MOUNT)]
    mount: String,
    /// Whom to log in as; may be repeated [default: the role's own]
    #[arg(long)]
    principal: Vec<String>,
    /// The caller's address [default: 192.0.2.1, which is outside]
    #[arg(long)]
    from: Option<IpAddr>,
    /// A group that comes with the login; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// How they logged in: ssh-key, jwt or token
    #[arg(long, default_value = "ssh-key", value_parser = method)]
    method: AuthMethod,
    /// Requested lifetime, such as 30m
    #[arg(long, value_parser = signet_core::time::parse_duration)]
    ttl: Option<u64>,
    /// When, such as 2026-11-22T03:00:00Z [default: a Monday noon]
    #[arg(long, value_parser = UnixTime::parse_rfc3339)]
    at: Option<UnixTime>,
    #[command(flatten)]
    output: Output,
}

/// How to print.
#[derive(Debug, Args)]
struct Output {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn method(word: &str) -> Result<AuthMethod, String> {
    AuthMethod::parse(word).ok_or_else(|| "use ssh-key, jwt or token".to_owned())
}

impl PolicyCommand {
    /// Does it, printing to standard output.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.run_to(&mut std::io::stdout().lock())
    }

    /// Does it, printing to `out`; mistakes in the files go to standard error, or to `out` as JSON.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn run_to(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self {
            Self::Lint(Folder { folder, output }) => with_set(&folder, output.format, out, |set, out| {
                lint(&set.lint(), output.format, out)
            }),
            Self::Test(Folder { folder, output }) => with_set(&folder, output.format, out, |set, out| {
                test(&set.run_cases(), output.format, out)
            }),
            Self::Explain(explain) => with_set(&explain.folder, explain.output.format, out, |set, out| {
                explained(&set.explain(&explain.ask()), explain.output.format, out)
            }),
            Self::Diff(Folders { old, new, output }) => with_set(&old, output.format, out, |old, out| {
                with_set(&new, output.format, out, |new, out| {
                    diff(&Diff::between(old, new), output.format, out)
                })
            }),
        }
    }
}

impl Explain {
    fn ask(&self) -> Ask {
        let usual = Ask::new(&self.person, &role_id(&self.mount, &self.role));
        Ask {
            mount: self.mount.clone(),
            role: self.role.clone(),
            groups: self.group.iter().cloned().collect(),
            principals: (!self.principal.is_empty()).then(|| self.principal.clone()),
            ttl_secs: self.ttl,
            from: self.from.unwrap_or(usual.from),
            method: self.method,
            at: self.at.unwrap_or(usual.at),
            ..usual
        }
    }
}

/// Reads a folder and goes on with it, or tells its mistakes.
fn with_set(
    folder: &Path,
    format: Format,
    out: &mut dyn Write,
    then: impl FnOnce(&PolicySet, &mut dyn Write) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match policy_dir::read(folder) {
        Ok(set) => then(&set, out),
        Err(mistakes) => {
            match format {
                Format::Text => command::print_mistakes(&mistakes),
                Format::Json => print_json(
                    out,
                    &json!({ "mistakes": mistakes.iter().map(mistake).collect::<Vec<_>>() }),
                )?,
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn lint(findings: &[Finding], format: Format, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => print_json(
            out,
            &json!({ "findings": findings.iter().map(finding).collect::<Vec<_>>() }),
        )?,
        Format::Text => {
            for finding in findings {
                writeln!(out, "{finding}")?;
            }
            match findings.len() {
                0 => writeln!(out, "nothing unwise found")?,
                count => writeln!(out, "\n{count} finding(s)")?,
            }
        }
    }
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

fn test(outcomes: &[CaseOutcome], format: Format, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    match format {
        Format::Json => print_json(
            out,
            &json!({ "cases": outcomes.iter().map(outcome).collect::<Vec<_>>() }),
        )?,
        Format::Text => {
            for CaseOutcome {
                name,
                file,
                line,
                passed,
                expected,
                found,
            } in outcomes
            {
                if *passed {
                    writeln!(out, "ok      {name}")?;
                } else {
                    writeln!(
                        out,
                        "FAILED  {name} ({file}:{line})\n        expected: {expected}\n        found:    {found}"
                    )?;
                }
            }
            writeln!(out, "\n{} passed, {failed} failed", outcomes.len() - failed)?;
        }
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn explained(explanation: &Explanation, format: Format, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => print_json(out, &chain(explanation))?,
        Format::Text => write!(out, "{explanation}")?,
    }
    Ok(if explanation.allowed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    })
}

fn diff(diff: &Diff, format: Format, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => {
            let list = |list: &[Access]| list.iter().map(access).collect::<Vec<_>>();
            print_json(out, &json!({ "gained": list(&diff.gained), "lost": list(&diff.lost) }))?;
        }
        Format::Text => {
            for gained in &diff.gained {
                writeln!(out, "+ {gained}")?;
            }
            for lost in &diff.lost {
                writeln!(out, "- {lost}")?;
            }
            if diff.is_empty() {
                writeln!(out, "nobody gains or loses anything")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(out: &mut dyn Write, value: &Value) -> anyhow::Result<()> {
    writeln!(out, "{value:#}")?;
    Ok(())
}

fn mistake(mistake: &Mistake) -> Value {
    json!({ "file": mistake.file, "line": mistake.line, "text": mistake.text, "hint": mistake.hint })
}

fn finding(
    Finding {
        file,
        line,
        code,
        text,
        why,
        fix,
    }: &Finding,
) -> Value {
    json!({ "file": file, "line": line, "code": code, "text": text, "why": why, "fix": fix })
}

fn outcome(
    CaseOutcome {
        name,
        file,
        line,
        passed,
        expected,
        found,
    }: &CaseOutcome,
) -> Value {
    json!({ "name": name, "file": file, "line": line, "passed": passed, "expected": expected, "found": found })
}

fn chain(explanation: &Explanation) -> Value {
    let steps = explanation.steps.iter();
    let steps: Vec<Value> = steps
        .map(|step| json!({ "link": step.link, "holds": step.holds, "text": step.text, "fix": step.fix }))
        .collect();
    json!({ "allowed": explanation.allowed(), "steps": steps })
}

fn access(
    Access {
        who,
        role,
        principal,
        sometimes,
    }: &Access,
) -> Value {
    json!({ "who": who, "role": role, "principal": principal, "sometimes": sometimes })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: PolicyCommand,
    }

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");

    /// Runs a command line; the exit code's debug text and what was printed.
    fn run(words: &[&str]) -> (ExitCode, String) {
        let line = Line::try_parse_from([&["policy"], words].concat()).unwrap();
        let mut out = Vec::new();
        let code = line.command.run_to(&mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    /// The example with one file changed.
    fn changed(file: &str, change: impl Fn(&str) -> String) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in policy_dir::read_files(Path::new(EXAMPLE)).unwrap() {
            let path = folder.path().join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if name == file { change(&text) } else { text }).unwrap();
        }
        folder
    }

    #[test]
    fn the_example_set_lints_clean_and_passes_its_cases() {
        assert_eq!(
            run(&["lint", EXAMPLE]),
            (ExitCode::SUCCESS, "nothing unwise found\n".to_owned())
        );
        let (code, text) = run(&["test", EXAMPLE]);
        assert_eq!(code, ExitCode::SUCCESS, "{text}");
        assert!(text.ends_with(" passed, 0 failed\n"), "{text}");
    }

    #[test]
    fn lint_fails_with_exit_code_1_and_says_why() {
        let folder = changed("roles/backend.toml", |text| text.replace("\"8h\"", "\"25h\""));
        let folder = folder.path().to_str().unwrap();
        let (code, text) = run(&["lint", folder]);
        assert_eq!(code, ExitCode::from(1));
        assert!(
            text.contains("roles/backend.toml: ") && text.contains("[ttl-above-24h]"),
            "{text}"
        );
        let (code, text) = run(&["lint", folder, "--format", "json"]);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (code, json["findings"][0]["code"].as_str()),
            (ExitCode::from(1), Some("ttl-above-24h"))
        );
    }

    #[test]
    fn a_failing_case_is_told_with_its_place() {
        let folder = changed("people.toml", |text| {
            text.replace("[people.chloe]\ngroups = [\"backend\"]", "[people.chloe]")
        });
        let (code, text) = run(&["test", folder.path().to_str().unwrap()]);
        assert_eq!(code, ExitCode::from(1));
        assert!(
            text.contains("FAILED  a backend engineer looks around from anywhere (tests/access.toml:"),
            "{text}"
        );
        assert!(text.contains("found:    deny (no-policy-permits)"), "{text}");
    }

    #[test]
    fn explain_answers_with_its_exit_code() {
        let ask = [
            "explain", EXAMPLE, "--person", "jwt/ci", "--method", "jwt", "--role", "ci",
        ];
        let (code, text) = run(&[ask.as_slice(), &["--group", "ci"]].concat());
        assert_eq!(code, ExitCode::SUCCESS, "{text}");
        let (code, text) = run(&ask);
        assert_eq!(code, ExitCode::from(3), "{text}");
        assert!(text.contains("STOP groups") && text.contains("ci-release"), "{text}");
        let (_, text) = run(&[ask.as_slice(), &["--format", "json"]].concat());
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["allowed"], json!(false));
        assert_eq!(json["steps"][1]["link"], json!("groups"));
    }

    #[test]
    fn diff_lists_who_loses_what() {
        let folder = changed("people.toml", |text| {
            text.replace("[people.kavya]\ngroups = [\"data\"]", "[people.kavya]")
        });
        let (code, text) = run(&["diff", EXAMPLE, folder.path().to_str().unwrap()]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(
            text,
            "- kavya: `analyst` with role `data`\n- kavya: `data` with role `data`\n- kavya: `postgres` with role `data`, under conditions\n"
        );
    }

    #[test]
    fn mistakes_end_every_verb_with_exit_code_1() {
        let folder = changed("access/ci.cedar", |text| text.replace("Group::\"ci\"", "Group::\"cj\""));
        let (code, text) = run(&["lint", folder.path().to_str().unwrap(), "--format", "json"]);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(code, ExitCode::from(1));
        assert_eq!(json["mistakes"][0]["file"], json!("access/ci.cedar"));
        assert!(json["mistakes"][0]["line"].is_number());
    }
}
