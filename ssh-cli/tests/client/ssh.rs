//! `signet ssh`: what the real ssh is called with, and what never gets that far.

use crate::world::{World, stderr, stdout};

/// The recorded words with the socket's path taken out.
fn words(world: &World) -> Vec<String> {
    let argv = world.argv().expect("ssh has run");
    argv.iter()
        .map(|word| match word.split_once('=') {
            Some((name @ ("IdentityAgent" | "CertificateFile" | "UserKnownHostsFile"), _)) => format!("{name}=…"),
            _ => word.clone(),
        })
        .collect()
}

#[test]
fn ssh_gets_our_options_the_persons_two_dashes_the_target_and_the_command() {
    let world = World::new();
    for no_agent in ["-no-agent=false", "-no-agent"] {
        let output = world.run(&[
            "ssh",
            "-role=my-role",
            no_agent,
            "deploy@host",
            "-p22",
            "-tt",
            "--",
            "id",
            "-un",
        ]);
        assert_eq!(output.status.code(), Some(42), "{}", stderr(&output));
        let want = [
            "-o",
            "IdentityAgent=…",
            "-o",
            "IdentitiesOnly=no",
            "-p22",
            "-tt",
            "--",
            "deploy@host",
            "id",
            "-un",
        ];
        assert_eq!(words(&world), want);
    }
    let (_, _, body) = world.stub.requests().pop().unwrap();
    let mut names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["cert_type", "or_default_user", "public_key", "valid_principals"],
        "the smallest request"
    );
    assert_eq!(body["valid_principals"], "deploy");
}

#[test]
fn flags_for_ssh_and_the_request_act() {
    let world = World::new();
    let output = world.run(&[
        "ssh",
        "-role=my-role",
        "-ttl=5m",
        "-extension=permit-pty",
        "-extension",
        "login@example.com=a",
        "-strict-host-key-checking=accept-new",
        "-user-known-hosts-file=/dev/null",
        "-valid-principals=a,b",
        "--",
        "-p",
        "22",
        "host",
    ]);
    assert_eq!(output.status.code(), Some(42), "{}", stderr(&output));
    let argv = words(&world);
    assert!(
        argv.contains(&"StrictHostKeyChecking=accept-new".to_owned()),
        "{argv:?}"
    );
    assert!(
        argv.ends_with(&["-p", "22", "--", "host"].map(str::to_owned)),
        "{argv:?}"
    );
    let (method, path, body) = world.stub.requests().pop().unwrap();
    assert_eq!((method.as_str(), path.as_str()), ("PUT", "/v1/ssh/sign/my-role"));
    assert_eq!(body["ttl"], "300s");
    assert_eq!(body["valid_principals"], "a,b");
    assert_eq!(
        body["extensions"],
        serde_json::json!({"permit-pty": "", "login@example.com": "a"})
    );
}

#[test]
fn a_host_ca_is_believed_alone_and_its_key_is_written_anew() {
    let world = World::new();
    world.script("ssh", "for w in \"$@\"; do case $w in UserKnownHostsFile=*) cat \"${w#*=}\";; esac; done; printf '%s\\0' \"$@\" > \"$OUT\"");
    for no_agent in ["-no-agent=false", "-no-agent"] {
        let output = world.run(&[
            "ssh",
            "-role=my-role",
            no_agent,
            "-host-key-mount-point=hosts",
            "-host-key-hostnames=*.example.com",
            "u@host",
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        let argv = words(&world);
        assert!(argv.contains(&"StrictHostKeyChecking=yes".to_owned()), "{argv:?}");
        let line = stdout(&output);
        assert!(
            line.starts_with("@cert-authority *.example.com ssh-ed25519 AAAA"),
            "{line}"
        );
        assert!(!line.contains("host CA"), "a comment of the server stays out: {line}");
    }
}

#[test]
fn hostile_names_never_reach_ssh() {
    let world = World::new();
    let trap = world.path("trap").display().to_string();
    let hosts = [
        format!("a;touch {trap}"),
        format!("`touch {trap}`"),
        format!("$(touch {trap})"),
        "a'b".to_owned(),
        "a\nb".to_owned(),
        "%h".to_owned(),
        "x@-oProxyCommand=id".to_owned(),
        "a|b@host".to_owned(),
    ];
    for host in &hosts {
        let output = world.run(&["ssh", "-role=my-role", host]);
        assert_eq!(output.status.code(), Some(2), "{host:?}: {}", stderr(&output));
    }
    let dash = format!("-oProxyCommand=touch {trap}");
    assert_eq!(world.run(&["ssh", "-role=my-role", &dash]).status.code(), Some(2));
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "--", "--", &dash]).status.code(),
        Some(2)
    );
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "host", "-l", "a;b"]).status.code(),
        Some(2)
    );
    assert!(world.argv().is_none(), "ssh has not run");
    assert!(!world.path("trap").exists());
    assert_eq!(world.stub.signs(), 0);
}

