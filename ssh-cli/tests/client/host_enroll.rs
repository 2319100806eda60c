//! `signet host enroll`: names and certificates by token, JWT and EC2's metadata service.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use signet_core::trust_bundle::TrustBundle;

use crate::host_world::{BUNDLE_KEY, HostWorld, NAME, Run, bundle, line, signed};
use crate::stub::read_request;

fn with_token(world: &HostWorld, token: &str, more: &[&str]) -> Run {
    world.write("token", &format!("{token}\n"));
    let file = format!("-token-file={}", world.path("token").display());
    world.run(&[&["enroll", &file], more].concat())
}

fn is_untouched(world: &HostWorld) -> bool {
    !world.path("etc/ssh/signet/host-cert.pub").exists()
        && !world.path("etc/ssh/signet/trust-bundle").exists()
        && !world.read("etc/ssh/signet/host.toml").contains("host = ")
}

#[test]
fn a_host_with_a_token_gets_its_name_its_certificate_and_the_bundle() {
    let world = HostWorld::baked();
    let run = with_token(&world, "st.good", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.said["names"][0], NAME);
    assert_eq!(world.book().evidence, [("token".to_owned(), "st.good".to_owned())]);
    let settings = world.read("etc/ssh/signet/host.toml");
    assert!(
        settings.contains(&format!("host = \"{NAME}\"")) && settings.contains("tags = [\"web\"]"),
        "{settings}"
    );
    assert_eq!(world.read("etc/ssh/signet/principals/ubuntu"), "backend\n");
    assert_eq!(world.krl_version(), 5);
    assert!(
        world
            .read("etc/ssh/signet/host-cert.pub")
            .starts_with("ssh-ed25519-cert-v01@openssh.com ")
    );
    // Again at the next boot: nothing is asked.
    let knocks = world.book().requests.len();
    let again = with_token(&world, "st.good", &[]);
    assert_eq!(
        (again.code, world.book().requests.len()),
        (Some(0), knocks),
        "{again:?}"
    );
    assert_eq!(world.sync().code, Some(0));
    // A clone has another host key, and needs a proof of its own.
    world.write(
        "etc/ssh/ssh_host_ed25519_key",
        &crate::host_world::key(60).to_openssh(ssh_key::LineEnding::LF).unwrap(),
    );
    let clone = with_token(&world, "st.other", &[]);
    assert_eq!(clone.code, Some(0), "{clone:?}");
    assert_eq!(world.book().evidence.last().unwrap().1, "st.other");
}

#[test]
fn a_token_or_jwt_can_come_on_stdin() {
    for (flag, method) in [("-token-file=-", "token"), ("-jwt-file=-", "jwt")] {
        let world = HostWorld::baked();
        let mut child = world
            .host(&["enroll", flag])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"e.y.J\n").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(world.book().evidence, [(method.to_owned(), "e.y.J".to_owned())]);
    }
}

type Change = Box<dyn Fn(&HostWorld)>;

#[test]
fn what_comes_back_is_verified_before_anything_is_written() {
    let mut other_host_ca = bundle(5);
    other_host_ca.host_ca_keys = vec![line(70)];
    let set_bundle =
        |bundle: TrustBundle, seed| -> Change { Box::new(move |world| world.book().bundle = signed(&bundle, seed)) };
    let rows: Vec<(&str, Change, i32, &str)> = vec![
        (
            "a foreign bundle",
            set_bundle(bundle(5), 71),
            1,
            "was not told to believe",
        ),
        (
            "another host CA than the bundle's",
            set_bundle(other_host_ca, BUNDLE_KEY),
            1,
            "is not in the authority's trust bundle",
        ),
        (
            "a certificate of another CA",
            Box::new(|world| world.book().certificate_ca = 72),
            1,
            "not the authority's host CA",
        ),
        (
            "a certificate with a pattern",
            Box::new(|world| world.book().certificate_names = vec!["*".to_owned()]),
            1,
            "no host's name",
        ),
        (
            "a certificate with other names",
            Box::new(|world| world.book().certificate_names = vec!["db-1".to_owned()]),
            1,
            "names are not those",
        ),
        (
            "a certificate that has ended",
            Box::new(|world| world.book().life = (60, 0)),
            1,
            "it ended at",
        ),
        (
            "no bundle key in the image",
            Box::new(|world| std::fs::remove_file(world.path("etc/ssh/signet/bundle_keys.pub")).unwrap()),
            1,
            "was not told which key",
        ),
        (
            "an authority that is away",
            Box::new(|world| world.book().down = true),
            5,
            "cannot be reached",
        ),
        (
            "an authority in trouble",
            Box::new(|world| world.book().status = Some((503, 1))),
            5,
            "",
        ),
        (
            "no host key yet",
            Box::new(|world| std::fs::remove_file(world.path("etc/ssh/ssh_host_ed25519_key")).unwrap()),
            5,
            "no host key yet",
        ),
    ];
    for (name, change, code, want) in rows {
        let world = HostWorld::baked();
        change(&world);
        let run = with_token(&world, "st.good", &[]);
        assert_eq!(run.code, Some(code), "{name}: {run:?}");
        assert!(
            run.stderr.contains(want) && run.stderr.contains("hint: "),
            "{name}: {run:?}"
        );
        assert!(is_untouched(&world), "{name}");
    }
    let world = HostWorld::baked();
    let refused = with_token(&world, "bad", &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stderr.contains("the token is not valid") && is_untouched(&world),
        "{refused:?}"
    );
}

