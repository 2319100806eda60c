//! `signet host sync` against an authority that fails in every way.

use std::os::unix::fs::PermissionsExt as _;

use signet_core::breakglass::{Document, Line, NAMESPACE};
use signet_core::host_policy::HostRule;
use signet_core::sshsig::SshSignature;
use signet_core::subject_key::SubjectKey;

use crate::host_world::{BUNDLE_KEY, HOST_CA, HOST_KEY, HostWorld, NAME, USER_CA, bundle, certify, key, line, signed};
use crate::stub::now;

const FP: &str = "SHA256:jQ1Nt7WdSyTDC3OHgxnlWWGQyGlFsoKmoVMrAcQfLCE";

fn logged(account: &str, key_id: &str) -> String {
    let time = signet_core::time::UnixTime::from_secs(now());
    format!(
        "{time} web-1 sshd[1]: Accepted publickey for {account} from 10.0.0.7 port 51234 ssh2: ED25519-CERT {FP} ID {key_id} \
         (serial 4711) CA ED25519 {FP}\n"
    )
}

fn files(world: &HostWorld) -> [String; 4] {
    ["user_ca.pub", "principals/ubuntu", "trust-bundle", "bundle_keys.pub"]
        .map(|name| world.read(&format!("etc/ssh/signet/{name}")))
}

#[test]
fn a_first_sync_puts_everything_in_place_and_reports_it() {
    let world = HostWorld::enrolled();
    world.write("var/log/auth.log", &logged("ubuntu", "alice"));
    let run = world.sync();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        (
            run.said["bundle_version"].as_u64(),
            run.said["logins_reported"].as_u64()
        ),
        (Some(5), Some(1))
    );
    assert_eq!(world.read("etc/ssh/signet/user_ca.pub"), format!("{}\n", line(USER_CA)));
    assert_eq!(world.read("etc/ssh/signet/principals/ubuntu"), "backend\n");
    assert_eq!(world.krl_version(), 5);
    let report = world.book().reports[0].clone();
    assert_eq!(
        (
            report.host.as_str(),
            report.sequence,
            report.bundle_version,
            report.krl_version
        ),
        (NAME, 1, 5, 5)
    );
    assert_eq!(report.user_ca_keys.len(), 1);
    assert!(report.host_certificate_ends > now());
    assert_eq!(
        (report.logins[0].key_id.as_str(), report.logins[0].serial.as_str()),
        ("alice", "4711")
    );

    let again = world.sync();
    assert_eq!(
        (again.code, again.said["changed"].as_array().map(Vec::len)),
        (Some(0), Some(0)),
        "{again:?}"
    );
    let book = world.book();
    assert_eq!(book.reports[1].logins, []);
    assert_eq!((book.reports[1].sequence, book.newest_report), (2, 2));
    assert!(!world.path("var/lib/signet-host/incoming-bundle").exists());
}

#[test]
fn a_newer_bundle_takes_the_place_of_the_old_one_and_of_its_keys() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    let mut next = bundle(6);
    next.user_ca_keys.push(line(21));
    next.bundle_keys.push(line(22));
    next.rules.push(HostRule {
        tags: ["web".to_owned()].into(),
        accounts: [("root".to_owned(), ["on-call".to_owned()].into())].into(),
    });
    world.book().bundle = signed(&next, BUNDLE_KEY);
    assert_eq!(world.sync().code, Some(0));
    assert_eq!(world.read("etc/ssh/signet/principals/root"), "on-call\n");
    assert_eq!(world.read("etc/ssh/signet/user_ca.pub").lines().count(), 2);
    assert_eq!(world.krl_version(), 6);
    // The next bundle is signed by the new key alone; the old key is believed no more afterwards.
    let mut last = bundle(7);
    last.bundle_keys = vec![line(22)];
    world.book().bundle = signed(&last, 22);
    assert_eq!(world.sync().code, Some(0));
    assert!(
        !world.path("etc/ssh/signet/principals/root").exists(),
        "an account that no rule opens is closed"
    );
    world.book().bundle = signed(&bundle(8), BUNDLE_KEY);
    let refused = world.sync();
    assert!(refused.problem().contains("signed by SHA256:"), "{refused:?}");
    assert_eq!(world.krl_version(), 7);
}

