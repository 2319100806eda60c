//! `signet host bake`, `check`, `why`, `scan` and `undo` on machines of each Debian release: what is baked opens for the right
//! people, and no mistake, full disk or power cut locks everybody out.

use signet_tests::keys::KeyFile;
use signet_tests::site::{Site, bundle, krl, on_each_release};
use signet_tests::tree::Tree;

const SIGNET: &str = "/etc/ssh/signet";

#[test]
fn every_usual_configuration_is_baked_proven_and_undone() {
    let shapes: &[(&str, &str)] = &[
        ("as Debian ships it", ""),
        ("without Include", "sed -i '/^Include/d' /etc/ssh/sshd_config"),
        (
            "with cloud-init's drop-in",
            "echo 'PasswordAuthentication no' > /etc/ssh/sshd_config.d/50-cloud-init.conf",
        ),
        (
            "with a Match at the end and no line end",
            "printf 'Match Address 10.0.0.0/8\\n  X11Forwarding no' >> /etc/ssh/sshd_config",
        ),
        (
            "with a Match at the end, without Include",
            "sed -i '/^Include/d' /etc/ssh/sshd_config; printf 'Match User root\\n  X11Forwarding no' >> /etc/ssh/sshd_config",
        ),
        (
            "with AllowUsers and an address of its own",
            "printf 'AllowUsers ubuntu root\\nListenAddress 127.0.0.1\\nListenAddress 0.0.0.0\\n' >> /etc/ssh/sshd_config",
        ),
    ];
    on_each_release(|tree| {
        let site = Site::new(tree);
        let backend = site.certificate("backend", &["-n", "backend", "-z", "7", "-V", "-1m:+1h"]);
        let stranger = site.certificate("stranger", &["-n", "frontend", "-z", "8", "-V", "-1m:+1h"]);
        let glass = site.certificate("glass", &["-n", "breakglass,root", "-z", "9", "-V", "-1m:+1h"]);
        site.host.shell("cp -a /etc/ssh /root/ssh").succeeded();
        for (shape, script) in shapes {
            site.host.shell("rm -rf /etc/ssh; cp -a /root/ssh /etc/ssh").succeeded();
            site.host.shell(script).succeeded();
            let before = site.fingerprint("/etc/ssh");
            let ran = site.bake(&["-proof"]);
            assert_eq!(ran.code, Some(0), "{tree}, {shape}: {}", ran.stderr);
            assert!(
                ran.stdout.contains("12 checks passed"),
                "{tree}, {shape}: {}",
                ran.stdout
            );
            assert!(site.opens("ubuntu", &backend), "{tree}, {shape}");
            assert!(!site.opens("ubuntu", &stranger), "{tree}, {shape}");
            assert!(!site.opens("root", &backend), "{tree}, {shape}");
            assert!(!site.opens("breakglass", &glass), "{tree}, {shape}");
            assert!(site.opens("breakglass", &site.sealed), "{tree}, {shape}");
            let baked = site.fingerprint("/etc/ssh");
            let again = site.bake(&[]).succeeded();
            assert!(again.stdout.contains("nothing"), "{tree}, {shape}: {}", again.stdout);
            assert_eq!(
                site.fingerprint("/etc/ssh"),
                baked,
                "{tree}, {shape}: a second run changes nothing"
            );
            assert_eq!(site.check().0, Some(0), "{tree}, {shape}: {}", site.check().1);
            site.host.signet(&["host", "undo"]).succeeded();
            assert_eq!(
                site.fingerprint("/etc/ssh"),
                before,
                "{tree}, {shape}: undo leaves nothing"
            );
            assert!(!site.host.read("/etc/passwd").contains("breakglass"));
            site.host.signet(&["host", "undo"]).succeeded();
        }
    });
}

