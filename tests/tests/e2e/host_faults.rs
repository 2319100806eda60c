//! The fault table: whatever is damaged, cut off, stale, old, in the way or full, a certificate or at least the break-glass
//! key still opens the host, and `signet host check` says what is wrong. On each Debian release, by real logins.

use signet_tests::keys::KeyFile;
use signet_tests::person::Ran;
use signet_tests::site::{Site, bundle, bundle_of, on_each_release};
use signet_tests::tree::Tree;
use signet_tests::wait::until;

/// Where the bundle is that the host follows, as a mirror or a configuration tool would lay it down.
const OFFER: &str = "/srv/bundle";

/// What a member's certificate says, in ssh-keygen's words.
const MEMBER: [&str; 6] = ["-n", "backend", "-z", "5", "-V", "-1m:+1h"];

/// A baked host in step with version 7 of a bundle, and a certificate that opens `ubuntu` there.
struct Followed {
    site: Site,
    signer: KeyFile,
    member: KeyFile,
}

impl Followed {
    fn new(tree: Tree) -> Self {
        Self::with_disk(tree, "1g")
    }

    fn with_disk(tree: Tree, disk: &str) -> Self {
        let site = Site::with_disk(tree, disk);
        let signer = KeyFile::ed25519(site.folder.path(), "bundle-key");
        let member = site.certificate("member", &MEMBER);
        let followed = Self { site, signer, member };
        let host = &followed.site.host;
        followed.offer(7);
        host.write("/root/bundle.pub", &followed.signer.public_line());
        let words = [
            "host",
            "bake",
            "-bundle=/srv/bundle",
            "-bundle-key=/root/bundle.pub",
            "-bundle-url=/srv/bundle",
            "-breakglass=/root/breakglass.keys",
            "-log=/var/log/auth.log",
            "-jitter=0s",
            "-tags=web",
        ];
        host.signet(&words).succeeded();
        followed.site.restart_sshd();
        followed.sync().succeeded();
        assert!(followed.enters(), "{tree}");
        assert_eq!(followed.site.check().0, Some(0), "{tree}: {}", followed.site.check().1);
        followed
    }

    /// Lays down a sound bundle of this version.
    fn offer(&self, version: u64) {
        self.site
            .host
            .write(OFFER, &bundle(&self.site, &self.signer, version, 3600));
    }

    fn sync(&self) -> Ran {
        self.site.host.signet(&["host", "sync", "-now"])
    }

    fn enters(&self) -> bool {
        self.site.opens("ubuntu", &self.member)
    }

    fn breaks_glass(&self) -> bool {
        self.site.opens("breakglass", &self.site.sealed)
    }

    /// Every sentence of `signet host check`.
    fn findings(&self) -> String {
        self.site.host.signet(&["host", "check", "-format=json"]).stdout
    }

    fn keep(&self) {
        let script = "rm -rf /root/kept; mkdir /root/kept; cp -a /etc/ssh /var/lib/signet-host /root/kept";
        self.site.host.shell(script).succeeded();
    }

    fn put_back(&self) {
        let script =
            "rm -rf /etc/ssh /var/lib/signet-host; cp -a /root/kept/ssh /etc; cp -a /root/kept/signet-host /var/lib";
        self.site.host.shell(script).succeeded();
    }
}

/// What is done to the host, whether certificates open it then, whether `sync` mends it by itself, and what `check` says (nothing
/// where it is no fault).
struct Fault {
    script: &'static str,
    enters: bool,
    is_mended: bool,
    says: &'static str,
}

