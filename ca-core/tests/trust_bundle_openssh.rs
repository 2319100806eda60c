//! The real `ssh-keygen -Y verify` as the judge of trust bundles: a host without our program can check one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use signet_core::krl::Krl;
use signet_core::role::AlgorithmSigner;
use signet_core::signer::{CaKeyType, Signer, SoftwareSigner};
use signet_core::sshsig::{HashAlgorithm, SshSignature, signed_data};
use signet_core::time::UnixTime;
use signet_core::trust_bundle::{BUNDLE_NAMESPACE, TrustBundle, VerifiedBundle};

fn bundle(signer: &SoftwareSigner) -> String {
    let mut bundle = TrustBundle {
        authority: "example".to_owned(),
        mount: "ssh".to_owned(),
        version: 1,
        issued: 1_800_000_000,
        valid_until: 1_800_003_600,
        user_ca_keys: vec![signer.public_key().line()],
        host_ca_keys: vec![],
        krl_version: 0,
        krl: String::new(),
        rules: vec![],
        breakglass: "two\nlines".to_owned(),
        bundle_keys: vec![signer.public_key().line()],
    };
    bundle.set_krl(1, &Krl::new(1, UnixTime::from_secs(1_800_000_000), "").encode());
    let text = bundle.signed_text().unwrap();
    let data = signed_data(BUNDLE_NAMESPACE, HashAlgorithm::Sha512, text.as_bytes()).unwrap();
    let blob = signer.sign(&data, AlgorithmSigner::Default).unwrap();
    let key = signer.public_key().blob();
    let signature = SshSignature::new(key, BUNDLE_NAMESPACE, HashAlgorithm::Sha512, &blob).unwrap();
    TrustBundle::with_signature(&text, &signature).unwrap()
}

fn ssh_keygen_takes(dir: &Path, namespace: &str, message: &str) -> bool {
    fs::write(dir.join("message"), message).unwrap();
    let file = |name: &str| dir.join(name).display().to_string();
    let (allowed, signature) = (file("allowed"), file("signature"));
    let output = Command::new("ssh-keygen")
        .args([
            "-Y", "verify", "-f", &allowed, "-I", "bundle", "-n", namespace, "-s", &signature,
        ])
        .stdin(File::open(dir.join("message")).unwrap())
        .output()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    output.status.success()
}

#[test]
fn ssh_keygen_takes_the_bundles_that_we_take() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("trust-bundle-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for kind in [CaKeyType::Ed25519, CaKeyType::EcdsaP256, CaKeyType::EcdsaP384] {
        let signer = SoftwareSigner::generate(kind).unwrap();
        let text = bundle(&signer);
        assert!(VerifiedBundle::open_held(&text, &[signer.public_key().clone()]).is_ok());
        let (content, armor) = text.split_at(text.find("-----BEGIN").unwrap());
        fs::write(dir.join("signature"), armor).unwrap();
        fs::write(dir.join("allowed"), format!("bundle {}\n", signer.public_key().line())).unwrap();
        assert!(ssh_keygen_takes(&dir, BUNDLE_NAMESPACE, content), "{kind:?}");
        assert!(!ssh_keygen_takes(&dir, "file", content), "{kind:?}");
        assert!(
            !ssh_keygen_takes(&dir, BUNDLE_NAMESPACE, &content.replace(":1,", ":2,")),
            "{kind:?}"
        );
    }
    fs::remove_dir_all(dir).unwrap();
}