#[test]
fn a_host_where_something_else_wins_is_left_as_it_was() {
    let rows: &[(&str, &str, i32)] = &[
        (
            "echo 'TrustedUserCAKeys /etc/ssh/other.pub' > /etc/ssh/sshd_config.d/05-other.conf",
            "/etc/ssh/sshd_config.d/05-other.conf:1 wins",
            3,
        ),
        (
            "printf 'Match User ubuntu\\n  RevokedKeys /etc/ssh/other.krl\\n' >> /etc/ssh/sshd_config",
            "(under `Match User ubuntu`) wins",
            3,
        ),
        (
            "echo 'CASignatureAlgorithms rsa-sha2-512' > /etc/ssh/sshd_config.d/05-other.conf",
            "`CASignatureAlgorithms` of this host leaves out ssh-ed25519 keys",
            3,
        ),
        (
            "echo 'DenyUsers break*' >> /etc/ssh/sshd_config",
            "DenyUsers keeps `breakglass` out",
            3,
        ),
        ("echo 'Nonsense yes' >> /etc/ssh/sshd_config", "Nonsense", 1),
        ("echo garbage >> /root/ca.pub", "line 2 of the CA keys is refused", 3),
        (
            "echo 'command=\"/bin/sh\" '\"$(cat /root/ca.pub)\" > /root/breakglass.keys",
            "the option `command` is not for break-glass keys",
            3,
        ),
        (
            "mkdir -p /etc/systemd/system; printf '[Service]\\nExecStart=/usr/sbin/sshd -D -o AuthorizedPrincipalsFile=/x\\n' \
             > /etc/systemd/system/ssh.service",
            "the option `-o AuthorizedPrincipalsFile=/x` of its unit wins",
            3,
        ),
    ];
    on_each_release(|tree| {
        let site = Site::new(tree);
        site.host
            .shell("cp -a /etc/ssh /root/ssh; cp /root/ca.pub /root/ca; cp /root/breakglass.keys /root/bg")
            .succeeded();
        for (script, want, code) in rows {
            site.host
                .shell(
                    "rm -rf /etc/ssh /etc/systemd/system/ssh.service; cp -a /root/ssh /etc/ssh; cp /root/ca /root/ca.pub; \
                     cp /root/bg /root/breakglass.keys",
                )
                .succeeded();
            site.host.shell(script).succeeded();
            let before = (site.fingerprint("/etc/ssh"), site.host.read("/etc/passwd"));
            let ran = site.bake(&["-proof"]);
            assert_eq!(ran.code, Some(*code), "{tree}: {script}: {}", ran.stderr);
            assert!(ran.stderr.contains(want), "{tree}: {script}: {}", ran.stderr);
            let after = (site.fingerprint("/etc/ssh"), site.host.read("/etc/passwd"));
            assert_eq!(after, before, "{tree}: {script}");
        }
    });
}

