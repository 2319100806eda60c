//! EC2 instances get their names from what their metadata service says, asked as an instance asks it.

use signet_tests::estate::{DOMAIN, Estate};
use signet_tests::host::Host;
use signet_tests::imds::{Imds, Region, document};
use signet_tests::network::Network;
use signet_tests::packer;
use signet_tests::person::Ran;
use signet_tests::tree::Tree;

/// A host made by `ami/bake.sh`, as if from an image.
fn baked(network: &Network, tree: Tree, estate: &Estate, name: &str) -> Host {
    let host = Host::with_sshd(network, tree, name);
    for file in std::fs::read_dir(estate.inputs()).unwrap() {
        let file = file.unwrap();
        let to = format!("/srv/inputs/{}", file.file_name().to_str().unwrap());
        host.copy_in(&file.path(), &to, 0o644);
    }
    host.copy_in(&packer::ami().join("bake.sh"), "/srv/bake.sh", 0o755);
    let address = format!("-address={}", estate.authority.address());
    host.run(&["sh", "/srv/bake.sh", "/srv/inputs", &address, "-log=/var/log/auth.log"])
        .succeeded();
    host
}

fn enroll(host: &Host) -> Ran {
    let pid = format!("-sshd-pid={}", host.read("/run/sshd.pid").trim());
    host.signet(&["host", "enroll", &pid])
}

#[test]
fn cve_2026_39388_an_identity_document_enrols_one_instance_with_one_key() {
    let Some(tree) = Tree::any() else { return };
    let (network, region) = (Network::new(), Region::new("eu-central-1"));
    let estate = Estate::on_ec2(&network, &region);
    let (host, thief) = (
        baked(&network, tree, &estate, "web-1"),
        baked(&network, tree, &estate, "web-2"),
    );
    let identity = document("eu-central-1", "i-0123456789abcdef0", host.address());

    // Signed by somebody who says that they are the region.
    let imds = Imds::start(&host, &Region::new("eu-central-1"), &identity);
    assert_eq!(enroll(&host).code, Some(3));
    imds.tell(&region, &identity);
    let ran = enroll(&host).succeeded();
    assert!(
        ran.stdout.contains(&format!("i-0123456789abcdef0.{DOMAIN}")),
        "{}",
        ran.stdout
    );
    assert_eq!(
        host.read("/etc/ssh/signet/principals/ubuntu").trim(),
        "backend",
        "the tags come with the name"
    );

    // CVE-2026-39388, and any page that was made to fetch the document: it is no secret.
    let _replayed = Imds::start(&thief, &region, &identity);
    let ran = enroll(&thief);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let refused = estate.authority.records("host-refused");
    assert_eq!(refused.len(), 2, "{refused:?}");
}
