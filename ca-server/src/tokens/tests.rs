//! Tokens: what a check sees after each thing that can happen to a token.

use std::sync::Arc;

use secrecy::ExposeSecret;
use signet_core::time::UnixTime;

use super::{TokenError, TokenSpec, Tokens};
use crate::barrier::Barrier;
use crate::keyring::Keyring;
use crate::store::sqlite::{SqliteStore, connect};
use crate::store::{Store, Table};

struct Fixture {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    tokens: Tokens,
}

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn open(folder: &std::path::Path) -> (Arc<dyn Store>, Tokens) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.join("store.db")).unwrap());
    let keyring = Keyring::open(Barrier::new(&[7; 32]).unwrap(), Arc::clone(&store)).unwrap();
    (store, Tokens::open(Arc::new(keyring), 5).unwrap())
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (store, tokens) = open(folder.path());
    Fixture { folder, store, tokens }
}

fn spec(ttl: u64) -> TokenSpec {
    TokenSpec {
        person: "alice".into(),
        display_name: "ssh-key-alice".into(),
        ttl,
        renewable: true,
        max_ttl: 100,
        ..TokenSpec::default()
    }
}

#[tokio::test]
async fn a_token_is_valid_until_its_end_and_after_a_restart() {
    let fixture = fixture();
    let (token, entry) = fixture.tokens.create(spec(60), NOW).await.unwrap();
    let text = token.expose_secret();
    assert!(text.starts_with("hvs.") && text.len() == 32, "{}", text.len());
    assert_eq!(
        fixture.tokens.check(text, NOW.plus(59)).unwrap().accessor,
        entry.accessor
    );
    assert!(fixture.tokens.check(text, NOW.plus(60)).is_none(), "ended");
    assert!(fixture.tokens.check("hvs.other", NOW).is_none());
    let (_, reopened) = open(fixture.folder.path());
    let again = reopened.check(text, NOW).unwrap();
    assert_eq!(
        (&*again.person, again.expires, again.renewable),
        ("alice", Some(NOW.plus(60)), true)
    );
    assert_eq!(reopened.list_accessors(NOW), std::slice::from_ref(&entry.accessor));
}