#[test]
fn a_bake_that_sshd_is_not_told_of_is_taken_back() {
    let Some(tree) = Tree::any() else { return };
    let site = Site::new(tree);
    let before = (site.fingerprint("/etc/ssh"), site.host.read("/etc/passwd"));
    let ran = site.bake_only(&["-sshd-pid=4194000"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("everything was put back"), "{}", ran.stderr);
    assert_eq!((site.fingerprint("/etc/ssh"), site.host.read("/etc/passwd")), before);
    site.bake(&[]).succeeded();
}

/// A first bake on a host that is opened by an authorized key, cut at every step: that key still opens it, or break-glass
/// does, and the next run goes on.
#[test]
fn a_power_cut_at_any_step_of_the_first_bake_leaves_a_way_in() {
    on_each_release(|tree| {
        let site = Site::new(tree);
        let old = KeyFile::ed25519(site.folder.path(), "old");
        site.host.write_mode(
            "/home/ubuntu/.ssh/authorized_keys",
            &format!("{}\n", old.public_line()),
            0o644,
        );
        let backend = site.certificate("backend", &["-n", "backend", "-z", "7", "-V", "-1m:+1h"]);
        let before = site.fingerprint("/etc/ssh");
        let mut cuts = 0;
        for step in 1.. {
            let ran = site.bake(&[&format!("-stop-after={step}")]);
            if ran.code == Some(0) {
                break;
            }
            cuts += 1;
            assert!(
                ran.code.is_none() || ran.code == Some(134),
                "{tree}, step {step}: {}",
                ran.stderr
            );
            site.host.shell("sshd -t").succeeded();
            site.restart_sshd();
            assert!(
                site.opens("ubuntu", &old) || site.opens("breakglass", &site.sealed),
                "{tree}: locked out after step {step}"
            );
            site.bake(&[]).succeeded();
            assert!(site.opens("ubuntu", &backend), "{tree}: step {step}, then baked");
            site.host.signet(&["host", "undo"]).succeeded();
            assert_eq!(site.fingerprint("/etc/ssh"), before, "{tree}: step {step}, then undone");
        }
        assert!(cuts >= 14, "{tree}: {cuts} steps");
    });
}

/// The CA key and the principals change on a host that is in use; cut at every step, break-glass opens it, and one of the two
/// CAs does.
#[test]
fn a_power_cut_at_any_step_of_a_later_bake_leaves_both_ways_in() {
    on_each_release(|tree| {
        let site = Site::new(tree);
        let next = KeyFile::ed25519(site.folder.path(), "next-ca");
        let words = ["-n", "backend", "-z", "7", "-V", "-1m:+1h"];
        let (of_old, of_new) = (
            site.certificate("of-old", &words),
            site.certificate_of(&next, "of-new", &words),
        );
        site.bake(&[]).succeeded();
        site.host.shell("cp -a /etc/ssh /root/baked").succeeded();
        site.host.write("/root/ca.pub", &format!("{}\n", next.public_line()));
        let more = ["-principals=deploy=backend", "-tags=web"];
        for step in 1.. {
            let stop = format!("-stop-after={step}");
            if site.bake(&[more.as_slice(), &[stop.as_str()]].concat()).code == Some(0) {
                assert!(step > 8, "{tree}: {step} steps");
                break;
            }
            site.host.shell("sshd -t").succeeded();
            assert!(site.opens("breakglass", &site.sealed), "{tree}: step {step}");
            assert!(
                site.opens("ubuntu", &of_old) || site.opens("ubuntu", &of_new),
                "{tree}: step {step}"
            );
            site.host
                .shell("rm -rf /etc/ssh; cp -a /root/baked /etc/ssh")
                .succeeded();
        }
        assert!(
            site.opens("deploy", &of_new) && !site.opens("ubuntu", &of_old),
            "{tree}"
        );
    });
}

#[test]
fn a_full_disk_leaves_the_host_as_it_was() {
    let Some(tree) = Tree::any() else { return };
    let site = Site::with_disk(tree, "96m");
    let before = (site.fingerprint("/etc/ssh"), site.host.read("/etc/passwd"));
    site.host.shell("cat /dev/zero > /filler 2>/dev/null || true");
    let ran = site.bake(&[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    site.host.shell("rm /filler").succeeded();
    assert_eq!((site.fingerprint("/etc/ssh"), site.host.read("/etc/passwd")), before);
    site.bake(&["-proof"]).succeeded();
    site.host.shell("cat /dev/zero > /filler 2>/dev/null || true");
    assert!(site.opens("breakglass", &site.sealed), "break-glass with a full disk");
}

/// What a certificate is, ssh-keygen's words for it, and the account that is asked for.
const CERTIFICATES: &[(&str, &[&str], &str)] = &[
    ("good", &["-n", "backend", "-z", "1"], "ubuntu"),
    ("second-of-the-list", &["-n", "x,on-call", "-z", "2"], "ubuntu"),
    ("root-by-its-list", &["-n", "on-call", "-z", "3"], "root"),
    ("not-root", &["-n", "backend", "-z", "4"], "root"),
    ("principal-of-nobody", &["-n", "frontend", "-z", "5"], "ubuntu"),
    ("the-accounts-own-name", &["-n", "ubuntu", "-z", "6"], "ubuntu"),
    ("account-without-a-list", &["-n", "deploy,backend", "-z", "7"], "deploy"),
    ("no-account", &["-n", "backend", "-z", "8"], "ghost"),
    ("revoked-by-serial", &["-n", "backend", "-z", "66"], "ubuntu"),
    ("stolen", &["-n", "backend", "-z", "9"], "ubuntu"),
    ("host-certificate", &["-h", "-n", "backend", "-z", "10"], "ubuntu"),
    ("expired", &["-n", "backend", "-z", "11", "-V", "-2h:-1h"], "ubuntu"),
    ("early", &["-n", "backend", "-z", "12", "-V", "+1h:+2h"], "ubuntu"),
    (
        "from-elsewhere",
        &["-n", "backend", "-z", "14", "-O", "source-address=192.0.2.0/24"],
        "ubuntu",
    ),
    (
        "from-here",
        &["-n", "backend", "-z", "15", "-O", "source-address=10.0.0.0/8"],
        "ubuntu",
    ),
    (
        "online-ca-for-breakglass",
        &["-n", "breakglass", "-z", "16"],
        "breakglass",
    ),
];

#[test]
fn why_agrees_with_sshd_about_every_certificate() {
    on_each_release(|tree| {
        let site = Site::new(tree);
        site.bake(&[]).succeeded();
        site.host.copy_in(&krl(&site), &format!("{SIGNET}/revoked.krl"), 0o644);
        let (foreign, offline) = (
            KeyFile::ed25519(site.folder.path(), "foreign-ca"),
            KeyFile::ed25519(site.folder.path(), "offline-ca"),
        );
        let line = format!(
            "cert-authority,principals=\"breakglass\",restrict,pty {}\n",
            offline.public_line()
        );
        let keys = format!("{SIGNET}/breakglass_keys");
        site.host.write(&keys, &(site.host.read(&keys) + &line));
        let with_hours = |words: &[&'static str]| {
            let hour: &[&str] = if words.contains(&"-V") { &[] } else { &["-V", "-1m:+1h"] };
            [words, hour].concat()
        };
        let mut rows: Vec<(&str, KeyFile, &str)> = Vec::new();
        for (name, words, account) in CERTIFICATES {
            rows.push((name, site.certificate(name, &with_hours(words)), account));
        }
        for (ca, name, principal, account) in [
            (&foreign, "another-ca", "backend", "ubuntu"),
            (&offline, "offline-ca-for-breakglass", "breakglass", "breakglass"),
            (&offline, "offline-ca-for-others", "backend", "ubuntu"),
        ] {
            let key = site.certificate_of(ca, name, &with_hours(&["-n", principal, "-z", "20"]));
            rows.push((name, key, account));
        }
        let from = format!("-from={}", peer_of(site.host.address()));
        let mut accepted = Vec::new();
        for (name, key, account) in &rows {
            let certificate = std::fs::read_to_string(format!("{}-cert.pub", key.path().display()));
            site.host.write("/root/c.pub", &certificate.unwrap());
            let account_flag = format!("-as={account}");
            let ran = site.host.signet(&["host", "why", &account_flag, &from, "/root/c.pub"]);
            let is_open = site.opens(account, key);
            let want = if is_open { 0 } else { 3 };
            assert_eq!(ran.code, Some(want), "{tree}: {name}: {}{}", ran.stdout, ran.stderr);
            accepted.extend(is_open.then_some(*name));
        }
        assert_eq!(
            accepted,
            [
                "good",
                "second-of-the-list",
                "root-by-its-list",
                "from-here",
                "offline-ca-for-breakglass"
            ],
            "{tree}"
        );
    });
}

#[test]
fn damaged_trust_files_are_told_and_break_glass_still_opens() {
    let damages: &[(&str, &str)] = &[
        ("chmod g+w /etc/ssh/signet/principals/ubuntu", "bad ownership or modes"),
        (
            "sed -i 's/$/\\r/' /etc/ssh/signet/principals/ubuntu",
            "none of its principals",
        ),
        ("sed -i '1i garbage' /etc/ssh/signet/user_ca.pub", "sshd stops reading"),
        ("rm /etc/ssh/signet/user_ca.pub", "is missing"),
        ("truncate -s 20 /etc/ssh/signet/revoked.krl", "sshd refuses every key"),
        ("rm /etc/ssh/signet/revoked.krl", "the KRL is missing"),
        (
            "echo garbage > /etc/ssh/signet/revoked.krl; echo garbage > /etc/ssh/signet/user_ca.pub",
            "sshd refuses every key",
        ),
    ];
    on_each_release(|tree| {
        let site = Site::new(tree);
        site.bake(&[]).succeeded();
        let good = site.certificate("good", &["-n", "backend", "-z", "1", "-V", "-1m:+1h"]);
        let certificate = std::fs::read_to_string(format!("{}-cert.pub", good.path().display()));
        site.host.write("/root/c.pub", &certificate.unwrap());
        site.host.shell("cp -a /etc/ssh/signet /root/kept").succeeded();
        for (script, want) in damages {
            site.host.shell(script).succeeded();
            let ran = site.host.signet(&["host", "why", "-as=ubuntu", "/root/c.pub"]);
            assert_eq!(
                (ran.code, site.opens("ubuntu", &good)),
                (Some(3), false),
                "{tree}: {script}: {}",
                ran.stdout
            );
            assert!(ran.stdout.contains(want), "{tree}: {script}: {}", ran.stdout);
            assert!(site.opens("breakglass", &site.sealed), "{tree}: {script}");
            let (code, said) = site.check();
            assert_eq!(code, Some(1), "{tree}: {script}: {said}");
            // Baking again mends it, whatever it was.
            site.bake_only(&[]).succeeded();
            assert!(site.opens("ubuntu", &good), "{tree}: {script}, then baked");
            site.host
                .shell("rm -rf /etc/ssh/signet; cp -a /root/kept /etc/ssh/signet")
                .succeeded();
        }
        assert_eq!(site.check().0, Some(0), "{tree}: {}", site.check().1);
    });
}

#[test]
fn a_bundle_is_believed_from_its_key_only_and_never_backwards() {
    let Some(tree) = Tree::any() else { return };
    let site = Site::new(tree);
    let signer = KeyFile::ed25519(site.folder.path(), "bundle-key");
    let foreign = KeyFile::ed25519(site.folder.path(), "foreign-key");
    let bake_bundle = |text: &str, more: &[&str]| {
        site.host.write("/root/bundle", text);
        site.host.write("/root/bundle.pub", &signer.public_line());
        let words = [
            "host",
            "bake",
            "-bundle=/root/bundle",
            "-bundle-key=/root/bundle.pub",
            "-breakglass=/root/breakglass.keys",
            "-tags=web",
        ];
        site.host.signet(&[words.as_slice(), more].concat())
    };
    bake_bundle(&bundle(&site, &signer, 7, 3600), &["-proof"]).succeeded();
    site.restart_sshd();
    let words = |serial| ["-n", "backend", "-z", serial, "-V", "-1m:+1h"];
    let (member, revoked) = (
        site.certificate("backend", &words("5")),
        site.certificate("revoked", &words("66")),
    );
    assert!(site.opens("ubuntu", &member));
    assert!(!site.opens("ubuntu", &revoked));
    assert!(!site.opens("deploy", &member), "a rule for other tags");
    assert_eq!(site.check().0, Some(0), "{}", site.check().1);
    let before = site.fingerprint("/etc/ssh");
    let good = bundle(&site, &signer, 8, 3600);
    for (text, want) in [
        (
            bundle(&site, &foreign, 8, 3600),
            "which this host was not told to believe",
        ),
        (bundle(&site, &signer, 8, -1), "it was valid until"),
        (bundle(&site, &signer, 6, 3600), "this host has seen version 7 already"),
        (good.replacen("backend", "everyone", 1), "its signature is not right"),
        (good[..good.len() / 2].to_owned(), "the trust bundle is refused"),
        (String::new(), "it is not a trust bundle"),
    ] {
        let ran = bake_bundle(&text, &[]);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(want), "{want}: {}", ran.stderr);
        assert_eq!(site.fingerprint("/etc/ssh"), before, "{want}");
    }
    bake_bundle(&good, &[]).succeeded();
    assert!(site.check().1.contains("bundle_version"), "{}", site.check().1);
}

/// The address that this machine has on the host's network.
fn peer_of(host: std::net::Ipv4Addr) -> std::net::IpAddr {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((host, 22)).unwrap();
    socket.local_addr().unwrap().ip()
}

#[test]
fn an_image_is_cleaned_and_the_scan_finds_what_is_planted() {
    on_each_release(|tree| {
        let site = Site::new(tree);
        let temporary = KeyFile::ed25519(site.folder.path(), "packer");
        let keys = format!("{} packer_66f0c1a2-0000-0000\n", temporary.public_line());
        site.host.write("/root/.ssh/authorized_keys", &keys);
        site.host.write("/home/ubuntu/.ssh/authorized_keys", &keys);
        site.host.write("/root/.bash_history", "ls\n");
        site.bake_only(&["-proof", "-image", "-bill=/root/bill.json"])
            .succeeded();
        site.host.shell("rm -f /usr/share/doc/*/examples/*.pem").succeeded();
        let scan = |more: &[&str]| site.host.signet(&[&["host", "scan", "-format=json"], more].concat());
        let clean = scan(&["-bill=/root/bill.json"]);
        assert_eq!(clean.code, Some(0), "{tree}: {}{}", clean.stdout, clean.stderr);
        // All at once: a scan reads every file of the machine, which takes its time.
        let plants = [
            (
                "mkdir -p /opt/x/.ssh; cp /root/ca.pub /opt/x/.ssh/authorized_keys",
                "authorized-keys",
                "/opt/x/.ssh/authorized_keys",
            ),
            (
                "mkdir -p /root/.ssh; cp /root/ca.pub /root/.ssh/authorized_keys",
                "authorized-keys",
                "/root/.ssh/authorized_keys",
            ),
            (
                "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key",
                "host-key",
                "/etc/ssh/ssh_host_ed25519_key",
            ),
            (
                "ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f /srv/deploy",
                "private-key",
                "/srv/deploy",
            ),
            (": > /etc/ssh/signet/revoked.krl", "krl", "revoked.krl"),
            ("chmod 666 /etc/ssh/signet/user_ca.pub", "mode", "user_ca.pub"),
            ("echo >> /etc/ssh/signet/breakglass_keys", "bill", "breakglass_keys"),
        ];
        site.host.shell("cp -a /etc/ssh /root/kept").succeeded();
        for (plant, _, _) in plants {
            site.host.shell(plant).succeeded();
        }
        let found = scan(&["-bill=/root/bill.json"]);
        assert_eq!(found.code, Some(1), "{tree}");
        for (plant, kind, path) in plants {
            let is_found = found.stdout.contains(&format!("\"kind\": \"{kind}\"")) && found.stdout.contains(path);
            assert!(is_found, "{tree}: {plant}: {}", found.stdout);
        }
        site.host
            .shell("rm -rf /opt/x /root/.ssh /srv/deploy* /etc/ssh; mv /root/kept /etc/ssh")
            .succeeded();
        assert_eq!(scan(&[]).code, Some(0), "{tree}");
    });
}
