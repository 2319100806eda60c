//! The seal's key on the token.

use signet_ca::config::{Pkcs11Seal as Settings, WrapMechanism};
use signet_ca::seal::pkcs11::Pkcs11Seal;
use signet_ca::seal::{RootKey, Seal as _, SealError};
use zeroize::Zeroizing;

use super::softhsm::{SoftHsm, with_token};

fn seal(hsm: &SoftHsm, label: &str, mechanism: Option<WrapMechanism>, create: bool) -> Pkcs11Seal {
    let mut key = hsm.key(label);
    key.create = create;
    Pkcs11Seal::new(Settings { key, mechanism })
}

#[test]
fn the_root_key_opens_under_the_key_that_wrapped_it_and_no_other() {
    with_token(
        "seal::the_root_key_opens_under_the_key_that_wrapped_it_and_no_other",
        |hsm| {
            let root = RootKey::new(Zeroizing::new([5; 32]));
            for (label, mechanism, written) in [
                ("aes", None, "\"aes-gcm\""),
                ("rsa", Some(WrapMechanism::RsaOaep), "\"rsa-oaep-sha1\""),
            ] {
                let missing = seal(hsm, label, mechanism, false).wrap(&root).unwrap_err();
                assert!(
                    matches!(&missing, SealError::Unavailable { reason, .. } if reason.contains("`create = true` makes one")),
                    "{missing}"
                );
                let first = seal(hsm, label, mechanism, true);
                let wrapped = first.wrap(&root).unwrap();
                let text = String::from_utf8(wrapped.clone()).unwrap();
                assert!(text.contains(written) && text.contains(label), "{text}");
                assert_ne!(first.wrap(&root).unwrap(), wrapped, "never the same twice");
                let again = seal(hsm, label, mechanism, false);
                assert_eq!(again.unwrap(&wrapped).unwrap().expose(), root.expose());

                let other_label = format!("{label}-2");
                let other = seal(hsm, &other_label, mechanism, true);
                other.wrap(&root).unwrap();
                assert!(
                    matches!(other.unwrap(&wrapped), Err(SealError::WrongKey { .. })),
                    "{label}"
                );
                // Somebody renames the blob's key.
                let renamed = text.replace(&format!("\"{label}\""), &format!("\"{other_label}\""));
                assert_ne!(renamed, text);
                assert!(
                    matches!(other.unwrap(renamed.as_bytes()), Err(SealError::WrongKey { .. })),
                    "{label}"
                );
                for index in (0..wrapped.len()).step_by(if label == "rsa" { 7 } else { 1 }) {
                    let mut flipped = wrapped.clone();
                    flipped[index] ^= 1;
                    match first.unwrap(&flipped) {
                        Err(SealError::WrongKey { .. }) => {}
                        Err(other) => panic!("{label} byte {index}: {other}"),
                        // The bits that base64 does not use, if the reader lets them be.
                        Ok(opened) => assert_eq!(opened.expose(), root.expose(), "{label} byte {index}"),
                    }
                }
                assert_eq!(
                    first.unwrap(&wrapped).unwrap().expose(),
                    root.expose(),
                    "it still works"
                );
            }
        },
    );
}

#[test]
fn a_wrong_pin_is_refused_and_a_missing_token_waited_for() {
    with_token("seal::a_wrong_pin_is_refused_and_a_missing_token_waited_for", |hsm| {
        let root = RootKey::new(Zeroizing::new([5; 32]));
        let good = seal(hsm, "aes", None, true);
        let wrapped = good.wrap(&root).unwrap();
        drop(good);
        let mut settings = Settings {
            key: hsm.key("aes"),
            mechanism: None,
        };
        settings.key.token.token = signet_ca::config::TokenName::Label("elsewhere".to_owned());
        let away = Pkcs11Seal::new(settings.clone());
        assert!(matches!(away.unwrap(&wrapped), Err(SealError::Unavailable { .. })));
        // Another pool, which has not logged in: the PIN that its own file holds is asked of the token.
        std::thread::sleep(std::time::Duration::from_millis(2500));
        let pin = hsm.folder().join("pin2");
        std::fs::write(&pin, "0000").unwrap();
        std::fs::set_permissions(&pin, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        settings.key = hsm.key("aes");
        settings.key.token.pin = signet_ca::config::PinSource::File(pin);
        let refused = Pkcs11Seal::new(settings).unwrap(&wrapped).unwrap_err();
        assert!(
            matches!(&refused, SealError::Refused { reason, .. } if reason.contains("PIN") && !reason.contains("0000")),
            "{refused}"
        );
    });
}
