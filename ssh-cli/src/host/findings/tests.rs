use std::fs;

use super::*;
use crate::host::apply::{Trust, apply_trust, empty_krl};
use crate::host::files::Files;
use signet_core::subject_key::SubjectKey;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8x3pKbTNxtA7+dGyMHzCwY5yH5SLBlD+3GD1Lp3QmV";
type Damage = fn(&Layout);
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn host() -> (tempfile::TempDir, Layout) {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::under(root.path());
    let trust = Trust {
        user_ca_keys: vec![SubjectKey::parse(KEY).unwrap()],
        host_ca_keys: Vec::new(),
        krl: empty_krl(NOW),
        principals: BTreeMap::from([("root".to_owned(), BTreeSet::from(["on-call".to_owned()]))]),
    };
    apply_trust(&Files::new(&layout, None), &layout, &trust).unwrap();
    (root, layout)
}

fn found(layout: &Layout, now: UnixTime) -> Vec<String> {
    let examination = examine(layout, now);
    // The tree has no sshd, and says so.
    let problems = examination.problems().into_iter();
    problems.filter(|text| !text.starts_with("there is no sshd")).collect()
}

#[test]
fn a_sound_tree_has_no_problem() {
    let (_root, layout) = host();
    assert_eq!(found(&layout, NOW), Vec::<String>::new());
    let trusts = examine(&layout, NOW).trusts;
    assert_eq!(trusts.accounts["root"], ["on-call"]);
    assert_eq!(trusts.user_ca_keys.len(), 1);
    assert_eq!(trusts.krl_version, Some(0));
}

#[test]
fn each_damage_is_told_with_what_follows_from_it() {
    let all_fail = "every login with a key fails, but for the break-glass account";
    let rows: [(&str, Damage, String); 8] = [
        (
            "a KRL that is gone",
            |layout| fs::remove_file(layout.krl()).unwrap(),
            format!("there is no KRL: {all_fail}"),
        ),
        (
            "a KRL of 0 bytes",
            |layout| fs::write(layout.krl(), "").unwrap(),
            "the KRL has 0 bytes: it revokes nothing".to_owned(),
        ),
        (
            "a KRL cut short",
            |layout| {
                let bytes = fs::read(layout.krl()).unwrap();
                fs::write(layout.krl(), bytes.get(..20).unwrap()).unwrap();
            },
            format!("the KRL is damaged: {all_fail}"),
        ),
        (
            "no CA file",
            |layout| fs::remove_file(layout.user_ca_keys()).unwrap(),
            "there is no CA file: sshd starts, and refuses every certificate without a word in its log".to_owned(),
        ),
        (
            "a bad line in front",
            |layout| fs::write(layout.user_ca_keys(), format!("{KEY}\ncert-authority {KEY}\n{KEY}\n")).unwrap(),
            "line 2 of the CA file is no CA key (it is not the line of a public key file): sshd reads nothing behind it"
                .to_owned(),
        ),
        (
            "two keys on one line",
            |layout| fs::write(layout.user_ca_keys(), format!("{KEY}{KEY}\n").replace("QmVssh", "QmV ssh")).unwrap(),
            "line 1 of the CA file holds two keys: sshd takes the second for a comment".to_owned(),
        ),
        (
            "Windows line ends",
            |layout| fs::write(layout.principals_of("root"), "on-call\r\n").unwrap(),
            "line 1 of the principals of `root` ends in CR LF: nobody has that principal".to_owned(),
        ),
        (
            "a file that all may write",
            |layout| {
                use std::os::unix::fs::PermissionsExt as _;
                fs::set_permissions(layout.principals_of("root"), fs::Permissions::from_mode(0o666)).unwrap();
            },
            "`/etc/ssh/signet/principals/root` can be written by others than root: sshd then refuses every certificate \
             for it"
                .to_owned(),
        ),
    ];
    for (name, damage, want) in rows {
        let (_root, layout) = host();
        damage(&layout);
        assert_eq!(found(&layout, NOW), [want], "{name}");
    }
}

#[test]
fn a_clock_that_was_never_set_is_a_problem() {
    let (_root, layout) = host();
    let problems = found(&layout, UnixTime::from_secs(60));
    assert_eq!(
        problems,
        ["the clock says 1970-01-01T00:01:00Z: every certificate is \"not yet valid\""]
    );
}