#[test]
fn what_cannot_be_believed_is_left_aside_and_told() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    let before = files(&world);
    let good = signed(&bundle(6), BUNDLE_KEY);
    let mut expired = bundle(6);
    expired.valid_until = now() - 1;
    let mut no_ca = bundle(6);
    no_ca.user_ca_keys.clear();
    let mut broken_ca = bundle(6);
    broken_ca.user_ca_keys.push("ssh-ed25519 AAAA".to_owned());
    let mut no_krl = bundle(6);
    no_krl.krl.clear();
    let mut evil_account = bundle(6);
    evil_account.rules[0]
        .accounts
        .insert("../x".to_owned(), ["a".to_owned()].into());
    let mut orphan = bundle(6);
    orphan.bundle_keys = vec![line(40)];
    let mut other_mount = bundle(6);
    other_mount.mount = "infra".to_owned();
    let mut roll_back = bundle(4);
    roll_back.user_ca_keys.push(line(41));
    let rows: Vec<(&str, String, &str)> = vec![
        (
            "rolled back",
            signed(&roll_back, BUNDLE_KEY),
            "is version 4, and this host has seen version 5",
        ),
        ("expired", signed(&expired, BUNDLE_KEY), "it was valid until"),
        (
            "of another mount, which the same key signs for",
            signed(&other_mount, BUNDLE_KEY),
            "it is for the mount `infra`, and this host follows `ssh`",
        ),
        (
            "foreign",
            signed(&bundle(6), 42),
            "which this host was not told to believe",
        ),
        (
            "damaged",
            good.replacen("\"authority\":\"test\"", "\"authority\":\"tess\"", 1),
            "signature is not right",
        ),
        (
            "cut off in its text",
            good[..good.len() / 2].to_owned(),
            "it is not a trust bundle",
        ),
        (
            "cut off in its signature",
            good[..good.len() - 40].to_owned(),
            "signature cannot be read",
        ),
        ("empty", String::new(), "it is not a trust bundle"),
        (
            "a proxy's page",
            "<html>Sign in</html>".to_owned(),
            "it is not a trust bundle",
        ),
        ("without a CA key", signed(&no_ca, BUNDLE_KEY), "it holds no CA key"),
        (
            "with a broken CA key",
            signed(&broken_ca, BUNDLE_KEY),
            "unusable CA key",
        ),
        ("with an empty KRL", signed(&no_krl, BUNDLE_KEY), "KRL cannot be used"),
        (
            "with an account that is a path",
            signed(&evil_account, BUNDLE_KEY),
            "cannot be the name of an account",
        ),
        (
            "that would orphan the host",
            signed(&orphan, BUNDLE_KEY),
            "was not told to believe",
        ),
    ];
    for (name, text, want) in rows {
        world.book().bundle = text;
        let run = world.sync();
        assert_eq!(run.code, Some(1), "{name}: {run:?}");
        assert!(run.problem().contains(want), "{name}: {run:?}");
        assert_eq!(files(&world), before, "{name}");
        assert_eq!(world.krl_version(), 5, "{name}");
        let book = world.book();
        let reported = &book.reports.last().unwrap().problems;
        assert!(
            reported.iter().any(|problem| problem.contains(want)),
            "{name}: {reported:?}"
        );
    }
    world.book().bundle = good;
    let run = world.sync();
    assert_eq!((run.code, world.krl_version()), (Some(0), 6), "{run:?}");
}

#[test]
fn a_bundle_that_names_no_bundle_key_leaves_the_host_with_its_own() {
    let world = HostWorld::enrolled();
    let mut silent = bundle(5);
    silent.bundle_keys.clear();
    world.book().bundle = signed(&silent, BUNDLE_KEY);
    assert_eq!(world.sync().code, Some(0));
    assert_eq!(
        world.read("etc/ssh/signet/bundle_keys.pub"),
        format!("{}\n", line(BUNDLE_KEY))
    );
    world.book().bundle = signed(&bundle(6), BUNDLE_KEY);
    assert_eq!((world.sync().code, world.krl_version()), (Some(0), 6));
}