#[test]
fn without_a_user_the_persons_own_configuration_decides() {
    let world = World::new();
    std::fs::create_dir(world.path("home/.ssh")).unwrap();
    std::fs::write(world.path("home/.ssh/config"), "Host host\n  User deploy\n").unwrap();
    // The real ssh looks for its configuration in the account's home, not in $HOME, so the answer is played here.
    world.script(
        "ssh",
        "[ \"$1\" = -G ] && echo user deploy && exit; printf '%s\\0' \"$@\" > \"$OUT\"",
    );
    assert!(world.run(&["ssh", "-role=my-role", "host"]).status.success());
    assert_eq!(world.stub.requests().pop().unwrap().2["valid_principals"], "deploy");
    assert_eq!(words(&world).last().unwrap(), "host");
}

#[test]
fn a_given_key_is_signed_and_its_certificate_is_gone_afterwards() {
    let world = World::new();
    let key = world.path("home/id");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-qt", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    world.script(
        "ssh",
        "for w in \"$@\"; do case $w in CertificateFile=*) ssh-keygen -Lf \"${w#*=}\"; stat -c %a \"${w#*=}\";; esac; done; exit 7",
    );
    let public = format!("{}.pub", key.display());
    let output = world.run(&["ssh", "-role=my-role", "-public-key-path", &public, "ubuntu@host"]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stdout(&output).contains("Serial: 4711"), "{}", stdout(&output));
    assert!(stdout(&output).ends_with("600\n"), "{}", stdout(&output));
    assert_eq!(world.files("run"), Vec::<std::path::PathBuf>::new());

    let printed = world.run(&[
        "ssh",
        "-role=my-role",
        "-no-exec",
        "-field=signed_key",
        "-public-key-path",
        &public,
    ]);
    assert!(
        stdout(&printed).starts_with("ssh-ed25519-cert-v01@openssh.com AAAA"),
        "{}",
        stderr(&printed)
    );
    let table = stdout(&world.run(&["ssh", "-role=my-role", "-no-exec", "-public-key-path", &public]));
    assert!(
        table.starts_with("Key             Value\n---             -----\nserial_number   1267\n"),
        "{table}"
    );
    let json = stdout(&world.run(&[
        "ssh",
        "-role=my-role",
        "-no-exec",
        "-format=json",
        "-public-key-path",
        &public,
    ]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["data"]["serial_number"], "1267");
}

#[test]
fn without_an_agent_nothing_is_left_and_signals_reach_ssh() {
    let world = World::new();
    world.script("ssh", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    let mut command = world.signet(&["ssh", "-role=my-role", "-no-agent", "ubuntu@host"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(std::fs::read_dir(world.path("run/signet")).unwrap().count(), 0);
    world.script("ssh", "kill -KILL $$");
    assert_eq!(
        world
            .run(&["ssh", "-role=my-role", "-no-agent", "ubuntu@host"])
            .status
            .code(),
        Some(137)
    );
}