#[tokio::test]
async fn neither_token_nor_accessor_nor_metadata_lies_in_the_store_in_clear() {
    let fixture = fixture();
    let metadata = [("email".to_owned(), "canary@example.com".to_owned())].into();
    let (token, entry) = fixture
        .tokens
        .create(TokenSpec { metadata, ..spec(60) }, NOW)
        .await
        .unwrap();
    connect(&fixture.folder.path().join("store.db"))
        .unwrap()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let bytes = std::fs::read(fixture.folder.path().join("store.db")).unwrap();
    for secret in [token.expose_secret(), &entry.accessor, "canary@example.com", "alice"] {
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn ttls_stop_at_their_ceilings() {
    let fixture = fixture();
    let root = TokenSpec {
        policies: ["root".to_owned()].into(),
        ..TokenSpec::default()
    };
    let rows = [
        ("as asked", spec(60), Some(60)),
        ("more than the method's maximum", spec(500), Some(100)),
        ("nothing asked: the maximum, never for ever", spec(0), Some(100)),
        (
            "explicit maximum",
            TokenSpec {
                explicit_max_ttl: 30,
                ..spec(60)
            },
            Some(30),
        ),
        ("root alone lives for ever", root, None),
    ];
    for (name, spec, ttl) in rows {
        let (token, entry) = fixture.tokens.create(spec, NOW).await.unwrap();
        assert_eq!(entry.expires, ttl.map(|ttl| NOW.plus(ttl)), "{name}");
        assert!(fixture.tokens.check(token.expose_secret(), NOW).is_some(), "{name}");
    }
}

#[tokio::test]
async fn renewal_lengthens_within_the_ceiling_and_is_durable() {
    let fixture = fixture();
    let (token, entry) = fixture.tokens.create(spec(60), NOW).await.unwrap();
    let renewed = fixture.tokens.renew(entry.hash, None, NOW.plus(30)).await.unwrap();
    assert_eq!(renewed.expires, Some(NOW.plus(90)));
    let renewed = fixture
        .tokens
        .renew(entry.hash, Some(1_000_000), NOW.plus(80))
        .await
        .unwrap();
    assert_eq!(renewed.expires, Some(NOW.plus(100)), "the ceiling counts from creation");
    let (_, reopened) = open(fixture.folder.path());
    assert!(reopened.check(token.expose_secret(), NOW.plus(99)).is_some());
    assert!(matches!(
        reopened.renew(entry.hash, None, NOW.plus(100)).await.unwrap_err(),
        TokenError::Unknown
    ));
    let (_, fixed) = fixture
        .tokens
        .create(
            TokenSpec {
                renewable: false,
                ..spec(60)
            },
            NOW,
        )
        .await
        .unwrap();
    assert!(matches!(
        fixture.tokens.renew(fixed.hash, None, NOW).await.unwrap_err(),
        TokenError::NotRenewable
    ));
    let periodic = TokenSpec { period: 50, ..spec(0) };
    let (_, periodic) = fixture.tokens.create(periodic, NOW).await.unwrap();
    let renewed = fixture.tokens.renew(periodic.hash, None, NOW.plus(40)).await.unwrap();
    let renewed = fixture.tokens.renew(renewed.hash, None, NOW.plus(80)).await.unwrap();
    let renewed = fixture.tokens.renew(renewed.hash, None, NOW.plus(120)).await.unwrap();
    assert_eq!(
        renewed.expires,
        Some(NOW.plus(170)),
        "a periodic token may outlive the method's maximum"
    );
}

#[tokio::test]
async fn children_end_with_their_parent_and_orphans_do_not() {
    let fixture = fixture();
    let (_, parent) = fixture.tokens.create(spec(60), NOW).await.unwrap();
    let under = |hash| TokenSpec {
        parent: Some(hash),
        ..spec(90)
    };
    let (child_token, child) = fixture.tokens.create(under(parent.hash), NOW).await.unwrap();
    let (grandchild, _) = fixture.tokens.create(under(child.hash), NOW).await.unwrap();
    let (orphan, _) = fixture.tokens.create(spec(90), NOW).await.unwrap();
    assert!(
        fixture
            .tokens
            .check(child_token.expose_secret(), NOW.plus(61))
            .is_none(),
        "the parent ended"
    );
    assert!(fixture.tokens.check(grandchild.expose_secret(), NOW.plus(59)).is_some());
    assert_eq!(fixture.tokens.revoke(parent.hash).await.unwrap().len(), 3);
    for (token, lives) in [(&child_token, false), (&grandchild, false), (&orphan, true)] {
        assert_eq!(fixture.tokens.check(token.expose_secret(), NOW).is_some(), lives);
    }
    let (_, reopened) = open(fixture.folder.path());
    assert!(
        reopened.check(grandchild.expose_secret(), NOW).is_none(),
        "revoked for good"
    );
    assert!(matches!(
        fixture.tokens.create(under(parent.hash), NOW).await.unwrap_err(),
        TokenError::Unknown
    ));
}

#[tokio::test]
async fn a_counted_token_gives_exactly_its_uses() {
    let fixture = fixture();
    let (token, entry) = fixture
        .tokens
        .create(
            TokenSpec {
                num_uses: 2,
                ..spec(60)
            },
            NOW,
        )
        .await
        .unwrap();
    fixture.tokens.spend(&entry).await.unwrap();
    let (_, reopened) = open(fixture.folder.path());
    let left = reopened.check(token.expose_secret(), NOW).unwrap();
    assert_eq!(left.uses_left(), 1, "the count survives a restart");
    fixture.tokens.spend(&entry).await.unwrap();
    assert!(matches!(
        fixture.tokens.spend(&entry).await.unwrap_err(),
        TokenError::NoUsesLeft
    ));
    assert!(fixture.tokens.check(token.expose_secret(), NOW).is_none(), "used up");
}

#[tokio::test]
async fn too_many_tokens_are_refused_and_ended_ones_make_room() {
    let fixture = fixture();
    for _ in 0..5 {
        fixture.tokens.create(spec(60), NOW).await.unwrap();
    }
    assert!(matches!(
        fixture.tokens.create(spec(60), NOW).await.unwrap_err(),
        TokenError::TooMany { tokens_max: 5 }
    ));
    fixture.tokens.create(spec(60), NOW.plus(61)).await.unwrap();
    assert_eq!(fixture.tokens.count(), 1);
    assert_eq!(
        fixture.store.scan(Table::Tokens).unwrap().len(),
        1,
        "ended tokens leave the store too"
    );
}

#[tokio::test]
async fn a_token_that_cannot_be_stored_does_not_exist() {
    let fixture = fixture();
    let other = connect(&fixture.folder.path().join("store.db")).unwrap();
    other
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'full'); END")
        .unwrap();
    assert!(matches!(
        fixture.tokens.create(spec(60), NOW).await.unwrap_err(),
        TokenError::Store(_)
    ));
    assert_eq!(fixture.tokens.count(), 0);
    other.execute_batch("DROP TRIGGER full").unwrap();
    fixture.tokens.create(spec(60), NOW).await.unwrap();
}

#[tokio::test]
async fn no_child_says_it_outlives_its_parents() {
    let fixture = fixture();
    let (_, parent) = fixture.tokens.create(spec(60), NOW).await.unwrap();
    let child = TokenSpec {
        period: 50,
        parent: Some(parent.hash),
        ..spec(0)
    };
    let (_, child) = fixture.tokens.create(child, NOW).await.unwrap();
    let renewed = fixture.tokens.renew(child.hash, None, NOW.plus(40)).await.unwrap();
    assert_eq!(
        renewed.expires,
        Some(NOW.plus(60)),
        "its certificates end with the login"
    );
    fixture.tokens.renew(parent.hash, None, NOW.plus(50)).await.unwrap();
    let renewed = fixture.tokens.renew(child.hash, None, NOW.plus(50)).await.unwrap();
    assert_eq!(renewed.expires, Some(NOW.plus(100)));
}