/// Each mount counts its bundles for itself.
#[test]
fn a_host_that_changes_its_mount_does_not_wait_for_the_new_one_to_catch_up() {
    let world = HostWorld::enrolled();
    assert_eq!((world.sync().code, world.krl_version()), (Some(0), 5));
    let settings = world.read("etc/ssh/signet/host.toml");
    world.write(
        "etc/ssh/signet/host.toml",
        &settings.replace("mount = \"ssh\"", "mount = \"infra\""),
    );
    let mut of_infra = bundle(2);
    of_infra.mount = "infra".to_owned();
    world.book().bundle = signed(&of_infra, BUNDLE_KEY);
    let run = world.sync();
    assert_eq!((run.code, world.krl_version()), (Some(0), 2), "{run:?}");
}

#[test]
fn a_download_that_breaks_off_changes_nothing() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    world.book().bundle = signed(&bundle(6), BUNDLE_KEY);
    for cut in [0, 1, 100, 700] {
        world.book().cut = Some(cut);
        let run = world.sync();
        assert_eq!(run.code, Some(5), "{run:?}");
        assert_eq!(world.krl_version(), 5);
    }
    world.book().cut = None;
    assert_eq!((world.sync().code, world.krl_version()), (Some(0), 6));
}

#[test]
fn damaged_files_are_mended_from_the_held_bundle_while_the_authority_is_away() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    world.book().down = true;
    let before = files(&world);
    for (name, damage) in [
        ("revoked.krl", ""),
        ("revoked.krl", "x"),
        ("user_ca.pub", ""),
        ("principals/ubuntu", "everybody\n"),
    ] {
        world.write(&format!("etc/ssh/signet/{name}"), damage);
        let run = world.sync();
        assert_eq!(run.code, Some(5), "{run:?}");
        assert_eq!((files(&world), world.krl_version()), (before.clone(), 5));
    }
    std::fs::remove_file(world.path("etc/ssh/signet/revoked.krl")).unwrap();
    std::fs::set_permissions(
        world.path("etc/ssh/signet/user_ca.pub"),
        std::fs::Permissions::from_mode(0o666),
    )
    .unwrap();
    assert_eq!(world.sync().code, Some(5));
    assert_eq!(world.krl_version(), 5);
    let mode = std::fs::metadata(world.path("etc/ssh/signet/user_ca.pub"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_power_cut_at_any_step_is_mended_by_the_next_run_without_the_authority() {
    let mut finished_forwards = 0;
    for step in 1.. {
        let world = HostWorld::enrolled();
        assert_eq!(world.sync().code, Some(0));
        let mut next = bundle(6);
        next.user_ca_keys.push(line(21));
        next.rules[0]
            .accounts
            .insert("root".to_owned(), ["on-call".to_owned()].into());
        world.book().bundle = signed(&next, BUNDLE_KEY);
        world.write(
            "etc/ssh/signet/host-cert.pub",
            &certify(&line(HOST_KEY), HOST_CA, &[NAME.to_owned()], (900, 100)),
        );
        let cut = world.run(&["sync", "-now", &format!("-stop-after={step}")]);
        if cut.code.is_some() {
            assert_eq!(cut.code, Some(0), "{cut:?}");
            assert!(step > 12, "there are more steps than {step}");
            break;
        }
        // Whatever was cut, sshd can read what is there.
        assert!([5, 6].contains(&world.krl_version()));
        assert!(!world.read("etc/ssh/signet/user_ca.pub").is_empty());
        assert!(
            world
                .read("etc/ssh/signet/host-cert.pub")
                .starts_with("ssh-ed25519-cert-v01@openssh.com ")
        );
        world.book().down = true;
        let mended = world.sync();
        assert_eq!(mended.code, Some(5), "step {step}: {mended:?}");
        let version = mended.said["bundle_version"].as_u64().unwrap();
        assert_eq!(world.krl_version(), version, "step {step}");
        assert_eq!(
            world.path("etc/ssh/signet/principals/root").exists(),
            version == 6,
            "step {step}"
        );
        assert!(
            world
                .read("etc/ssh/signet/trust-bundle")
                .contains(&format!("\"version\":{version},")),
            "step {step}"
        );
        finished_forwards += u32::from(version == 6);
        // Nothing half-written is left lying about.
        let left: Vec<_> = std::fs::read_dir(world.path("etc/ssh/signet"))
            .unwrap()
            .flatten()
            .collect();
        world.book().down = false;
        let last = world.sync();
        assert_eq!(
            (last.code, world.krl_version()),
            (Some(0), 6),
            "step {step}: {last:?} {left:?}"
        );
        assert_eq!(world.book().reports.last().unwrap().bundle_version, 6);
    }
    assert!(
        finished_forwards > 5,
        "once it is staged, a bundle is finished and never taken back"
    );
}

#[test]
fn a_disk_that_takes_nothing_leaves_what_is_there() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    let before = files(&world);
    world.book().bundle = signed(&bundle(6), BUNDLE_KEY);
    world.write("var/log/auth.log", &logged("ubuntu", "alice"));
    // A folder where the temporary file would be: writing fails as on a full disk, for root too.
    for name in [
        "var/lib/signet-host/.incoming-bundle.new",
        "var/lib/signet-host/.state.json.new",
    ] {
        std::fs::create_dir(world.path(name)).unwrap();
    }
    let run = world.sync();
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!((files(&world), world.krl_version()), (before, 5));
    let last = world.book().reports.last().unwrap().clone();
    assert!(
        last.logins.is_empty() && last.problems.iter().any(|problem| problem.contains("state.json")),
        "{last:?}"
    );
    for name in [
        "var/lib/signet-host/.incoming-bundle.new",
        "var/lib/signet-host/.state.json.new",
    ] {
        std::fs::remove_dir(world.path(name)).unwrap();
    }
    let run = world.sync();
    assert_eq!(
        (run.code, run.said["logins_reported"].as_u64()),
        (Some(0), Some(1)),
        "{run:?}"
    );
}

#[test]
fn the_bundle_can_come_from_a_file_or_from_elsewhere() {
    let world = HostWorld::enrolled();
    let file = world.path("bundle");
    std::fs::write(&file, signed(&bundle(9), BUNDLE_KEY)).unwrap();
    let enrolled = format!("host = \"{NAME}\"\ntags = [\"web\"]\n");
    world.settings(&format!("{enrolled}bundle_url = \"{}\"\n", file.display()));
    assert_eq!((world.sync().code, world.krl_version()), (Some(0), 9));
    assert!(
        !world
            .book()
            .requests
            .iter()
            .any(|request| request.contains("trust-bundle"))
    );
    world.book().bundle = signed(&bundle(10), BUNDLE_KEY);
    world.settings(&format!("{enrolled}bundle_url = \"{}/elsewhere\"\n", world.address));
    assert_eq!((world.sync().code, world.krl_version()), (Some(0), 10));
    std::fs::remove_file(&file).unwrap();
    world.settings(&format!("{enrolled}bundle_url = \"{}\"\n", file.display()));
    let run = world.sync();
    assert!(run.problem().contains("cannot be read"), "{run:?}");
}

#[test]
fn an_authority_in_trouble_is_left_alone_for_a_while() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    world.book().status = Some((503, 900));
    let run = world.run(&["sync"]);
    assert_eq!(run.code, Some(5), "{run:?}");
    let not_before = world.state()["not_before"].as_u64().unwrap();
    assert!((now() + 890..now() + 900 + 1800).contains(&not_before), "{not_before}");
    world.book().status = None;
    let knocks = world.book().requests.len();
    world.write("etc/ssh/signet/revoked.krl", "");
    let quiet = world.run(&["sync"]);
    assert_eq!(
        (quiet.code, world.book().requests.len()),
        (Some(5), knocks),
        "{quiet:?}"
    );
    assert_eq!(world.krl_version(), 5, "and the host is mended meanwhile");
    assert_eq!(world.sync().code, Some(0), "-now asks");
    assert_eq!(world.state()["not_before"], 0);
}

