//! Identity documents, good ones and forged ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

mod signer;

use std::collections::BTreeMap;
use std::process::Command;

use signet_core::ec2_document::{DocumentError, DocumentFault, InstanceDocument, RegionCertificate};
use x509_cert::der::asn1::Any;

use signer::{Recipe, RegionKey, base64, content_type, message_digest};

const DATA: &str = "1.2.840.113549.1.7.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const SHA_1: &str = "1.3.14.3.2.26";

const DOCUMENT: &str = r#"{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "eu-central-1a",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-0123456789abcdef0",
  "instanceId" : "i-0123456789abcdef0",
  "instanceType" : "t3.micro",
  "kernelId" : null,
  "pendingTime" : "2026-11-26T04:00:00Z",
  "privateIp" : "10.1.2.3",
  "ramdiskId" : null,
  "region" : "eu-central-1",
  "version" : "2017-09-30"
}"#;

struct World {
    frankfurt: RegionKey,
    virginia: RegionKey,
    mallory: RegionKey,
    pinned: BTreeMap<String, RegionCertificate>,
}

impl World {
    fn new() -> Self {
        let (frankfurt, virginia, mallory) = (RegionKey::new(), RegionKey::new(), RegionKey::new());
        let pin = |region: &str, key: &RegionKey| (region.to_owned(), RegionCertificate::from_pem(&key.pem).unwrap());
        let pinned = [pin("eu-central-1", &frankfurt), pin("us-east-1", &virginia)];
        Self {
            pinned: pinned.into(),
            frankfurt,
            virginia,
            mallory,
        }
    }

    fn verify(&self, der: &[u8]) -> Result<InstanceDocument, DocumentError> {
        InstanceDocument::verify(&base64(der), &self.pinned)
    }

    fn good(&self) -> Recipe<'_> {
        Recipe::good(&self.frankfurt, DOCUMENT.as_bytes())
    }
}

#[test]
fn a_document_is_taken_in_every_form_that_ec2_gives_it() {
    let world = World::new();
    let document = world.verify(&world.good().der()).unwrap();
    assert_eq!(document.instance_id(), "i-0123456789abcdef0");
    assert_eq!(
        (document.account_id(), document.region()),
        ("123456789012", "eu-central-1")
    );
    assert_eq!(
        world.verify(&world.good().stream()),
        Ok(document.clone()),
        "as a stream"
    );
    let lines = world.frankfurt.document(DOCUMENT);
    for text in [
        lines.replace('\n', ""),
        lines.replace('\n', "\r\n"),
        format!("-----BEGIN PKCS7-----\n{lines}\n-----END PKCS7-----\n"),
    ] {
        assert_eq!(InstanceDocument::verify(&text, &world.pinned).as_ref(), Ok(&document));
    }
}

#[test]
fn cve_2026_3338_and_the_noverify_forgery_are_refused() {
    let world = World::new();
    let signature = || {
        let region = "eu-central-1".to_owned();
        DocumentError::Signature { region }
    };
    let rows: Vec<(&str, Recipe<'_>, DocumentError)> = vec![
        (
            "signed by anybody who puts his own certificate inside",
            Recipe {
                embedded: Some(&world.mallory),
                ..Recipe::good(&world.mallory, DOCUMENT.as_bytes())
            },
            signature(),
        ),
        (
            "signed by anybody who puts AWS's certificate inside",
            Recipe {
                embedded: Some(&world.frankfurt),
                ..Recipe::good(&world.mallory, DOCUMENT.as_bytes())
            },
            signature(),
        ),
        (
            "signed by another region's key",
            Recipe::good(&world.virginia, DOCUMENT.as_bytes()),
            signature(),
        ),
        (
            "a second signer first",
            Recipe {
                signers: vec![&world.mallory, &world.frankfurt],
                ..world.good()
            },
            DocumentError::Signers { found: 2 },
        ),
        (
            "no signer",
            Recipe {
                signers: Vec::new(),
                ..world.good()
            },
            DocumentError::Signers { found: 0 },
        ),
    ];
    for (name, recipe, want) in rows {
        assert_eq!(world.verify(&recipe.der()), Err(want), "{name}");
    }
}

