//! What `[hosts]` may say.

use std::path::PathBuf;

use signet_core::toml_reader;

use super::*;

/// A folder with one certificate of each kind.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let self_signed = |key: rcgen::KeyPair| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.self_signed(&key).unwrap().pem()
    };
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    std::fs::write(folder.path().join("rsa.pem"), self_signed(rsa)).unwrap();
    let ec = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("ec.pem"), self_signed(ec)).unwrap();
    std::fs::write(folder.path().join("text.pem"), "no certificate").unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

fn read(source: &str) -> Result<Hosts, Vec<String>> {
    let (_folder, path) = folder();
    let read = toml_reader::read("signet.toml", source, |top| Hosts::read(top, &path));
    read.map_err(|mistakes| {
        let shown = path.display().to_string();
        mistakes
            .iter()
            .map(|mistake| mistake.to_string().replace(&shown, "DIR"))
            .collect()
    })
}

#[test]
fn a_whole_section_reads_and_an_absent_one_lets_no_host_in() {
    assert_eq!(read("").unwrap(), Hosts::default());
    assert_eq!(Hosts::default().host_mount, None);
    let hosts = read(
        "[hosts]\nhost_mount = \"/ssh-host-signer/\"\nrole = \"servers\"\nuser_mount = \"ssh\"\nbundle_ttl = \"1d\"\nstale_after = \"15m\"\n\
         [hosts.ec2]\npending_time_window = \"5m\"\n[hosts.ec2.certificates]\neu-central-1 = \"rsa.pem\"\n",
    )
    .unwrap();
    assert_eq!(hosts.host_mount.as_deref(), Some("ssh-host-signer"));
    assert_eq!(
        (hosts.role.as_str(), hosts.bundle_ttl_secs, hosts.stale_after_secs),
        ("servers", 86_400, 900)
    );
    let ec2 = hosts.ec2.unwrap();
    assert_eq!(ec2.pending_time_window_secs, 300);
    let now = UnixTime::parse_rfc3339("2029-12-01T00:00:00Z").unwrap();
    assert_eq!(ec2.ending_within(86_400, now), []);
    assert_eq!(ec2.ending_within(60 * 86_400, now).len(), 1);
}

#[test]
fn every_mistake_is_told() {
    let ec2 = |certificates: &str| {
        format!("[hosts]\nhost_mount = \"h\"\n[hosts.ec2]\n[hosts.ec2.certificates]\n{certificates}")
    };
    for (name, source, want) in [
        (
            "an unknown key",
            "[hosts]\nhost_mounts = \"x\"\n".to_owned(),
            "unknown key",
        ),
        (
            "a path that is none",
            "[hosts]\nhost_mount = \"sys/x\"\n".to_owned(),
            "own paths begin like this",
        ),
        (
            "a role that is none",
            "[hosts]\nrole = \"a b\"\n".to_owned(),
            "a role's name",
        ),
        (
            "instances without a mount",
            "[hosts.ec2]\n[hosts.ec2.certificates]\n".to_owned(),
            "no `host_mount`",
        ),
        (
            "no certificates",
            "[hosts]\nhost_mount = \"h\"\n[hosts.ec2]\n".to_owned(),
            "needs `certificates`",
        ),
        ("a missing file", ec2("eu-west-1 = \"no.pem\"\n"), "cannot be read"),
        (
            "a file of another kind",
            ec2("eu-west-1 = \"text.pem\"\n"),
            "not one certificate in PEM",
        ),
        ("a key of another kind", ec2("eu-west-1 = \"ec.pem\"\n"), "RSA-2048"),
        (
            "no time to enrol in",
            ec2("").replace("[hosts.ec2]\n[", "[hosts.ec2]\npending_time_window = \"0s\"\n["),
            "pending_time_window",
        ),
    ] {
        let mistakes = read(&source).unwrap_err();
        assert!(
            mistakes.iter().any(|mistake| mistake.contains(want)),
            "{name}: {mistakes:?}"
        );
    }
}
