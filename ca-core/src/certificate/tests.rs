use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use ssh_key::Certificate;

use crate::caller::{AuthMethod, Caller, CallerParts};
use crate::plan::{CertificatePlan, Grant, MountLimits, resolve};
use crate::request::SigningRequest;
use crate::role::{Role, RoleSource};
use crate::serial::{NodeId, Serial};
use crate::signer::{CaKeyType, RsaBits, Signer, SoftwareSigner, generate_key_pair};
use crate::time::UnixTime;
use crate::vault_value::Fields;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPk6cWCCjkUgp1tmDTuLK4kLsuxrzZcCrApYr9pl98oe";

fn caller() -> Caller {
    Caller::authenticated(CallerParts {
        person: "alice".to_owned(),
        display_name: "token-ci".to_owned(),
        method: AuthMethod::Token,
        groups: BTreeSet::new(),
        policies: BTreeSet::new(),
        address: [127, 0, 0, 1].into(),
        accessor: String::new(),
        token_expires: None,
        metadata: BTreeMap::new(),
    })
}

fn open_role(algorithm: &str) -> Role {
    let json = format!(
        r#"{{"key_type":"ca","allow_user_certificates":true,"allow_host_certificates":true,"allowed_users":"*",
        "allowed_domains":"*","allowed_extensions":"*","algorithm_signer":"{algorithm}","ttl":600}}"#
    );
    Role::from_vault_json(
        "r",
        "ssh",
        &Fields::from_json(json.as_bytes()).unwrap(),
        RoleSource::Api,
    )
    .unwrap()
}

fn plan(role: &Role, request: &SigningRequest) -> CertificatePlan {
    let resolved = resolve(role, request, &caller(), &MountLimits::default()).unwrap();
    let serial = Serial::new(NodeId(1), 42).unwrap();
    CertificatePlan::new(Grant::new(resolved, vec!["p".to_owned()]), serial, NOW, [7; 32]).unwrap()
}

fn request(public_key: &str) -> SigningRequest {
    SigningRequest {
        public_key: Some(public_key.to_owned()),
        valid_principals: Some("ubuntu,admin".to_owned()),
        extensions: BTreeMap::from([
            ("permit-pty".to_owned(), String::new()),
            ("login@github.com".to_owned(), "al".to_owned()),
        ]),
        critical_options: BTreeMap::from([
            ("force-command".to_owned(), "uptime -p".to_owned()),
            ("source-address".to_owned(), "10.0.0.0/8".to_owned()),
        ]),
        ..SigningRequest::default()
    }
}

/// What the real ssh-keygen says about a certificate line.
fn ssh_keygen_says(line: &str) -> String {
    let mut child = Command::new("ssh-keygen")
        .args(["-L", "-f", "-"])
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh-keygen is needed: apt-get install openssh-client");
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "ssh-keygen refuses {line}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ssh_keygen_reads_back_what_was_planned() {
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let line = plan(&open_role("default"), &request(ED25519))
        .sign(&signer)
        .unwrap()
        .into_line();
    let said = ssh_keygen_says(&line).replace(&signer.public_key().fingerprint(), "CA-FINGERPRINT");
    insta::assert_snapshot!(said);
}

#[test]
fn every_subject_key_under_every_ca_key_verifies() {
    let subjects = [
        CaKeyType::Ed25519,
        CaKeyType::EcdsaP256,
        CaKeyType::EcdsaP384,
        CaKeyType::EcdsaP521,
        CaKeyType::Rsa(RsaBits::B2048),
    ]
    .map(|kind| generate_key_pair(kind).unwrap().public.line());
    let security_key = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIPk6cWCCjkUgp1tmDTuLK4kLsuxrzZcCrApYr9pl98oeAAAABHNzaDo=";
    let authorities = [
        (CaKeyType::Ed25519, "default", "ssh-ed25519"),
        (CaKeyType::EcdsaP256, "default", "ecdsa-sha2-nistp256"),
        (CaKeyType::EcdsaP384, "default", "ecdsa-sha2-nistp384"),
        (CaKeyType::EcdsaP521, "default", "ecdsa-sha2-nistp521"),
        (CaKeyType::Rsa(RsaBits::B2048), "default", "rsa-sha2-256"),
        (CaKeyType::Rsa(RsaBits::B2048), "rsa-sha2-512", "rsa-sha2-512"),
    ];
    for (kind, algorithm, signature) in authorities {
        let signer = SoftwareSigner::generate(kind).unwrap();
        for subject in subjects.iter().map(String::as_str).chain([security_key]) {
            let line = plan(&open_role(algorithm), &request(subject))
                .sign(&signer)
                .unwrap()
                .into_line();
            let certificate = Certificate::from_openssh(&line).unwrap();
            certificate
                .verify_signature()
                .unwrap_or_else(|why| panic!("{subject} under {kind:?}: {why}"));
            assert_eq!(certificate.signature().algorithm().as_str(), signature);
            assert!(
                ssh_keygen_says(&line).contains(&format!("(using {signature})")),
                "{subject} under {kind:?}"
            );
        }
    }
}

