//! The real `ssh-keygen -Y sign` and `-Y verify` as the judge of our SSHSIG code, for every key kind that needs no device.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use signature::Signer as _;
use signet_core::sshsig::{HashAlgorithm, SshSignature, VerifyError, signed_data};
use signet_core::subject_key::SubjectKey;
use ssh_encoding::Encode as _;

const SPACE: &str = "login.signet";
const MESSAGE: &[u8] = b"signet-login-v1\naddress: https://ca.example.com:8200\nnonce: 00ff\n";

const KINDS: [&[&str]; 6] = [
    &["-t", "ed25519"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "384"],
    &["-t", "ecdsa", "-b", "521"],
    &["-t", "rsa", "-b", "2048"],
    &["-t", "rsa", "-b", "3072"],
];

/// A folder for one test, emptied first.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sshsig-{name}-{}", std::process::id()));
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

fn ssh_keygen(args: &[&str], input: &[u8]) -> (bool, String) {
    let mut child = Command::new("ssh-keygen")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn make_key(dir: &Path, name: &str, kind: &[&str]) -> (String, SubjectKey) {
    let file = dir.join(name).display().to_string();
    let (made, _) = ssh_keygen(&[kind, &["-q", "-N", "", "-C", "t", "-f", &file]].concat(), b"");
    assert!(made);
    let line = fs::read_to_string(format!("{file}.pub")).unwrap();
    (file, SubjectKey::parse(line.trim()).unwrap())
}

#[test]
fn signatures_of_ssh_keygen_verify_and_no_other() {
    let dir = folder("theirs");
    for (n, kind) in KINDS.iter().enumerate() {
        let (file, key) = make_key(&dir, &format!("k{n}"), kind);
        let (_, other) = make_key(&dir, &format!("o{n}"), kind);
        for hash in ["sha256", "sha512"] {
            let option = format!("hashalg={hash}");
            let (signed, armor) = ssh_keygen(&["-Y", "sign", "-n", SPACE, "-O", &option, "-f", &file], MESSAGE);
            assert!(signed, "{kind:?}");
            let signature = SshSignature::from_armor(&armor).unwrap();
            assert_eq!(signature.to_armor().unwrap(), armor, "we write what ssh-keygen writes");
            assert!(signature.verify(&key, SPACE, MESSAGE).is_ok(), "{kind:?} {hash}");
            assert_eq!(
                signature.verify(&key, SPACE, b"other"),
                Err(VerifyError::Mismatch),
                "{kind:?}"
            );
            assert_eq!(
                signature.verify(&other, SPACE, MESSAGE),
                Err(VerifyError::OtherKey),
                "{kind:?}"
            );
        }
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn ssh_keygen_verifies_the_data_that_we_give_to_an_agent() {
    let dir = folder("ours");
    let message_file = dir.join("message");
    fs::write(&message_file, MESSAGE).unwrap();
    for (n, kind) in KINDS.iter().enumerate() {
        let (file, key) = make_key(&dir, &format!("k{n}"), kind);
        let private = ssh_key::PrivateKey::read_openssh_file(Path::new(&file)).unwrap();
        let data = signed_data(SPACE, HashAlgorithm::Sha512, MESSAGE).unwrap();
        let mut blob = Vec::new();
        private.try_sign(&data).unwrap().encode(&mut blob).unwrap();
        let signature = SshSignature::new(key.blob(), SPACE, HashAlgorithm::Sha512, &blob).unwrap();
        assert!(signature.verify(&key, SPACE, MESSAGE).is_ok(), "{kind:?}");

        let armor_file = dir.join("sig").display().to_string();
        fs::write(&armor_file, signature.to_armor().unwrap()).unwrap();
        let allowed = dir.join("allowed").display().to_string();
        fs::write(&allowed, format!("alice {}\n", key.line())).unwrap();
        let verify = |namespace: &str, message: &[u8]| {
            let args = [
                "-Y",
                "verify",
                "-f",
                &allowed,
                "-I",
                "alice",
                "-n",
                namespace,
                "-s",
                &armor_file,
            ];
            ssh_keygen(&args, message).0
        };
        assert!(verify(SPACE, MESSAGE), "{kind:?}");
        assert!(!verify("file", MESSAGE), "{kind:?}");
        assert!(!verify(SPACE, b"other"), "{kind:?}");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_old_sha1_signature_of_an_rsa_key_is_refused() {
    let dir = folder("sha1");
    let (file, key) = make_key(&dir, "k", KINDS[4]);
    let (_, armor) = ssh_keygen(&["-Y", "sign", "-n", SPACE, "-f", &file], MESSAGE);
    let good = SshSignature::from_armor(&armor).unwrap();
    assert!(good.verify(&key, SPACE, MESSAGE).is_ok());
    // The same signature under the name that means SHA-1.
    let private = ssh_key::PrivateKey::read_openssh_file(Path::new(&file)).unwrap();
    let data = signed_data(SPACE, HashAlgorithm::Sha512, MESSAGE).unwrap();
    let signed = private.try_sign(&data).unwrap();
    let mut blob = Vec::new();
    "ssh-rsa".encode(&mut blob).unwrap();
    signed.as_bytes().encode(&mut blob).unwrap();
    let sha1 = SshSignature::new(key.blob(), SPACE, HashAlgorithm::Sha512, &blob).unwrap();
    assert_eq!(
        sha1.verify(&key, SPACE, MESSAGE),
        Err(VerifyError::OtherAlgorithm("ssh-rsa".into()))
    );
    fs::remove_dir_all(dir).unwrap();
}
