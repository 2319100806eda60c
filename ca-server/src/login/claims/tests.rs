//! The decision table of the claims checker: one good token, and one change a row.

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

const GOOD: &str = r#""iss":"https://id.example.com","aud":"signet","sub":"repo:acme/app","exp":1800000300,
    "nbf":1799999990,"iat":1799999990,"repository":"acme/app","protected":true,"run":7,"groups":["ci","a b"],
    "k8s":{"ns":"prod"},"teams":["red","blue"]"#;

fn rules() -> ClaimRules {
    ClaimRules {
        issuer: "https://id.example.com".to_owned(),
        audiences: BTreeSet::from(["signet".to_owned(), "other".to_owned()]),
        age_secs_max: None,
        bound_claims: BTreeMap::new(),
        user_claim: "sub".to_owned(),
        groups_claim: None,
    }
}

/// The good token with claims replaced (`"exp":1`) or, with a bare name, left out.
fn token(changes: &[&str]) -> VerifiedClaims {
    let mut claims: serde_json::Map<String, Value> = serde_json::from_str(&format!("{{{GOOD}}}")).unwrap();
    for change in changes {
        match change.split_once(':') {
            None => {
                claims.remove(*change);
            }
            Some((name, value)) => {
                claims.insert(name.to_owned(), serde_json::from_str(value).unwrap());
            }
        }
    }
    VerifiedClaims::for_tests(&Value::Object(claims).to_string()).unwrap()
}

fn check(changes: &[&str]) -> Result<Identity, ClaimError> {
    rules().check(&token(changes), NOW)
}

fn wrong_type(claim: &str) -> Result<Identity, ClaimError> {
    Err(ClaimError::WrongType(claim.to_owned()))
}

fn missing(claim: &str) -> Result<Identity, ClaimError> {
    Err(ClaimError::Missing(claim.to_owned()))
}

#[test]
fn the_good_token_passes() {
    let identity = check(&[]).unwrap();
    assert_eq!(identity.user, "repo:acme/app");
    assert!(identity.groups.is_empty());
}

#[test]
fn cve_2026_22772_the_issuer_is_compared_as_a_whole() {
    for issuer in [
        "https://id.example.com.evil.com",
        "https://id.example.com/",
        "https://id.example.com/evil",
        "https://evil.com/https://id.example.com",
        "https://ID.example.com",
        "http://id.example.com",
        "id.example.com",
        "",
    ] {
        let change = format!("iss:\"{issuer}\"");
        assert_eq!(check(&[&change]), Err(ClaimError::OtherIssuer(issuer.to_owned())));
    }
    assert_eq!(check(&["iss"]), missing("iss"));
    for odd in ["iss:null", "iss:[\"https://id.example.com\"]", "iss:7", "iss:{}"] {
        assert_eq!(check(&[odd]), wrong_type("iss"), "{odd}");
    }
}

#[test]
fn cve_2020_26160_cve_2024_5798_the_audience_has_to_match_in_every_form() {
    for good in [
        "aud:\"signet\"",
        "aud:[\"signet\"]",
        "aud:[\"x\",\"signet\"]",
        "aud:\"other\"",
    ] {
        assert!(check(&[good]).is_ok(), "{good}");
    }
    for (bad, named) in [
        ("aud:\"x\"", vec!["x"]),
        ("aud:\"\"", vec![""]),
        ("aud:\"signet \"", vec!["signet "]),
        ("aud:\"Signet\"", vec!["Signet"]),
        ("aud:\"signet,x\"", vec!["signet,x"]),
        ("aud:[]", vec![]),
        ("aud:[\"x\",\"y\"]", vec!["x", "y"]),
    ] {
        let named = named.into_iter().map(str::to_owned).collect();
        assert_eq!(check(&[bad]), Err(ClaimError::OtherAudience(named)), "{bad}");
    }
    assert_eq!(check(&["aud"]), missing("aud"));
    for odd in [
        "aud:null",
        "aud:[[\"signet\"]]",
        "aud:[\"signet\",7]",
        "aud:{\"signet\":1}",
        "aud:7",
        "aud:[null]",
    ] {
        assert_eq!(check(&[odd]), wrong_type("aud"), "{odd}");
    }
}

#[test]
fn cve_2026_25537_a_time_of_another_type_is_not_an_absent_time() {
    for claim in ["exp", "nbf", "iat"] {
        let odd_values = [
            "\"9999999999\"",
            "null",
            "1.5",
            "-1",
            "true",
            "[]",
            "{}",
            "99999999999999999999",
            "\"\"",
            "1e30",
        ];
        for value in odd_values {
            let change = format!("{claim}:{value}");
            assert_eq!(check(&[&change]), wrong_type(claim), "{change}");
        }
    }
    assert_eq!(check(&["exp"]), missing("exp"));
    assert!(check(&["nbf", "iat"]).is_ok(), "both may be absent");
    let overflowing = VerifiedClaims::for_tests(&format!("{{{GOOD},\"x\":1e400}}"));
    assert!(overflowing.is_err(), "1e400 is no JSON number that we read");
}

