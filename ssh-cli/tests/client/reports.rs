//! Help and error reports, letter by letter.

use std::process::Output;

use crate::world::{World, stderr, stdout};

fn normal(world: &World, text: &str) -> String {
    text.replace(&world.stub.address, "http://127.0.0.1:PORT")
        .replace(&world.path("").display().to_string(), "/WORLD/")
}

#[test]
fn help_is_as_written() {
    let world = World::new();
    insta::assert_snapshot!("help", stdout(&world.run(&["-help"])));
    for verb in ["ssh", "login", "sign", "inspect", "roles", "agent"] {
        insta::assert_snapshot!(format!("help_{verb}"), stdout(&world.run(&[verb, "-h"])));
    }
}

#[test]
fn every_error_says_what_why_and_what_next() {
    let world = World::new();
    let rows: &[(&str, &[&str])] = &[
        ("no verb", &[]),
        ("unknown verb", &["shs"]),
        ("unknown flag", &["ssh", "-rolex=1", "host"]),
        ("ssh option before the host", &["ssh", "-role=my-role", "-p22", "host"]),
        ("no role", &["ssh", "ubuntu@host"]),
        ("no host", &["ssh", "-role=my-role"]),
        ("hostile host", &["ssh", "-role=my-role", "a;id"]),
        ("option as user", &["ssh", "-role=my-role", "--", "--", "-x@host"]),
        ("otp mode", &["ssh", "-mode=otp", "-role=my-role", "ubuntu@host"]),
        ("bad ttl", &["ssh", "-role=my-role", "-ttl=soon", "ubuntu@host"]),
        (
            "bad checking",
            &["ssh", "-role=my-role", "-strict-host-key-checking=maybe", "ubuntu@host"],
        ),
        ("bad address", &["ssh", "-role=my-role", "-address=ca", "ubuntu@host"]),
        ("wrap", &["ssh", "-role=my-role", "-wrap-ttl=5m", "ubuntu@host"]),
        ("unknown role", &["ssh", "-role=nobody", "ubuntu@host"]),
        ("refused by policy", &["ssh", "-role=forbidden", "ubuntu@host"]),
        (
            "field without -no-exec",
            &["ssh", "-role=my-role", "-field=signed_key", "ubuntu@host"],
        ),
        ("refused principal", &["ssh", "-role=my-role", "root@host"]),
        (
            "missing ssh",
            &["ssh", "-role=my-role", "-ssh-executable=/no/ssh", "ubuntu@host"],
        ),
        (
            "missing key",
            &["ssh", "-role=my-role", "-public-key-path=/no/key.pub", "ubuntu@host"],
        ),
        ("nothing to sign", &["sign", "-role=my-role", "/dev/null"]),
        ("no key to log in", &["login"]),
        ("odd method", &["login", "-method=magic"]),
        ("no jwt", &["login", "-method=jwt", "-role=ci"]),
        ("missing certificate", &["inspect", "/no/cert.pub"]),
        ("unknown field", &["whoami", "-field=x"]),
        ("unknown format", &["whoami", "-format=xml"]),
    ];
    let report = |name: &str, output: &Output| {
        let code = output.status.code().unwrap();
        format!("--- {name} ({code})\n{}", normal(&world, &stderr(output)))
    };
    let mut all: Vec<String> = rows
        .iter()
        .map(|(name, words)| report(name, &world.run(words)))
        .collect();
    let mut token = world.signet(&["whoami"]);
    let output = token.env("SIGNET_TOKEN", "hvs.bad").output().unwrap();
    all.push(report("bad token", &output));
    let mut ssh = world.signet(&["ssh", "-role=r", "u@h"]);
    let output = ssh.env_remove("SIGNET_TOKEN").output().unwrap();
    all.push(report("no token", &output));
    insta::assert_snapshot!("reports", all.concat());
}

#[test]
fn completions_and_manual_pages_name_every_verb() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&world.run(&["completions", shell]));
        assert!(script.contains("whoami") && script.contains("mount-point"), "{shell}");
    }
    assert!(stdout(&world.run(&["man", "ssh"])).contains(".TH"));
    let folder = world.path("man").display().to_string();
    assert!(world.run(&["man", "-out", &folder]).status.success());
    assert!(world.path("man/signet-ssh.1").exists());
}

/// Scripts read 2 as "sealed" there, as from `vault status`.
#[test]
fn a_wrong_flag_of_operator_status_does_not_look_like_a_sealed_server() {
    let world = World::new();
    let code = |words: &[&str]| world.run(words).status.code();
    assert_eq!(code(&["operator", "status", "-bogus"]), Some(1));
    assert_eq!(code(&["operator", "seal", "-bogus"]), Some(2), "elsewhere it is usage");
}