#[test]
fn each_fault_of_a_running_host_leaves_a_way_in_and_check_says_what_is_wrong() {
    let faults = [
        Fault {
            script: "sed -i '1i garbage' /etc/ssh/signet/user_ca.pub",
            enters: false,
            is_mended: true,
            says: "line 1 of the CA file is no CA key",
        },
        Fault {
            script: ": > /etc/ssh/signet/user_ca.pub",
            enters: false,
            is_mended: true,
            says: "the CA file holds no key: every certificate is refused",
        },
        Fault {
            script: "truncate -s 20 /etc/ssh/signet/revoked.krl",
            enters: false,
            is_mended: true,
            says: "the KRL is damaged: every login with a key fails, but for the break-glass account",
        },
        Fault {
            script: "echo garbage > /etc/ssh/signet/trust-bundle",
            enters: true,
            is_mended: true,
            says: "the trust bundle in place: it is not a trust bundle",
        },
        Fault {
            script: "echo 'TrustedUserCAKeys /etc/ssh/other.pub' > /etc/ssh/sshd_config.d/05-other.conf",
            enters: false,
            is_mended: false,
            says: "/etc/ssh/sshd_config.d/05-other.conf:1",
        },
        Fault {
            script: "printf '\\nMatch User ubuntu\\n  RevokedKeys /etc/ssh/other.krl\\n' >> /etc/ssh/sshd_config",
            enters: false,
            is_mended: false,
            says: "for `ubuntu` `RevokedKeys` is `/etc/ssh/other.krl`, not `/etc/ssh/signet/revoked.krl`",
        },
        Fault {
            script: "printf '\\nMatch Address 192.0.2.0/24\\n  X11Forwarding no' >> /etc/ssh/sshd_config",
            enters: true,
            is_mended: true,
            says: "",
        },
    ];
    on_each_release(|tree| {
        let host = Followed::new(tree);
        host.keep();
        for fault in &faults {
            let script = fault.script;
            host.site.host.shell(script).succeeded();
            host.site.restart_sshd();
            assert!(host.breaks_glass(), "{tree}: {script}");
            assert_eq!(host.enters(), fault.enters, "{tree}: {script}");
            assert!(
                host.findings().contains(fault.says),
                "{tree}: {script}: {}",
                host.findings()
            );
            host.sync();
            assert_eq!(
                host.enters(),
                fault.enters || fault.is_mended,
                "{tree}: {script}, then a sync"
            );
            if fault.is_mended {
                assert_eq!(host.site.check().0, Some(0), "{tree}: {script}: {}", host.findings());
            } else {
                assert_eq!(host.site.check().0, Some(1), "{tree}: {script}: {}", host.findings());
            }
            host.put_back();
        }
    });
}

/// Without `Include` an sshd that starts anew would know neither door: it is told before that, and baking again mends it.
#[test]
fn an_include_that_somebody_removes_is_told_before_sshd_starts_anew() {
    on_each_release(|tree| {
        let host = Followed::new(tree);
        host.site
            .host
            .shell("sed -i '/^Include/d' /etc/ssh/sshd_config")
            .succeeded();
        let (code, said) = host.site.check();
        assert_eq!(code, Some(1), "{tree}: {said}");
        assert!(
            host.findings()
                .contains("for root `TrustedUserCAKeys` is `none`, not `/etc/ssh/signet/user_ca.pub`"),
            "{tree}: {}",
            host.findings()
        );
        assert!(host.enters() && host.breaks_glass(), "{tree}: the sshd that runs");
        host.site.host.signet(&["host", "bake"]).succeeded();
        host.site.restart_sshd();
        assert!(host.enters() && host.breaks_glass(), "{tree}: baked again");
        assert_eq!(host.site.check().0, Some(0), "{tree}: {}", host.findings());
    });
}

#[test]
fn what_is_offered_cut_off_stale_foreign_or_old_is_refused_and_the_last_good_one_stays() {
    on_each_release(|tree| {
        let host = Followed::new(tree);
        let foreign = KeyFile::ed25519(host.site.folder.path(), "foreign");
        let good = bundle(&host.site, &host.signer, 8, 3600);
        let before = host.site.fingerprint("/etc/ssh");
        for (offered, says) in [
            (good[..good.len() / 3].to_owned(), "it is not a trust bundle"),
            (good[..good.len() - 90].to_owned(), "its signature cannot be read"),
            (bundle(&host.site, &host.signer, 8, -1), "it was valid until"),
            (
                bundle(&host.site, &host.signer, 6, 3600),
                "it is version 6, and this host has seen version 7 already",
            ),
            (
                bundle(&host.site, &foreign, 8, 3600),
                "which this host was not told to believe",
            ),
        ] {
            host.site.host.write(OFFER, &offered);
            let ran = host.sync();
            assert_eq!(ran.code, Some(1), "{tree}: {says}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{tree}: {says}: {}", ran.stderr);
            assert_eq!(host.site.fingerprint("/etc/ssh"), before, "{tree}: {says}");
            assert!(host.enters(), "{tree}: {says}");
        }
        assert!(host.breaks_glass(), "{tree}");

        // What nobody renews stays in force, and is told.
        host.site.host.write(OFFER, &bundle(&host.site, &host.signer, 8, 2));
        host.sync().succeeded();
        let stale = "this host does not hear of revocations";
        until("the bundle to end", || host.findings().contains(stale).then_some(()));
        assert_eq!(host.site.check().0, Some(1), "{tree}: {}", host.findings());
        assert!(host.enters() && host.breaks_glass(), "{tree}: stale");

        // An old bundle that somebody puts back is told, and the next sync takes the newest again.
        host.site
            .host
            .shell("cp /etc/ssh/signet/trust-bundle /root/old")
            .succeeded();
        host.offer(9);
        host.sync().succeeded();
        assert_eq!(host.site.check().0, Some(0), "{tree}: {}", host.findings());
        host.site
            .host
            .shell("cp /root/old /etc/ssh/signet/trust-bundle")
            .succeeded();
        let rolled_back = "the trust bundle in place is version 8, and this host has seen version 9";
        assert!(host.findings().contains(rolled_back), "{tree}: {}", host.findings());
        assert!(host.enters() && host.breaks_glass(), "{tree}: rolled back");

        // Nor is an older one baked while the one in place cannot be read.
        host.site
            .host
            .shell("echo garbage > /etc/ssh/signet/trust-bundle")
            .succeeded();
        host.site.host.write("/root/older", &good);
        let ran = host.site.host.signet(&["host", "bake", "-bundle=/root/older"]);
        assert_eq!(ran.code, Some(3), "{tree}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("has seen version 9 already"),
            "{tree}: {}",
            ran.stderr
        );
        host.sync();
        assert_eq!(host.site.check().0, Some(0), "{tree}: {}", host.findings());
    });
}

