//! The metadata service of the other tests, tested itself: it must be as strict as Amazon's.

use signet_tests::binaries::system;
use signet_tests::host::Host;
use signet_tests::imds::{Imds, Region, document, verified};
use signet_tests::network::Network;
use signet_tests::tree::Tree;

#[test]
fn the_metadata_service_answers_only_version_2_and_only_inside_its_host() {
    let Some(tree) = Tree::any() else { return };
    let network = Network::new();
    let (host, other) = (Host::start(&network, tree, "i-1"), Host::start(&network, tree, "i-2"));
    let region = Region::new("eu-central-1");
    let identity = document(region.name(), "i-0123456789abcdef0", host.address());
    let imds = Imds::start(&host, &region, &identity);
    let curl = |host: &Host, words: &[&str]| {
        let quiet = [
            "--silent",
            "--noproxy",
            "*",
            "--max-time",
            "5",
            "--write-out",
            " %{http_code}",
        ];
        let output = host.beside(&system("curl")).args(quiet).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (token_url, base) = (
        "http://169.254.169.254/latest/api/token",
        "http://169.254.169.254/latest",
    );
    let ttl = |seconds: &str| format!("X-aws-ec2-metadata-token-ttl-seconds: {seconds}");
    let url = format!("{base}/dynamic/instance-identity/rsa2048");

    assert_eq!(curl(&host, &[&url]), " 401", "version 1 is off");
    assert_eq!(curl(&host, &["-X", "PUT", token_url]), " 400", "a token needs a life");
    assert_eq!(curl(&host, &["-X", "PUT", "-H", &ttl("21601"), token_url]), " 400");
    let proxied = [
        "-X",
        "PUT",
        "-H",
        &ttl("60"),
        "-H",
        "X-Forwarded-For: 10.0.0.1",
        token_url,
    ];
    assert_eq!(curl(&host, &proxied), " 403", "asked through a proxy");
    let token = curl(&host, &["-X", "PUT", "-H", &ttl("60"), token_url]);
    let header = format!("X-aws-ec2-metadata-token: {}", token.strip_suffix(" 200").unwrap());
    let signed = curl(&host, &["-H", &header, &url]);
    let text = verified(signed.strip_suffix(" 200").unwrap(), &region.certificate()).expect("a valid signature");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), identity);
    let of_another = Region::new("eu-central-1");
    assert!(verified(signed.strip_suffix(" 200").unwrap(), &of_another.certificate()).is_none());

    imds.expire_tokens();
    assert_eq!(curl(&host, &["-H", &header, &url]), " 401", "an expired token");
    assert_eq!(
        curl(&other, &["-H", &header, &url]),
        " 000",
        "another host has no such address"
    );
    assert_eq!(imds.requests().len(), 7);
}