#[test]
fn a_bundle_key_is_given_or_trusted_on_first_use_only_by_flag() {
    let world = HostWorld::baked();
    std::fs::remove_file(world.path("etc/ssh/signet/bundle_keys.pub")).unwrap();
    assert_eq!(with_token(&world, "st.good", &["-trust-on-first-use"]).code, Some(0));
    assert_eq!(
        world.read("etc/ssh/signet/bundle_keys.pub"),
        format!("{}\n", line(BUNDLE_KEY))
    );

    let world = HostWorld::baked();
    world.write("key.pub", &line(71));
    let mut other = bundle(5);
    other.bundle_keys = vec![line(71)];
    world.book().bundle = signed(&other, 71);
    world.book().bundle_key = 71;
    let run = with_token(&world, "st.good", &["-trust-on-first-use"]);
    assert_eq!(
        run.code,
        Some(1),
        "a key of the image is not given up for one that is merely named: {run:?}"
    );
    let flag = format!("-bundle-key={}", world.path("key.pub").display());
    assert_eq!(with_token(&world, "st.good", &[&flag]).code, Some(0));
    assert_eq!(world.read("etc/ssh/signet/bundle_keys.pub"), format!("{}\n", line(71)));
}

#[test]
fn an_enrolment_that_was_cut_short_goes_on_without_a_second_token() {
    for step in 1.. {
        let world = HostWorld::baked();
        let cut = with_token(&world, "st.good", &[&format!("-stop-after={step}")]);
        if cut.code.is_some() {
            assert_eq!(cut.code, Some(0), "{cut:?}");
            assert!(step > 8, "there are more steps than {step}");
            break;
        }
        let again = with_token(&world, "st.again", &[]);
        assert_eq!(again.code, Some(0), "step {step}: {again:?}");
        if world.read("etc/ssh/signet/host.toml").contains("host = ") && step > 2 {
            assert_eq!(world.book().evidence.len(), 1, "step {step}");
        }
        assert_eq!(world.sync().code, Some(0), "step {step}");
    }
}

/// EC2's metadata service, version 2: nothing without a token by PUT.
fn imds(document: &'static str, seen: &Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            while let Some((method, path, headers, _)) = read_request(&mut reader) {
                seen.lock().unwrap().push(format!("{method} {path}"));
                let wants = headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds");
                let token = headers.get("x-aws-ec2-metadata-token").map(String::as_str);
                let (status, body) = match (method.as_str(), path.as_str()) {
                    ("PUT", "/latest/api/token") if wants => (200, "tok=en"),
                    ("PUT", "/latest/api/token") => (400, ""),
                    (_, _) if token != Some("tok=en") => (401, ""),
                    ("GET", "/latest/dynamic/instance-identity/rsa2048") => (200, document),
                    _ => (404, ""),
                };
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                reader.get_mut().write_all((head + body).as_bytes()).unwrap();
            }
        }
    });
    address
}

#[test]
fn an_ec2_instance_shows_its_identity_document() {
    let seen = Arc::default();
    let world = HostWorld::baked();
    let flag = format!("-imds={}", imds("MIAGCSqG\nSIb3DQEH==\n", &seen));
    // A proxy is for others: the service is on the machine itself.
    let mut command = world.host(&["enroll", &flag]);
    let run = Run::of(
        &command
            .env("http_proxy", "http://127.0.0.1:9")
            .env("no_proxy", "127.0.0.1")
            .output()
            .unwrap(),
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        world.book().evidence,
        [("ec2".to_owned(), "MIAGCSqGSIb3DQEH==".to_owned())]
    );
    assert_eq!(
        *seen.lock().unwrap(),
        ["PUT /latest/api/token", "GET /latest/dynamic/instance-identity/rsa2048"]
    );

    let world = HostWorld::baked();
    let run = world.run(&["enroll", &format!("-imds={}", imds("<html>", &Arc::default()))]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(is_untouched(&world));
    let absent = world.run(&["enroll", "-imds=http://127.0.0.1:9"]);
    assert_eq!(absent.code, Some(5), "{absent:?}");
    assert!(absent.stderr.contains("-token-file"), "{absent:?}");
}
