//! `cargo xtask demo`: a role, a certificate, a login, a record. Everything runs in folders of its own and is gone
//! afterwards; the commands are printed as a person would type them.

use std::process::Output;

use signet_tests::authority::{Authority, ROOT_TOKEN};
use signet_tests::person::Person;
use signet_tests::slides::{MOUNT, curl, requests};
use signet_tests::ssh::HERMETIC;
use signet_tests::sshd::SshdSetup;
use signet_tests::workdir::login_name;

fn main() {
    say("1. An authority: signet-ca dev, on loopback, with a throw-away store");
    let authority = Authority::dev();
    println!("   {} (root token: {ROOT_TOKEN})", authority.address());

    say("2. A mount, a CA key and a role, by the three requests that every Vault client makes");
    for (path, body) in requests() {
        println!(
            "   $ curl -H \"X-Vault-Token: …\" -d '{body}' {}/v1/{path}",
            authority.address()
        );
        print_indented(&curl(&authority, &path, body));
    }

    say("3. A host: stock sshd that trusts the authority's public key, fetched over HTTP");
    let ca_key = authority.anonymous().ca_key(MOUNT);
    println!("   TrustedUserCAKeys: {}", shortened(&ca_key));
    let mut sshd = SshdSetup::trusting(&ca_key).build();
    let port = sshd.listen().to_string();

    say("4. A person: no key, no certificate, just a login");
    let person = Person::using(&authority.address()).with("SIGNET_TOKEN", ROOT_TOKEN);
    let account = login_name();
    let destination = format!("{account}@127.0.0.1");
    println!(
        "   $ signet ssh -role=my-role -mount-point={MOUNT} {destination} -p {port} 'id -un; echo logged in by certificate'"
    );
    let known_hosts = format!("-user-known-hosts-file={}", sshd.known_hosts().display());
    let mount = format!("-mount-point={MOUNT}");
    let flags = [
        "ssh",
        "-role=my-role",
        &mount,
        &known_hosts,
        "-strict-host-key-checking=yes",
    ];
    let mut arguments = flags.to_vec();
    arguments.extend([destination.as_str(), "-p", port.as_str()]);
    arguments.extend(HERMETIC);
    arguments.push("id -un; echo logged in by certificate");
    let ran = person.run(&arguments).succeeded();
    print_indented(&ran.stdout);
    assert_eq!(ran.stdout, format!("{account}\nlogged in by certificate\n"));

    say("5. What sshd wrote: the key ID and the serial");
    let logged = sshd.log_line(&format!("Accepted publickey for {account}"));
    println!("   {logged}");
    let serial = between(&logged, "(serial ", ")");
    let key_id = between(&logged, " ID ", " (serial");

    say("6. What the ledger knows about that serial");
    println!(
        "   $ signet-ca audit search --serial {serial} {}",
        authority.data().display()
    );
    print_indented(&text(&authority.audit(&["search", "--serial", serial])));
    let found = text(&authority.audit(&["search", "--serial", serial, "--format=json"]));
    let record: serde_json::Value = serde_json::from_str(&found).expect("one record");
    println!(
        "   by policy {}, person {}, from {}",
        record["policies"], record["person"], record["address"]
    );
    assert_eq!(record["serial"], serial, "the ledger names the serial of the login");
    assert_eq!(record["key_id"], key_id, "and its key ID");

    say(&format!(
        "Done: one login, one record, the same serial {serial} in both"
    ));
}

fn say(headline: &str) {
    println!("\n{headline}");
}

/// The output of a command that must succeed.
fn text(output: &Output) -> String {
    let (printed, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{printed}{complaint}");
    printed.into_owned()
}

fn print_indented(text: &str) {
    for line in text.lines() {
        println!("   {}", line.chars().take(600).collect::<String>());
    }
}

fn shortened(key: &str) -> String {
    key.trim().chars().take(60).chain("…".chars()).collect()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text
        .split_once(before)
        .unwrap_or_else(|| panic!("`{before}` in `{text}`"))
        .1;
    rest.split_once(after)
        .unwrap_or_else(|| panic!("`{after}` in `{text}`"))
        .0
}
