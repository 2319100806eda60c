use clap::CommandFactory as _;

use super::*;
use crate::cli::Cli;

fn rewritten(line: &[&str]) -> Result<Vec<String>, ArgvError> {
    let words = std::iter::once("signet")
        .chain(line.iter().copied())
        .map(OsString::from);
    let mut tree = Cli::command();
    tree.build();
    let out = rewrite(&tree, words)?;
    Ok(out
        .into_iter()
        .skip(1)
        .map(|word| word.into_string().unwrap())
        .collect())
}

#[test]
fn one_dash_or_two_and_both_spellings_of_a_value_are_the_same() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["ssh", "-role=r", "u@h"], &["ssh", "--role=r", "--", "u@h"]),
        (&["ssh", "--role=r", "u@h"], &["ssh", "--role=r", "--", "u@h"]),
        (&["ssh", "-role", "r", "u@h"], &["ssh", "--role=r", "--", "u@h"]),
        (&["ssh", "--role", "r", "u@h"], &["ssh", "--role=r", "--", "u@h"]),
        (&["ssh", "-role", "-odd", "h"], &["ssh", "--role=-odd", "--", "h"]),
        (&["ssh", "-role=", "h"], &["ssh", "--role=", "--", "h"]),
        (&["ssh", "-no-exec", "h"], &["ssh", "--no-exec", "--", "h"]),
        (&["ssh", "-no-exec=false", "h"], &["ssh", "--no-exec=false", "--", "h"]),
        (&["ssh", "-header", "A=b=c", "h"], &["ssh", "--header=A=b=c", "--", "h"]),
        (&["ssh", "-h"], &["ssh", "-h"]),
        (&["ssh", "-help"], &["ssh", "--help"]),
        (&["-version"], &["--version"]),
        (
            &["login", "-method", "token", "hvs.x"],
            &["login", "--method=token", "hvs.x"],
        ),
        (&["inspect", "-"], &["inspect", "-"]),
    ];
    for (line, want) in rows {
        assert_eq!(rewritten(line).unwrap(), *want, "{line:?}");
    }
}

#[test]
fn everything_behind_the_host_goes_to_ssh_untouched() {
    let tail = [
        "u@h",
        "-p22",
        "-role=x",
        "-vv",
        "-L",
        "8080:localhost:80",
        "--",
        "ls",
        "-no-exec",
        "-rolex=1",
    ];
    let line: Vec<&str> = ["ssh", "-role=r"].into_iter().chain(tail).collect();
    let want: Vec<&str> = ["ssh", "--role=r", "--"].into_iter().chain(tail).collect();
    assert_eq!(rewritten(&line).unwrap(), want);
    let with_options = ["ssh", "-role=r", "--", "-p", "22", "h", "id"];
    assert_eq!(
        rewritten(&with_options).unwrap(),
        ["ssh", "--role=r", "--", "-p", "22", "h", "id"]
    );
}

#[test]
fn a_misspelt_flag_before_the_host_is_refused_with_the_nearest_one() {
    let rows: &[(&[&str], &str, Option<&str>)] = &[
        (&["ssh", "-rolex=1", "h"], "-rolex", Some("-role")),
        (&["ssh", "--mount-piont=x", "h"], "--mount-piont", Some("-mount-point")),
        (&["ssh", "-p22", "h"], "-p22", None),
        (&["ssh", "-role=r", "-oProxyCommand=id", "h"], "-oProxyCommand", None),
        (&["ssh", "-hx", "h"], "-hx", None),
    ];
    for (line, flag, near) in rows {
        match rewritten(line) {
            Err(ArgvError::UnknownFlag {
                flag: seen, nearest, ..
            }) => {
                assert_eq!(seen, *flag);
                if near.is_some() {
                    assert_eq!(nearest.as_deref(), *near, "{line:?}");
                }
            }
            other => panic!("{line:?}: {other:?}"),
        }
    }
    let unknown = rewritten(&["shs"]);
    assert!(matches!(unknown, Err(ArgvError::UnknownVerb { nearest: Some(near), .. }) if near == "ssh"));
    assert_eq!(
        rewritten(&["ssh", "-role"]),
        Err(ArgvError::MissingValue("-role".to_owned()))
    );
}

#[test]
fn no_short_flag_begins_a_long_one_that_ssh_could_mean() {
    Cli::command().debug_assert();
}