#[test]
fn the_host_certificate_is_renewed_at_two_thirds_and_never_made_worse() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    let current = || world.read("etc/ssh/signet/host-cert.pub");
    assert!(!world.book().requests.iter().any(|request| request.contains("renew")));
    let due = certify(&line(HOST_KEY), HOST_CA, &[NAME.to_owned()], (700, 300));
    for (name, ca, names) in [
        ("of another CA", 50, vec![NAME.to_owned()]),
        ("with a pattern", HOST_CA, vec!["*".to_owned()]),
    ] {
        world.write("etc/ssh/signet/host-cert.pub", &due);
        {
            let mut book = world.book();
            book.certificate_ca = ca;
            book.certificate_names = names;
        }
        let run = world.sync();
        assert!(run.problem().contains("is not put in place"), "{name}: {run:?}");
        assert_eq!(current(), due, "{name}");
    }
    {
        let mut book = world.book();
        book.certificate_ca = HOST_CA;
        book.certificate_names = vec![NAME.to_owned()];
    }
    let run = world.sync();
    assert_eq!(
        (run.code, run.said["certificate_renewed"].as_bool()),
        (Some(0), Some(true)),
        "{run:?}"
    );
    assert_ne!(current(), due);
    // One that is missing, or has ended, is renewed by the host key all the same.
    std::fs::remove_file(world.path("etc/ssh/signet/host-cert.pub")).unwrap();
    assert_eq!(world.sync().code, Some(0));
    let ended = certify(&line(HOST_KEY), HOST_CA, &[NAME.to_owned()], (700, 0));
    world.write("etc/ssh/signet/host-cert.pub", &ended);
    assert_eq!(world.sync().code, Some(0));
    assert_ne!(current(), ended);
    // While the authority is away it stays, and is no problem until it ends.
    world.write("etc/ssh/signet/host-cert.pub", &due);
    world.book().down = true;
    assert_eq!((world.sync().code, current()), (Some(5), due));
}

