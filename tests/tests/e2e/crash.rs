//! No record, no certificate: whatever certificate a client holds is in the ledger, though the server was killed in the
//! middle of issuing, fifty times.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::load::subject_keys;
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name};

const CLIENTS: usize = 32;
const KILLS: usize = 50;

#[test]
fn every_certificate_that_a_client_holds_is_in_the_ledger_after_fifty_kills() {
    let folder = Workdir::new();
    let issuer = Issuer::new();
    let key = KeyFile::ed25519(folder.path(), "alice");
    let team = Team::default().person("alice", &[GROUP], &key);
    let mut authority = Authority::serve(|policies| team.install(policies), &issuer.config(folder.path()));
    let token = authority.ci_token(&issuer);
    let held: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let (done, received) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (api, account) = (authority.api(&token), login_name());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let keys = subject_keys::make(64);
                for key in keys.iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let body = json!({"public_key": key, "valid_principals": account});
                    // No answer: the server was killed while it worked on this one. The client holds nothing then.
                    match api.try_send("POST", &format!("ssh/sign/{ROLE}"), Some(&body)) {
                        Some(answer) if answer.status == 200 => {
                            held.lock().unwrap().push(answer.serial());
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(answer) => panic!("{} {}", answer.status, answer.text),
                        None => std::thread::yield_now(),
                    }
                }
            });
        }
        for round in 0..KILLS {
            // The kill falls at a random moment: after some certificates of this life have arrived, while others are on
            // their way.
            let wanted = received.load(Ordering::Relaxed) + 1 + usize::from(random_byte()) % 97;
            until(&format!("certificates in round {round}"), || {
                (received.load(Ordering::Relaxed) >= wanted).then_some(())
            });
            authority.kill();
            authority.start();
        }
        done.store(true, Ordering::Relaxed);
    });

    let held = held.into_inner().unwrap();
    let unique: HashSet<u64> = held.iter().copied().collect();
    assert_eq!(unique.len(), held.len(), "no two certificates have one serial");
    let records = authority.records("issue");
    let recorded: Vec<u64> = records
        .iter()
        .map(|record| record["serial"].as_str().unwrap().parse().unwrap())
        .collect();
    let recorded_once: HashSet<u64> = recorded.iter().copied().collect();
    assert_eq!(recorded_once.len(), recorded.len(), "no serial is recorded twice");
    let missing: Vec<&u64> = unique.difference(&recorded_once).collect();
    assert!(missing.is_empty(), "held but not recorded: {missing:?}");
    assert!(held.len() > KILLS, "the clients were at work: {}", held.len());
    let verified = authority.audit(&["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

fn random_byte() -> u8 {
    let mut byte = [0];
    aws_lc_rs::rand::fill(&mut byte).unwrap();
    byte[0]
}
