use signet_core::time::UnixTime;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::{PrivateKey, PublicKey};

use super::*;
use crate::agent::identity::{CertificateError, FreshKey};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn ca() -> PrivateKey {
    PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[9; 32]))
}

fn certify(key: FreshKey, cert_type: CertType, window: (u64, u64)) -> Result<Identity, CertificateError> {
    let public = PublicKey::from_openssh(&key.public_line()).unwrap();
    let mut builder = Builder::new(vec![1; 32], public.key_data().clone(), window.0, window.1).unwrap();
    builder
        .serial(7)
        .unwrap()
        .cert_type(cert_type)
        .unwrap()
        .key_id("test")
        .unwrap()
        .valid_principal("root")
        .unwrap();
    key.certify(&builder.sign(&ca()).unwrap().to_openssh().unwrap(), NOW)
}

fn identity() -> Arc<Identity> {
    let key = FreshKey::generate().unwrap();
    Arc::new(certify(key, CertType::User, (NOW.secs() - 30, NOW.secs() + 600)).unwrap())
}

fn sign_request(blob: &[u8], data: &[u8]) -> Vec<u8> {
    let mut request = vec![SIGN_REQUEST];
    push_string(&mut request, blob);
    push_string(&mut request, data);
    request.extend(0_u32.to_be_bytes());
    request
}

fn bind_request(forwarding: u8) -> Vec<u8> {
    let mut request = vec![EXTENSION];
    for part in [b"session-bind@openssh.com".as_slice(), b"key", b"id", b"signature"] {
        push_string(&mut request, part);
    }
    request.push(forwarding);
    request
}

#[test]
fn only_the_current_certificate_is_listed_and_older_ones_still_sign() {
    let (new, old) = (identity(), identity());
    let both = [Arc::clone(&new), Arc::clone(&old)];
    let mut session = Session::default();
    let list = answer(&[REQUEST_IDENTITIES], &both, &mut session);
    assert_eq!(list.get(..5).unwrap(), [IDENTITIES_ANSWER, 0, 0, 0, 1]);
    assert!(list.windows(new.blob().len()).any(|part| part == new.blob()));
    for one in [&new, &old] {
        let signed = answer(&sign_request(one.blob(), b"data"), &both, &mut session);
        let (blob, rest) = take_string(signed.get(1..).unwrap()).unwrap();
        assert!(rest.is_empty());
        let signature = ssh_key::Signature::try_from(blob).unwrap();
        let certificate = ssh_key::Certificate::from_bytes(one.blob()).unwrap();
        ed25519_dalek::Verifier::verify(certificate.public_key(), b"data", &signature).unwrap();
    }
    assert_eq!(
        answer(&sign_request(identity().blob(), b"data"), &both, &mut session),
        [FAILURE]
    );
}

#[test]
fn a_forwarded_connection_sees_nothing_and_gets_no_signature() {
    let one = [identity()];
    let mut session = Session::default();
    assert_eq!(answer(&bind_request(0), &one, &mut session), [SUCCESS]);
    assert_eq!(
        answer(&sign_request(one[0].blob(), b"x"), &one, &mut session)[0],
        SIGN_RESPONSE
    );
    assert_eq!(answer(&bind_request(1), &one, &mut session), [SUCCESS]);
    assert_eq!(
        answer(&bind_request(0), &one, &mut session),
        [SUCCESS],
        "a later bind does not undo it"
    );
    assert_eq!(
        answer(&sign_request(one[0].blob(), b"x"), &one, &mut session),
        [FAILURE]
    );
    assert_eq!(
        answer(&[REQUEST_IDENTITIES], &one, &mut session),
        [IDENTITIES_ANSWER, 0, 0, 0, 0]
    );
}

#[test]
fn everything_else_is_a_failure() {
    let one = [identity()];
    for kind in (0..=255).filter(|kind| ![REQUEST_IDENTITIES].contains(kind)) {
        assert_eq!(answer(&[kind], &one, &mut Session::default()), [FAILURE], "{kind}");
    }
    assert_eq!(answer(&[], &one, &mut Session::default()), [FAILURE]);
}

#[test]
fn an_answer_that_is_not_this_keys_user_certificate_is_refused() {
    let window = (NOW.secs() - 30, NOW.secs() + 600);
    let key = || FreshKey::generate().unwrap();
    let mine = key();
    let theirs = PublicKey::from_openssh(&key().public_line()).unwrap();
    let mut builder = Builder::new(vec![1; 32], theirs.key_data().clone(), window.0, window.1).unwrap();
    builder.valid_principal("root").unwrap();
    let line = builder.sign(&ca()).unwrap().to_openssh().unwrap();
    assert_eq!(mine.certify(&line, NOW).unwrap_err(), CertificateError::OtherKey);
    assert_eq!(
        certify(key(), CertType::Host, window).unwrap_err(),
        CertificateError::NotUser
    );
    let past = certify(key(), CertType::User, (1, NOW.secs())).unwrap_err();
    assert!(matches!(past, CertificateError::Expired { .. }));
    assert!(matches!(
        key().certify("rubbish", NOW).unwrap_err(),
        CertificateError::Unreadable(_)
    ));
}

#[test]
fn a_certificate_is_reused_until_a_tenth_of_its_life_is_left() {
    let rows = [
        (600, 539, true),
        (600, 540, false),
        (60, 44, true),
        (60, 45, false),
        (20, 9, true),
        (20, 10, false),
    ];
    for (life, age, fresh) in rows {
        let window = (NOW.secs() - 30, NOW.secs() + life);
        let one = certify(FreshKey::generate().unwrap(), CertType::User, window).unwrap();
        assert_eq!(one.is_fresh(NOW.plus(age)), fresh, "{age} of {life}");
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_get_a_failure_and_never_a_signature(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let one = [identity()];
        for kind in [SIGN_REQUEST, EXTENSION] {
            let request = [&[kind], bytes.as_slice()].concat();
            proptest::prop_assert_eq!(answer(&request, &one, &mut Session::default()), [FAILURE]);
        }
    }
}