#[test]
fn reports_go_on_where_the_authority_is_and_logins_wait_until_it_has_them() {
    let world = HostWorld::enrolled();
    world.book().newest_report = 41;
    assert_eq!(world.sync().code, Some(0));
    assert_eq!(world.book().reports[0].sequence, 42);
    let log: String = (0..450).map(|index| logged("ubuntu", &format!("p{index}"))).collect();
    world.write("var/log/auth.log", &log);
    world.book().report_troubles = 1;
    let run = world.sync();
    assert_eq!(
        (run.code, run.said["logins_waiting"].as_u64()),
        (Some(5), Some(450)),
        "{run:?}"
    );
    let run = world.sync();
    assert_eq!(
        (
            run.code,
            run.said["logins_reported"].as_u64(),
            run.said["logins_waiting"].as_u64()
        ),
        (Some(0), Some(450), Some(0))
    );
    let book = world.book();
    let sizes: Vec<usize> = book.reports[1..].iter().map(|report| report.logins.len()).collect();
    assert_eq!(sizes, [200, 200, 50]);
    let told: Vec<&str> = book
        .reports
        .iter()
        .flat_map(|report| &report.logins)
        .map(|login| login.key_id.as_str())
        .collect();
    assert_eq!((told.len(), told[0], told[449]), (450, "p0", "p449"));
    let sequences: Vec<u64> = book.reports.iter().map(|report| report.sequence).collect();
    assert!(sequences.is_sorted() && sequences[0] == 42, "{sequences:?}");
}

