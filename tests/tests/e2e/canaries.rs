//! Secrets are where they must be and nowhere else: not in files, not in what a process shows, not in a core, and not in the
//! memory of a sealed server. Each kind of secret is put in as a canary and then sought.

mod clients;
mod cores;
mod memory;
mod opened;
mod seals;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::json;
use signet_tests::authority::Authority;
use signet_tests::canary::Canaries;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::person::{Person, Ran};
use signet_tests::team::{ROLE, Team};
use signet_tests::workdir::{Workdir, login_name};

const SHAMIR: &str = "[seal]\ntype = \"shamir\"\n";
/// Everything that our code and all libraries have to tell.
const LOGS_ALL: (&str, &str) = ("SIGNET_LOG", "trace");
/// The kinds of CA key that are imported and made, in ssh-keygen's and in Vault's words.
const KINDS: &[(&str, u32, &str)] = &[
    ("ed25519", 0, "ed25519"),
    ("ecdsa", 256, "ec"),
    ("ecdsa", 384, "ec"),
    ("ecdsa", 521, "ec"),
    ("rsa", 2048, "rsa"),
];

/// An operator with the client, who is not asked about TLS.
fn operator(authority: &Authority) -> Person {
    Person::using(&authority.address()).with("SIGNET_SKIP_VERIFY", "true")
}

