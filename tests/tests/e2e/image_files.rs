//! The files under `ami/` that no tool of this machine can run: Packer 1.6.6 reads what builds locally, and of what builds on
//! EC2 only a parser says something here.

use std::path::{Path, PathBuf};
use std::process::Command;

use hcl::{Attribute, Block, Body, Expression};
use signet_tests::binaries::system;
use signet_tests::keys::KeyFile;
use signet_tests::tree::Tree;
use signet_tests::workdir::Workdir;

fn packer_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ami/packer").join(name)
}

fn body(folder: &str, file: &str) -> Body {
    let path = packer_folder(folder).join(file);
    let text = std::fs::read_to_string(&path).expect("a template");
    hcl::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn blocks<'a>(body: &'a Body, name: &str) -> Vec<&'a Block> {
    body.blocks().filter(|block| block.identifier() == name).collect()
}

fn value<'a>(body: &'a Body, name: &str) -> Option<&'a Expression> {
    body.attributes()
        .find(|attribute| attribute.key() == name)
        .map(Attribute::expr)
}

#[test]
fn the_build_for_ec2_has_the_provisioners_of_the_build_that_the_tests_run() {
    let [local, aws] = ["local", "aws"].map(|folder| body(folder, "provision.pkr.hcl"));
    let (local, aws) = (blocks(&local, "build")[0].body(), blocks(&aws, "build")[0].body());
    let provisioners = blocks(local, "provisioner");
    assert!(provisioners.len() > 3);
    assert_eq!(provisioners, blocks(aws, "provisioner"));
    assert_eq!(body("local", "variables.pkr.hcl"), body("aws", "variables.pkr.hcl"));
}

#[test]
fn the_build_for_ec2_is_encrypted_asks_for_imdsv2_and_shares_nothing() {
    let shared = body("aws", "aws.pkr.hcl");
    let source = blocks(&shared, "source")[0].body();
    assert_eq!(value(source, "imds_support"), Some(&"v2.0".into()));
    assert_eq!(value(source, "encrypt_boot"), Some(&true.into()));
    assert_eq!(value(source, "temporary_key_pair_type"), Some(&"ed25519".into()));
    assert_eq!(value(source, "ssh_clear_authorized_keys"), Some(&true.into()));
    let metadata = blocks(source, "metadata_options")[0].body();
    assert_eq!(value(metadata, "http_tokens"), Some(&"required".into()));
    assert_eq!(value(metadata, "http_put_response_hop_limit"), Some(&1.into()));

    let build = body("aws", "provision.pkr.hcl");
    let images = blocks(blocks(&build, "build")[0].body(), "source");
    let names: Vec<_> = images.iter().filter_map(|image| value(image.body(), "name")).collect();
    let expected = ["ubuntu-22.04", "ubuntu-24.04", "debian-12", "amazon-linux-2023"].map(Expression::from);
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    for image in &images {
        let filter = blocks(image.body(), "source_ami_filter")[0].body();
        // Without an owner, anybody's image with a fitting name would be taken.
        assert!(matches!(value(filter, "owners"), Some(Expression::Array(owners)) if owners.len() == 1));
        assert!(value(image.body(), "ami_name").is_some() && value(image.body(), "ssh_username").is_some());
    }
    for shared_with in [
        "ami_users",
        "ami_groups",
        "ami_org_arns",
        "ami_ou_arns",
        "snapshot_users",
        "snapshot_groups",
    ] {
        assert!(
            images.iter().all(|image| value(image.body(), shared_with).is_none()),
            "{shared_with}"
        );
        assert_eq!(value(source, shared_with), None);
    }
}

#[test]
fn packer_1_6_6_accepts_the_local_build_and_its_layout() {
    // Packer is there where hosts in namespaces are.
    if Tree::any().is_none() {
        return;
    }
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "key");
    let packer = |words: &[&str]| {
        let mut command = Command::new(system("packer"));
        command
            .args(words)
            .arg(packer_folder("local"))
            .env("CHECKPOINT_DISABLE", "1");
        let output = command.output().expect("packer starts");
        let printed = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&printed)
        );
    };
    let key = format!("-var=key={}", key.path().display());
    packer(&["validate", "-var=inputs=/tmp", "-var=host=127.0.0.1", &key]);
    packer(&["fmt", "-check"]);
}