#[test]
fn a_break_glass_login_raises_the_local_alarm_once_also_without_the_authority() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    world.book().down = true;
    let out = world.path("alarms");
    let hook = |body: &str, mode| {
        world.write("etc/ssh/signet/alarm", &format!("#!/bin/sh\n{body}\n"));
        std::fs::set_permissions(
            world.path("etc/ssh/signet/alarm"),
            std::fs::Permissions::from_mode(mode),
        )
        .unwrap();
    };
    hook(&format!("cat >> {}", out.display()), 0o777);
    world.write(
        "var/log/auth.log",
        &(logged("breakglass", "bg") + &logged("ubuntu", "alice")),
    );
    let run = world.sync();
    assert!(run.problem().contains("others can write to it"), "{run:?}");
    assert!(!out.exists());
    hook(&format!("cat >> {}", out.display()), 0o755);
    for _ in 0..2 {
        assert_eq!(world.sync().code, Some(5));
        let told = world.read("alarms");
        assert_eq!(told.lines().count(), 1);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (told["host"].as_str(), told["login"]["account"].as_str()),
            (Some(NAME), Some("breakglass"))
        );
    }
    world.book().down = false;
    assert_eq!(world.sync().code, Some(0));
    let report = world.book().reports.last().unwrap().clone();
    assert_eq!(
        report.logins.iter().map(|login| login.breakglass).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn new_break_glass_keys_come_with_the_bundle_only_under_the_signature_of_old_ones() {
    let line_of = |seed| Line::sealed_key(SubjectKey::parse(&line(seed)).unwrap());
    let document = |seed, signer: Option<u8>| {
        let mut document = Document::new(vec![line_of(seed)]).unwrap();
        if let Some(signer) = signer {
            let text = document.signed_text();
            let signature = key(signer)
                .sign(NAMESPACE, ssh_key::HashAlg::Sha512, text.as_bytes())
                .unwrap();
            let armor = signature.to_pem(ssh_key::LineEnding::LF).unwrap();
            let signature = SshSignature::from_armor(&armor).unwrap();
            document
                .add_signature(signature, &SubjectKey::parse(&line(signer)).unwrap())
                .unwrap();
        }
        document.to_text().unwrap()
    };
    let world = HostWorld::enrolled();
    let in_place = format!("{}\n", line_of(30));
    world.write("etc/ssh/signet/breakglass_keys", &in_place);
    let sync = |version, document: String| {
        let mut next = bundle(version);
        next.breakglass = document;
        world.book().bundle = signed(&next, BUNDLE_KEY);
        world.sync()
    };
    assert_eq!(
        sync(6, document(30, None)).code,
        Some(0),
        "what is in place needs no signature"
    );
    for (version, document) in [
        (7, document(31, None)),
        (8, document(31, Some(32))),
        (9, "x".to_owned()),
    ] {
        let run = sync(version, document);
        assert!(
            run.problem()
                .contains("break-glass keys in the trust bundle are not taken over"),
            "{run:?}"
        );
        assert_eq!(world.read("etc/ssh/signet/breakglass_keys"), in_place);
        assert_eq!(
            world.krl_version(),
            version,
            "the rest of the bundle counts all the same"
        );
    }
    assert_eq!(sync(10, document(31, Some(30))).code, Some(0));
    assert_eq!(
        world.read("etc/ssh/signet/breakglass_keys"),
        format!("{}\n", line_of(31))
    );
    assert_eq!(world.sync().code, Some(0));
    let reported = world.book().reports.last().unwrap().breakglass_keys.clone();
    assert_eq!(reported, [SubjectKey::parse(&line(31)).unwrap().fingerprint()]);
}

#[test]
fn a_damaged_state_is_told_and_costs_no_trust() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    world.write("var/lib/signet-host/state.json", "{");
    world.book().bundle = signed(&bundle(4), BUNDLE_KEY);
    let run = world.sync();
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stderr.contains("damaged") && run.stderr.contains("seen version 5"),
        "{run:?}"
    );
    assert_eq!(world.krl_version(), 5, "the held bundle remembers the version too");
    world.book().bundle = signed(&bundle(5), BUNDLE_KEY);
    assert_eq!(world.sync().code, Some(0));
}

#[test]
fn two_syncs_do_not_run_at_once_and_a_host_that_was_not_baked_says_so() {
    let world = HostWorld::enrolled();
    assert_eq!(world.sync().code, Some(0));
    let lock = std::fs::File::open(world.path("var/lib/signet-host/lock")).unwrap();
    lock.lock().unwrap();
    let run = world.sync();
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains("another"), "{run:?}");
    drop(lock);
    std::fs::remove_file(world.path("etc/ssh/signet/host.toml")).unwrap();
    assert_eq!(world.sync().code, Some(2));
}

#[test]
fn a_clock_that_is_behind_is_told_and_does_not_keep_revocations_out() {
    let world = HostWorld::enrolled();
    let mut ahead = bundle(6);
    ahead.issued = now() + 3000;
    ahead.valid_until = now() + 9000;
    world.book().bundle = signed(&ahead, BUNDLE_KEY);
    let run = world.sync();
    assert!(run.problem().contains("before the trust bundle was made"), "{run:?}");
    assert_eq!(world.krl_version(), 6);
}
