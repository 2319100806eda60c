//! Whom the client believes: real TLS handshakes on loopback.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::stub::Stub;
use crate::world::{World, stderr, stdout};

/// An authority behind TLS, and the certificate that its people are given.
fn authority(names: &[&str], issuer: Option<&CertifiedIssuer<'_, KeyPair>>) -> (World, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    behind(&CertificateParams::new(names).unwrap(), issuer)
}

fn behind(params: &CertificateParams, issuer: Option<&CertifiedIssuer<'_, KeyPair>>) -> (World, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        // As `signet-ca` makes its own at its first start.
        None => params.self_signed(&key),
    };
    let certificate = certificate.unwrap();
    let believed = issuer.map_or_else(|| certificate.pem(), CertifiedIssuer::pem);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = config
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let world = World::with(Stub::start_tls(config));
    let file = world.path("ca.pem").display().to_string();
    std::fs::write(&file, believed).unwrap();
    (world, file)
}

fn company() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn the_given_certificate_and_what_it_signed_are_believed() {
    let company = company();
    for issuer in [None, Some(&company)] {
        let (world, ca) = authority(&["127.0.0.1"], issuer);
        let output = world.run(&["whoami", "-ca-cert", &ca]);
        assert!(stdout(&output).contains("alice"), "{}", stderr(&output));
        let mut by_folder = world.signet(&["whoami"]);
        std::fs::create_dir(world.path("cas")).unwrap();
        std::fs::copy(&ca, world.path("cas/ca.pem")).unwrap();
        let output = by_folder.env("VAULT_CAPATH", world.path("cas")).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn the_agent_believes_what_its_asker_named() {
    let (world, _) = authority(&["127.0.0.1"], None);
    // A path from the asker's folder; the agent runs in another.
    let mut ssh = world.signet(&["ssh", "-role=my-role", "-ca-cert=ca.pem", "ubuntu@host"]);
    let output = ssh.current_dir(world.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{}", stderr(&output));
    let unbelieving = world.run(&["ssh", "-role=my-role", "ubuntu@host"]);
    assert_eq!(unbelieving.status.code(), Some(1), "{}", stderr(&unbelieving));
    assert_eq!(world.stub.signs(), 1, "nothing was asked without trust");
}

#[test]
fn an_unknown_issuer_is_refused_before_the_token_is_sent() {
    let (world, _) = authority(&["127.0.0.1"], None);
    let (_other, other_ca) = authority(&["127.0.0.1"], None);
    for words in [&["whoami"][..], &["whoami", "-ca-cert", &other_ca]] {
        let output = world.run(words);
        assert_eq!(output.status.code(), Some(1));
        let report = stderr(&output);
        assert!(report.contains("is not trusted"), "{report}");
        assert!(
            report.contains("-ca-cert") && report.contains("fingerprint"),
            "{report}"
        );
    }
    assert_eq!(world.stub.knocks(), 0);
}

#[test]
fn the_name_in_the_certificate_counts_and_can_be_said() {
    let (world, ca) = authority(&["ca.example.com"], None);
    let wrong = world.run(&["whoami", "-ca-cert", &ca]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("-tls-server-name"), "{}", stderr(&wrong));
    let said = world.run(&["whoami", "-ca-cert", &ca, "-tls-server-name", "ca.example.com"]);
    assert!(said.status.success(), "{}", stderr(&said));
    let other = world.run(&["whoami", "-ca-cert", &ca, "-tls-server-name=evil.example.com"]);
    assert_eq!(other.status.code(), Some(1), "{}", stderr(&other));
    assert_eq!(world.stub.knocks(), 1);
}

#[test]
fn an_expired_certificate_is_told_from_an_unknown_one() {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let (world, ca) = behind(&params, None);
    let output = world.run(&["whoami", "-ca-cert", &ca]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("clock"), "{}", stderr(&output));
}

#[test]
fn verification_is_skipped_only_when_asked() {
    let (world, _) = authority(&["ca.example.com"], None);
    let skipped = world.run(&["whoami", "-tls-skip-verify"]);
    assert!(skipped.status.success(), "{}", stderr(&skipped));
    let mut by_variable = world.signet(&["whoami", "-tls-skip-verify=false"]);
    let output = by_variable.env("VAULT_SKIP_VERIFY", "true").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the flag wins: {}", stderr(&output));
}