#[test]
fn times_count_with_thirty_seconds_of_leeway() {
    assert!(check(&["exp:1799999971"]).is_ok(), "29 s past");
    assert_eq!(check(&["exp:1799999970"]), Err(ClaimError::Expired(NOW.minus(30))));
    assert_eq!(check(&["exp:0"]), Err(ClaimError::Expired(UnixTime::from_secs(0))));
    assert!(check(&["exp:18446744073709551615"]).is_ok(), "no overflow");
    for claim in ["nbf", "iat"] {
        assert!(check(&[&format!("{claim}:1800000030")]).is_ok());
        assert_eq!(
            check(&[&format!("{claim}:1800000031")]),
            Err(ClaimError::InTheFuture {
                claim,
                time: NOW.plus(31)
            })
        );
    }
}

#[test]
fn an_age_limit_needs_iat() {
    let rules = ClaimRules {
        age_secs_max: Some(60),
        ..rules()
    };
    let check = |changes: &[&str]| rules.check(&token(changes), NOW);
    assert!(check(&[]).is_ok());
    assert!(check(&["iat:1799999910"]).is_ok());
    assert_eq!(check(&["iat:1799999909"]), Err(ClaimError::TooOld(NOW.minus(91))));
    assert_eq!(check(&["iat"]), missing("iat"));
}

#[test]
fn cve_2025_3879_cve_2023_5077_a_bound_claim_is_met_or_refuses() {
    let bound = |name: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        ClaimRules {
            bound_claims: BTreeMap::from([(name.to_owned(), values)]),
            ..rules()
        }
        .check(&token(&[]), NOW)
    };
    for (name, values) in [
        ("repository", ["acme/app", "acme/lib"].as_slice()),
        ("protected", &["true"]),
        ("run", &["7"]),
        ("teams", &["blue"]),
        ("/k8s/ns", &["prod"]),
    ] {
        assert!(bound(name, values).is_ok(), "{name}");
    }
    for (name, values) in [
        ("repository", ["acme/*"].as_slice()),
        ("repository", &["acme/ap"]),
        ("repository", &["ACME/app"]),
        ("repository", &[]),
        ("protected", &["false"]),
        ("run", &["7.0"]),
        ("teams", &["red,blue"]),
        ("k8s", &["prod"]),
        ("/k8s/ns", &["dev"]),
    ] {
        assert_eq!(
            bound(name, values),
            Err(ClaimError::NotBound(name.to_owned())),
            "{name} {values:?}"
        );
    }
    for name in ["environment", "/k8s/pod", "/k8s/ns/x", "/", "/none/ns"] {
        assert_eq!(bound(name, &["prod"]), missing(name), "{name}");
    }
}

#[test]
fn ghsa_59w7_a_user_claim_cannot_be_two_names_or_a_pattern() {
    for odd in [
        "bob,root",
        "*",
        "b*",
        "bob root",
        "bob\\nroot",
        "",
        " ",
        "bob/../x",
        "..",
        "./bob",
        "böb",
        "bob;x",
        "{{x}}",
    ] {
        let result = check(&[&format!("sub:\"{odd}\"")]);
        assert!(
            matches!(result, Err(ClaimError::UnusableName { .. })),
            "{odd:?}: {result:?}"
        );
    }
    assert!(check(&[&format!("sub:\"{}\"", "a".repeat(200))]).is_ok());
    assert!(matches!(
        check(&[&format!("sub:\"{}\"", "a".repeat(201))]),
        Err(ClaimError::UnusableName { .. })
    ));
    assert_eq!(check(&["sub"]), missing("sub"));
    for odd in ["sub:null", "sub:7", "sub:[\"bob\"]", "sub:{}"] {
        assert_eq!(check(&[odd]), wrong_type("sub"), "{odd}");
    }
}

#[test]
fn groups_come_as_a_text_or_a_list_and_unnameable_ones_are_left_out() {
    let rules = ClaimRules {
        groups_claim: Some("groups".to_owned()),
        ..rules()
    };
    let groups = |changes: &[&str]| rules.check(&token(changes), NOW).map(|identity| identity.groups);
    let set = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    assert_eq!(groups(&[]), set(&["ci"]));
    assert_eq!(groups(&["groups:\"ci\""]), set(&["ci"]));
    assert_eq!(groups(&["groups:[]"]), set(&[]));
    assert_eq!(groups(&["groups:[\"a,b\",\"x*\",\"ok\"]"]), set(&["ok"]));
    assert_eq!(groups(&["groups"]), Err(ClaimError::Missing("groups".to_owned())));
    for odd in [
        "groups:null",
        "groups:7",
        "groups:[7]",
        "groups:[[\"ci\"]]",
        "groups:{\"ci\":true}",
    ] {
        assert_eq!(groups(&[odd]), Err(ClaimError::WrongType("groups".to_owned())), "{odd}");
    }
    let many: Vec<String> = (0..=GROUPS_MAX).map(|n| format!("\"g{n}\"")).collect();
    assert_eq!(
        groups(&[&format!("groups:[{}]", many.join(","))]),
        Err(ClaimError::TooManyGroups)
    );
}