#[test]
fn cve_2023_38325_option_values_are_the_bytes_that_ssh_keygen_writes() {
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let tbs = super::encode::to_be_signed(
        &plan(&open_role("default"), &request(ED25519)),
        signer.public_key().blob(),
    )
    .unwrap();
    let golden: &[u8] =
        b"\0\0\0\x0dforce-command\0\0\0\x0d\0\0\0\x09uptime -p\0\0\0\x0esource-address\0\0\0\x0e\0\0\0\x0a10.0.0.0/8";
    assert!(tbs.windows(golden.len()).any(|window| window == golden));
    let flag: &[u8] = b"\0\0\0\x0apermit-pty\0\0\0\0";
    assert!(tbs.windows(flag.len()).any(|window| window == flag));
}

/// A signer that must never be asked.
#[derive(Debug)]
struct Untouchable(SoftwareSigner);

impl Signer for Untouchable {
    fn public_key(&self) -> &crate::subject_key::SubjectKey {
        self.0.public_key()
    }
    fn sign(&self, _: &[u8], _: crate::role::AlgorithmSigner) -> Result<Vec<u8>, crate::signer::SignError> {
        panic!("signed something that does not read back")
    }
    fn is_slow(&self) -> bool {
        false
    }
}

#[test]
fn the_key_is_not_used_when_the_bytes_read_back_otherwise() {
    let signer = Untouchable(SoftwareSigner::generate(CaKeyType::Ed25519).unwrap());
    let planned = plan(&open_role("default"), &request(ED25519));
    let tbs = super::encode::to_be_signed(&planned, signer.public_key().blob()).unwrap();
    for index in 0..tbs.len() {
        let mut damaged = tbs.clone();
        damaged[index] ^= 1;
        assert!(
            super::read_back::check(&planned, signer.public_key(), &damaged).is_err(),
            "byte {index}"
        );
    }
    assert!(super::read_back::check(&planned, signer.public_key(), &tbs).is_ok());
}

#[test]
fn a_certificate_too_long_for_hosts_is_not_issued() {
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let mut long = request(ED25519);
    long.critical_options = (0..5)
        .map(|index| (format!("x{index}@example.com"), "y".repeat(4000)))
        .collect();
    let error = plan(&open_role("default"), &long).sign(&signer).unwrap_err();
    assert!(matches!(error, crate::signer::SignError::TooLong(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// decode(encode(c)) = c for whatever a role may grant, and the signature is right.
    #[test]
    fn decode_of_encode_is_the_plan(
        principals in prop::collection::btree_set("[a-z_][a-z0-9_.-]{0,20}", 1..20),
        command in "[ -~]{1,200}",
        ttl in 1_u64..2_000_000,
        flags in prop::collection::btree_set(prop::sample::select(crate::options::EXTENSIONS), 0..6),
    ) {
        prop_assume!(!command.trim().is_empty());
        let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
        let asked = SigningRequest {
            public_key: Some(ED25519.to_owned()),
            valid_principals: Some(principals.iter().cloned().collect::<Vec<_>>().join(",")),
            ttl_secs: Some(ttl),
            extensions: flags.iter().map(|flag| ((*flag).to_owned(), String::new())).collect(),
            critical_options: BTreeMap::from([("force-command".to_owned(), command.clone())]),
            ..SigningRequest::default()
        };
        let line = plan(&open_role("default"), &asked).sign(&signer).unwrap().into_line();
        let certificate = Certificate::from_openssh(&line).unwrap();
        certificate.verify_signature().unwrap();
        prop_assert_eq!(certificate.valid_principals().to_vec(), principals.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(certificate.valid_before(), NOW.secs() + ttl);
        prop_assert_eq!(certificate.critical_options().get("force-command"), Some(&command));
        prop_assert_eq!(certificate.extensions().len(), flags.len());
        prop_assert_eq!(certificate.serial(), (1 << 48) + 42);
    }
}