/// The CA is replaced by a bundle, and the host goes dark at every step of taking it over.
#[test]
fn a_power_cut_at_any_step_of_a_sync_leaves_both_ways_in_and_the_next_one_goes_on() {
    on_each_release(|tree| {
        let host = Followed::new(tree);
        let next = KeyFile::ed25519(host.site.folder.path(), "next-ca");
        let of_next = host.site.certificate_of(&next, "of-next", &MEMBER);
        let offered = bundle_of(&host.site, &[&next], &host.signer, 8, 3600);
        host.site.host.write(OFFER, &offered);
        host.keep();
        for step in 1.. {
            let stop = format!("-stop-after={step}");
            let cut = host.site.host.signet(&["host", "sync", "-now", &stop]);
            if cut.code == Some(0) {
                assert!(step > 6, "{tree}: {step} steps");
                break;
            }
            assert!(
                cut.code.is_none() || cut.code == Some(134),
                "{tree}, step {step}: {}",
                cut.stderr
            );
            host.site.host.shell("sshd -t").succeeded();
            assert!(host.breaks_glass(), "{tree}, step {step}");
            assert!(
                host.enters() || host.site.opens("ubuntu", &of_next),
                "{tree}, step {step}"
            );
            host.sync().succeeded();
            assert!(
                host.site.opens("ubuntu", &of_next),
                "{tree}, step {step}, then a whole sync"
            );
            assert_eq!(host.site.check().0, Some(0), "{tree}, step {step}: {}", host.findings());
            host.put_back();
        }
        assert!(host.site.opens("ubuntu", &of_next) && !host.enters(), "{tree}");
    });
}

#[test]
fn a_full_disk_keeps_both_doors_open_and_the_next_sync_catches_up() {
    on_each_release(|tree| {
        let host = Followed::with_disk(tree, "96m");
        let next = KeyFile::ed25519(host.site.folder.path(), "next-ca");
        let of_next = host.site.certificate_of(&next, "of-next", &MEMBER);
        let offered = bundle_of(&host.site, &[&host.site.ca, &next], &host.signer, 8, 3600);
        host.site.host.write(OFFER, &offered);
        host.site.host.shell("cat /dev/zero > /filler 2>/dev/null || true");
        let ran = host.sync();
        assert_eq!(ran.code, Some(1), "{tree}: {}", ran.stderr);
        assert!(ran.stderr.contains("No space left on device"), "{tree}: {}", ran.stderr);
        assert!(host.enters() && host.breaks_glass(), "{tree}: a full disk");
        let (code, said) = host.site.check();
        assert!(code.is_some_and(|code| code < 2), "{tree}: check runs: {said}");
        host.site.host.shell("rm /filler").succeeded();
        host.sync().succeeded();
        assert!(host.enters() && host.site.opens("ubuntu", &of_next), "{tree}");
        assert_eq!(host.site.check().0, Some(0), "{tree}: {}", host.findings());
    });
}