#[test]
fn cve_2026_3336_attributes_that_are_not_this_document_s_are_refused() {
    let world = World::new();
    let other = DOCUMENT.replace("i-0123456789abcdef0", "i-0fedcba9876543210");
    let rows: Vec<(&str, Recipe<'_>, DocumentError)> = vec![
        (
            "no signed attributes",
            Recipe {
                attributes: None,
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "the attributes of another document",
            Recipe {
                content: other.as_bytes(),
                attributes: world.good().attributes,
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "no digest among the attributes",
            Recipe {
                attributes: Some(vec![content_type(DATA)]),
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "no type among the attributes",
            Recipe {
                attributes: Some(vec![message_digest(DOCUMENT.as_bytes())]),
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "two digests",
            Recipe {
                attributes: Some(vec![
                    content_type(DATA),
                    message_digest(DOCUMENT.as_bytes()),
                    message_digest(other.as_bytes()),
                ]),
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "a digest that is no text of bytes",
            Recipe {
                attributes: Some(vec![content_type(DATA), (message_digest(b"").0, Any::null())]),
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "attributes of another type",
            Recipe {
                attributes: Some(vec![content_type(SIGNED_DATA), message_digest(DOCUMENT.as_bytes())]),
                ..world.good()
            },
            DocumentError::Attributes,
        ),
        (
            "SHA-1",
            Recipe {
                digest: SHA_1,
                ..world.good()
            },
            DocumentError::Algorithm,
        ),
        (
            "content of another type",
            Recipe {
                content_type: SIGNED_DATA,
                ..world.good()
            },
            DocumentError::NoDocument,
        ),
        (
            "the document beside it",
            Recipe {
                detached: true,
                ..world.good()
            },
            DocumentError::NoDocument,
        ),
    ];
    for (name, recipe, want) in rows {
        assert_eq!(world.verify(&recipe.der()), Err(want), "{name}");
    }
}

#[test]
fn what_is_signed_must_be_one_document_of_the_key_s_region() {
    let world = World::new();
    let rows = [
        (
            "a region that is not pinned",
            "eu-central-1",
            "eu-west-3",
            DocumentError::Region {
                region: "eu-west-3".to_owned(),
            },
        ),
        (
            "another pinned region",
            "eu-central-1",
            "us-east-1",
            DocumentError::Signature {
                region: "us-east-1".to_owned(),
            },
        ),
        (
            "two regions",
            "\"version\"",
            "\"region\" : \"us-east-1\", \"version\"",
            DocumentError::Document(DocumentFault::NotJson),
        ),
        (
            "no instance",
            "instanceId",
            "instance",
            DocumentError::Document(DocumentFault::Field { field: "instanceId" }),
        ),
    ];
    for (name, from, to, want) in rows {
        let content = DOCUMENT.replacen(from, to, if name == "two regions" { 1 } else { 9 });
        // Its zone begins like the region.
        let content = content.replace("eu-west-3a", "eu-central-1a");
        let recipe = Recipe::good(&world.frankfurt, content.as_bytes());
        assert_eq!(world.verify(&recipe.der()), Err(want), "{name}");
    }
}

#[test]
fn no_changed_byte_gets_through() {
    let world = World::new();
    let good = world.verify(&world.good().der()).unwrap();
    let der = world.good().stream();
    for index in 0..der.len() {
        let mut changed = der.clone();
        changed[index] ^= 1;
        // The signer's name and the like are not looked at; what counts is that no other document comes out.
        if let Ok(document) = world.verify(&changed) {
            assert_eq!(document, good, "byte {index}");
        }
        assert!(world.verify(&der[..index]).is_err(), "cut at {index}");
    }
    for text in ["", "=", "AAAA", "-----BEGIN PKCS7-----", &"A".repeat(20_000)] {
        assert!(InstanceDocument::verify(text, &world.pinned).is_err(), "{text:.40}");
    }
}

#[test]
fn what_openssl_signs_is_taken_whole_and_as_a_stream() {
    let world = World::new();
    let folder = std::env::temp_dir().join(format!("signet-ec2-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("document"), DOCUMENT).unwrap();
    std::fs::write(path("cert.pem"), &world.frankfurt.pem).unwrap();
    std::fs::write(path("key.pem"), &world.frankfurt.key_pem).unwrap();
    let sign = "cms -sign -binary -nodetach -nocerts -nosmimecap -md sha256 -outform DER";
    for form in ["", "-stream"] {
        let status = Command::new("openssl")
            .args(sign.split(' '))
            .args(form.split(' ').filter(|word| !word.is_empty()))
            .args(["-signer", &path("cert.pem"), "-inkey", &path("key.pem")])
            .args(["-in", &path("document"), "-out", &path("signed")])
            .status()
            .expect("openssl is missing: apt-get install openssl");
        assert!(status.success());
        let document = world.verify(&std::fs::read(path("signed")).unwrap());
        assert_eq!(document.unwrap().instance_id(), "i-0123456789abcdef0", "{form}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