/// `signet` with a text on its standard input.
fn with_stdin(person: &Person, arguments: &[&str], text: &str) -> Ran {
    let mut child = person
        .signet(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("signet starts");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    Ran::from(child.wait_with_output().expect("its end"))
}

/// What stands behind `Unseal Key 1: ` and the like.
fn printed(text: &str, begin: &str) -> Vec<String> {
    let ours = text.lines().filter(|line| line.starts_with(begin));
    ours.filter_map(|line| line.split(": ").nth(1).map(str::to_owned))
        .collect()
}

/// Adds shares in the form they are printed in.
fn add_shares(canaries: &mut Canaries, name: &str, shares: &[String]) {
    for (index, share) in shares.iter().enumerate() {
        canaries.add(&format!("{name} {index}"), &STANDARD.decode(share).expect("base64"));
    }
}

/// A server of key shares through which every secret that goes over its wire has gone.
struct Used {
    authority: Authority,
    canaries: Canaries,
    /// The shares in force, in base64.
    shares: Vec<String>,
    root: String,
    /// Holds what the configuration names.
    folder: Workdir,
}

fn used() -> Used {
    let folder = Workdir::new();
    let issuer = Issuer::new();
    let sink = "\n[[audit.sink]]\ntype = \"file\"\npath = \"sink.jsonl\"\n";
    let config = format!("{sink}{SHAMIR}{}", issuer.config(folder.path()));
    let policies = |policies: &Path| Team::default().install(policies);
    let authority = Authority::serve_sealed_with(policies, &config, &[LOGS_ALL]);
    let mut canaries = Canaries::default();

    // An operator opens it.
    let operator = operator(&authority);
    let made = operator
        .run(&["operator", "init", "-key-shares=3", "-t", "2"])
        .succeeded();
    let shares = printed(&made.stdout, "Unseal Key");
    let root = printed(&made.stdout, "Initial Root Token").remove(0);
    canaries.add("root token", root.as_bytes());
    add_shares(&mut canaries, "key share", &shares);
    for share in &shares[1..] {
        with_stdin(&operator, &["operator", "unseal", "-"], share).succeeded();
    }

    // CA keys of each kind come in, others are made.
    let api = || authority.api(&root);
    for (kind, bits, key_type) in KINDS {
        let name = format!("{kind}{bits}");
        let key = KeyFile::generate(folder.path(), &name, kind, (*bits > 0).then_some(*bits));
        let pem = std::fs::read_to_string(key.path()).expect("the key");
        for mount in [format!("imported-{name}"), format!("made-{name}")] {
            api().write(&format!("sys/mounts/{mount}"), &json!({"type": "ssh"}));
        }
        let import = json!({"private_key": pem, "public_key": key.public_line()});
        api().write(&format!("imported-{name}/config/ca"), &import);
        let generate = json!({"generate_signing_key": true, "key_type": key_type, "key_bits": bits});
        api().write(&format!("made-{name}/config/ca"), &generate);
        canaries.add_pem(&format!("imported {name}"), &pem);
    }

    // Somebody logs in and has a key certified; the operators make a root token and new shares.
    let job = authority.ci_token(&issuer);
    canaries.add("login token", job.as_bytes());
    let key = KeyFile::ed25519(folder.path(), "job").public_line();
    let signed = authority.api(&job).sign("ssh", ROLE, &key, &login_name());
    signed.signed_key();
    let generated = generated_root(&operator, &shares, &mut canaries);
    canaries.add("generated root token", generated.as_bytes());
    let rekey = |arguments: &[&str], share: &str| {
        with_stdin(&operator, &[&["operator", "rekey"], arguments, &["-"]].concat(), share).succeeded()
    };
    rekey(&["-init", "-n=2", "-t=2", "-verify=false"], &shares[0]);
    rekey(&[], &shares[0]);
    let shares = printed(&rekey(&[], &shares[2]).stdout, "Key ");
    add_shares(&mut canaries, "new key share", &shares);
    opened::add_secrets_of(&authority.data(), &opened::shares(&shares), &mut canaries);
    Used {
        authority,
        canaries,
        shares,
        root,
        folder,
    }
}

/// A root token that the holders of two shares make; its one-time password becomes a canary.
fn generated_root(operator: &Person, shares: &[String], canaries: &mut Canaries) -> String {
    let generate = |arguments: &[&str], text: &str| {
        let ran = with_stdin(operator, &[&["operator", "generate-root"], arguments].concat(), text);
        ran.succeeded().stdout.trim().to_owned()
    };
    let otp = generate(&["-init", "-field=otp", "-"], &shares[0]);
    canaries.add("one-time password", otp.as_bytes());
    generate(&["-"], &shares[0]);
    let veiled = generate(&["-field=encoded_token", "-"], &shares[1]);
    generate(&["-decode=-", &format!("-otp={otp}")], &veiled)
}

/// Nothing in the server's folder (data, configuration, ledger, sinks, log) nor in what its process shows. Files of these
/// names are there to hold secrets.
fn assert_not_shown(authority: &Authority, canaries: &Canaries, holders: &[&str]) {
    let may_hold = |file: &Path| holders.iter().any(|name| file.ends_with(name));
    let mut found = canaries.found_under(authority.folder().path(), &may_hold);
    found.extend(canaries.found_in_listing(authority.pid()));
    assert!(found.is_empty(), "{found:#?}");
    assert!(authority.log().len() > 1000, "there is a log to look at");
}

/// And no core of it, whatever it dies of. (Rust takes the first SIGSEGV that is not its own fault for a mistake.)
fn assert_no_core(authority: &mut Authority, canaries: &Canaries, holders: &[&str]) {
    for signal in [Signal::ABORT, Signal::QUIT] {
        cores::allow(authority.pid());
        assert!(
            !authority.die_of(signal).core_dumped_in(authority.folder().path()),
            "{signal:?}"
        );
        authority.start();
    }
    assert_not_shown(authority, canaries, holders);
}

use cores::CoreDumped as _;

#[test]
fn no_secret_that_went_over_the_wire_is_in_a_file_a_listing_or_a_core() {
    let Used {
        mut authority,
        mut canaries,
        folder: _folder,
        ..
    } = used();
    let holders = ["data/tls.key"];
    let tls = std::fs::read_to_string(authority.data().join("tls.key")).expect("the TLS key");
    // What follows this line is the public half.
    canaries.add_text("TLS key (a line of the PEM)", tls.lines().nth(2).expect("a body"));
    opened::add_private("TLS key", &opened::of_pem(&tls), &mut canaries);
    assert!(
        !canaries.found_under(&authority.data(), &|_| false).is_empty(),
        "the search finds: the TLS key's file"
    );
    assert_not_shown(&authority, &canaries, &holders);
    assert_no_core(&mut authority, &canaries, &holders);
}
