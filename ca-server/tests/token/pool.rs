//! PINs, limits, and a token that goes and comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signet_ca::pkcs11::{self, Standing, TokenError};
use signet_ca::signer::pkcs11::Pkcs11Signer;
use signet_core::role::AlgorithmSigner;
use signet_core::signer::{CaKeyType, SignError, Signer as _};

use super::softhsm::{PIN, with_token};

#[test]
fn a_wrong_pin_is_tried_once_by_all_threads_together() {
    with_token("pool::a_wrong_pin_is_tried_once_by_all_threads_together", |hsm| {
        hsm.write_pin("wrong");
        let pool = pkcs11::pool(&hsm.spied_token());
        for _ in 0..5 {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let error = pool.ask(|_| Ok(())).unwrap_err();
                        let TokenError::Refused(reason) = &error else {
                            panic!("{error:?}")
                        };
                        assert!(reason.contains("is wrong; it is not tried again"), "{reason}");
                        assert!(!format!("{error:?} {pool:?}").contains("wrong\n"));
                    });
                }
            });
            std::thread::sleep(Duration::from_millis(600));
        }
        assert_eq!(hsm.calls("C_Login"), 1);
        // Another mount, with other limits but the same token.
        let other = signet_ca::config::Pkcs11Token {
            sessions: 1,
            ..hsm.spied_token()
        };
        assert!(matches!(
            pkcs11::pool(&other).ask(|_| Ok(())),
            Err(TokenError::Refused(_))
        ));
        assert_eq!(hsm.calls("C_Login"), 1);
        // Somebody looked, and mended nothing.
        pkcs11::forget_refusals();
        assert!(matches!(pool.ask(|_| Ok(())), Err(TokenError::Refused(_))));
        assert_eq!(hsm.calls("C_Login"), 2);
        // Another PIN is another matter.
        hsm.write_pin(PIN);
        std::thread::sleep(Duration::from_millis(600));
        pool.ask(|_| Ok(())).unwrap();
        assert_eq!(pool.standing(), Standing::Works);
    });
}

#[test]
fn a_pin_that_others_can_read_is_not_used() {
    with_token("pool::a_pin_that_others_can_read_is_not_used", |hsm| {
        let path = hsm.folder().join("pin");
        let mode = |mode| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        mode(0o644);
        let pool = pkcs11::pool(&hsm.spied_token());
        let error = pool.ask(|_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("mode 0644"), "{error}");
        assert_eq!(hsm.calls("C_Login"), 0);
        std::fs::rename(&path, hsm.folder().join("elsewhere")).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        assert!(
            matches!(pool.ask(|_| Ok(())), Err(TokenError::Away(_))),
            "it may come later"
        );
    });
}

#[test]
fn a_token_that_hangs_fills_its_own_queue_and_holds_nobody_else() {
    with_token(
        "pool::a_token_that_hangs_fills_its_own_queue_and_holds_nobody_else",
        |hsm| {
            let mut token = hsm.token();
            token.timeout = Duration::from_secs(1);
            let pool = pkcs11::pool(&token);
            pool.ask(|_| Ok(())).unwrap();
            let (busy, slow) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let began = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        let hang = |_: &mut pkcs11::Seat| {
                            std::thread::sleep(Duration::from_secs(4));
                            Ok(())
                        };
                        match pool.ask(hang) {
                            Err(TokenError::Busy { .. }) => busy.fetch_add(1, Ordering::SeqCst),
                            Err(TokenError::Slow { .. }) => slow.fetch_add(1, Ordering::SeqCst),
                            other => panic!("{other:?}"),
                        };
                    });
                }
            });
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            let (busy, slow) = (busy.into_inner(), slow.into_inner());
            assert_eq!(busy + slow, 16);
            assert!(busy >= 10, "2 sessions and 4 in the queue: {busy} busy, {slow} slow");
            // Both threads hang for longer than a request may take: who comes now need not wait.
            std::thread::sleep(Duration::from_millis(300));
            let began = Instant::now();
            assert!(matches!(pool.ask(|_| Ok(())), Err(TokenError::Slow { .. })));
            assert!(began.elapsed() < Duration::from_millis(100));
            // Those who gave up are passed over when it moves again.
            std::thread::sleep(Duration::from_secs(5));
            pool.ask(|_| Ok(())).unwrap();
        },
    );
}

#[test]
fn a_token_that_is_pulled_and_put_back_signs_again() {
    with_token("pool::a_token_that_is_pulled_and_put_back_signs_again", |hsm| {
        let config = hsm.key("ca");
        let signer = Arc::new(Pkcs11Signer::adopt(&config, CaKeyType::EcdsaP256).unwrap());
        let sign = || signer.sign(b"text", AlgorithmSigner::Default);
        // Another pool of the same token, idle: its session must not keep the module from being initialised anew.
        let other = pkcs11::pool(&signet_ca::config::Pkcs11Token {
            sessions: 1,
            ..hsm.token()
        });
        other.ask(|_| Ok(())).unwrap();
        for round in 0..3 {
            sign().unwrap();
            hsm.pull();
            let mut refused = 0;
            for _ in 0..20 {
                match sign() {
                    // SoftHSM signs on with what it has in memory.
                    Ok(_) => {}
                    Err(SignError::Unavailable { .. }) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            println!(
                "round {round}: {refused} of 20 refused while away; {:?}",
                signer.condition()
            );
            hsm.put_back();
            let began = Instant::now();
            while let Err(error) = sign() {
                assert!(began.elapsed() < Duration::from_secs(10), "{error}");
                std::thread::sleep(Duration::from_millis(50));
            }
            println!("round {round}: signs again after {:?}", began.elapsed());
        }
        other
            .ask(|seat| pkcs11::find_private(seat, "ca").map(|key| assert!(key.is_some())))
            .unwrap();
        // A server that starts while the token is away.
        hsm.pull();
        let early = Pkcs11Signer::from_reference(&signer.to_reference(), |_| Some(&config.token)).unwrap();
        hsm.put_back();
        let began = Instant::now();
        while let Err(error) = early.sign(b"text", AlgorithmSigner::Default) {
            assert!(began.elapsed() < Duration::from_secs(10), "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn what_crashes_on_a_session_does_not_end_its_thread() {
    with_token("pool::what_crashes_on_a_session_does_not_end_its_thread", |hsm| {
        let pool = pkcs11::pool(&hsm.token());
        for _ in 0..4 {
            let error = pool.ask::<()>(|_| panic!("as a module might")).unwrap_err();
            assert!(matches!(error, TokenError::Failed(_)), "{error:?}");
        }
        pool.ask(|_| Ok(())).unwrap();
    });
}
