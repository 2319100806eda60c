use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::caller::{AuthMethod, CallerParts};
use crate::serial::NodeId;
use crate::vault_value::Fields;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPk6cWCCjkUgp1tmDTuLK4kLsuxrzZcCrApYr9pl98oe";
const HASH: &str = "hash of the key";

fn caller(method: AuthMethod) -> Caller {
    Caller::authenticated(CallerParts {
        person: "alice".to_owned(),
        display_name: "root".to_owned(),
        method,
        groups: BTreeSet::from(["backend".to_owned()]),
        policies: BTreeSet::new(),
        address: [127, 0, 0, 1].into(),
        accessor: "accessor".to_owned(),
        token_expires: None,
        metadata: BTreeMap::from([("unix".to_owned(), "al".to_owned())]),
    })
}

fn wire_role(json: &str) -> Role {
    let defaults = r#"{"key_type":"ca","allow_user_certificates":true,"#;
    let json = json.replacen('{', defaults, 1).replace(",}", "}");
    let fields = Fields::from_json(json.as_bytes()).unwrap();
    Role::from_vault_json("r", "ssh", &fields, RoleSource::Api).unwrap()
}

fn file_role(text: &str) -> Role {
    Role::from_toml("r", "roles/r.toml", text).unwrap()
}

fn request(json: &str) -> SigningRequest {
    let mut request = SigningRequest::from_vault(&Fields::from_json(json.as_bytes()).unwrap()).unwrap();
    request.public_key.get_or_insert_with(|| ED25519.to_owned());
    request
}

fn answer(role: &Role, json: &str) -> Result<Resolved, Denial> {
    resolve(
        role,
        &request(json),
        &caller(AuthMethod::Token),
        &MountLimits::default(),
    )
}

/// One row of the table: what comes out of a role and a request, in words.
fn check(what: &str, role: &Role, json: &str, want: &str) {
    let got = match answer(role, json) {
        Err(denial) => denial.vault_text(),
        Ok(resolved) => {
            let principals: Vec<&str> = resolved.principals().iter().map(Principal::as_str).collect();
            let names = |options: &Options| options.keys().cloned().collect::<Vec<_>>().join("+");
            format!(
                "{} ttl={} critical={} ext={}",
                principals.join("+"),
                resolved.ttl_secs(),
                names(resolved.critical_options()),
                names(resolved.extensions())
            )
        }
    };
    assert_eq!(got, want, "{what}");
}

#[test]
fn a_guess_at_the_principal_gives_way_to_the_roles_default() {
    let by_group = file_role("allowed_users = [\"backend\"]\ndefault_user = \"backend\"\nttl = \"1m\"");
    let by_account = file_role("allowed_users = [\"ubuntu\", \"web\"]\ndefault_user = \"web\"\nttl = \"1m\"");
    let without_default = file_role("allowed_users = [\"web\"]\nttl = \"1m\"");
    let guess = r#"{"valid_principals":"ubuntu","or_default_user":true}"#;
    let rows = [
        ("the default instead", &by_group, guess, "backend ttl=60 critical= ext="),
        (
            "the guess where it is allowed",
            &by_account,
            guess,
            "ubuntu ttl=60 critical= ext=",
        ),
        (
            "no guess",
            &by_group,
            r#"{"valid_principals":"ubuntu"}"#,
            "ubuntu is not a valid value for valid_principals",
        ),
        (
            "no default to give way to",
            &without_default,
            guess,
            "ubuntu is not a valid value for valid_principals",
        ),
    ];
    for (what, role, json, want) in rows {
        check(what, role, json, want);
    }
}

#[test]
fn principals_follow_vaults_table() {
    let listed = wire_role(r#"{"allowed_users":"ubuntu,admin","default_user":"ubuntu","ttl":60}"#);
    let star = wire_role(r#"{"allowed_users":"*","ttl":60}"#);
    let inner_star = wire_role(r#"{"allowed_users":"ubuntu,admin,*","ttl":60}"#);
    let nobody = wire_role(r#"{"default_user":"root","ttl":60}"#);
    let two_defaults = wire_role(r#"{"allowed_users":"*","default_user":"a,b","ttl":60}"#);
    let rows = [
        (
            "sorted and unique",
            &listed,
            r#"{"valid_principals":"ubuntu, admin,ubuntu"}"#,
            "admin+ubuntu ttl=60 critical= ext=",
        ),
        ("the default", &listed, "{}", "ubuntu ttl=60 critical= ext="),
        (
            "an empty text falls back to the default",
            &listed,
            r#"{"valid_principals":""}"#,
            "ubuntu ttl=60 critical= ext=",
        ),
        (
            "not listed",
            &listed,
            r#"{"valid_principals":"root"}"#,
            "root is not a valid value for valid_principals",
        ),
        (
            "case counts",
            &listed,
            r#"{"valid_principals":"Ubuntu"}"#,
            "Ubuntu is not a valid value for valid_principals",
        ),
        (
            "a star alone is any name",
            &star,
            r#"{"valid_principals":"root"}"#,
            "root ttl=60 critical= ext=",
        ),
        (
            "a star among names is a name",
            &inner_star,
            r#"{"valid_principals":"x"}"#,
            "x is not a valid value for valid_principals",
        ),
        (
            "no allowed users",
            &nobody,
            r#"{"valid_principals":""}"#,
            "role is not configured to allow any principals",
        ),
        (
            "a default list is split",
            &two_defaults,
            r#"{"valid_principals":""}"#,
            "a+b ttl=60 critical= ext=",
        ),
    ];
    for (what, role, json, want) in rows {
        check(what, role, json, want);
    }
}

#[test]
fn cve_2024_7594_no_certificate_without_principals() {
    let star = wire_role(r#"{"allowed_users":"*"}"#);
    for json in [
        "{}",
        r#"{"valid_principals":""}"#,
        r#"{"valid_principals":" "}"#,
        r#"{"valid_principals":","}"#,
        r#"{"valid_principals":null}"#,
    ] {
        check(json, &star, json, "empty valid principals not allowed by role");
    }
    let leave = wire_role(r#"{"allowed_users":"*","allow_empty_principals":true}"#);
    assert!(
        answer(&leave, "{}").unwrap().principals().is_empty(),
        "only where the role says so"
    );
    let legacy = MountLimits {
        strict_empty_principals: false,
        ..MountLimits::default()
    };
    assert!(
        resolve(&star, &request("{}"), &caller(AuthMethod::Token), &legacy).is_ok(),
        "or the server's setting"
    );
}

#[test]
fn cve_2026_35414_no_principal_that_openssh_reads_otherwise() {
    let star = wire_role(r#"{"allowed_users":"*"}"#);
    for name in ["a\\nb", "a*", "!a", "a b", "-a", "a\\\\b"] {
        let denial = answer(&star, &format!(r#"{{"valid_principals":"{name}"}}"#)).unwrap_err();
        assert_eq!(denial.code(), "principal-invalid", "{name}");
    }
    check(
        "a comma separates",
        &star,
        r#"{"valid_principals":"deploy,root"}"#,
        "deploy+root ttl=2764800 critical= ext=",
    );
}

#[test]
fn the_star_of_a_role_file_never_covers_root() {
    let role = file_role("allowed_users = [\"*\"]\nttl = \"5m\"\n");
    check(
        "any name",
        &role,
        r#"{"valid_principals":"bob"}"#,
        "bob ttl=300 critical= ext=",
    );
    check(
        "but root",
        &role,
        r#"{"valid_principals":"root"}"#,
        "root is not a valid value for valid_principals",
    );
}

#[test]
fn lifetimes_are_asked_for_or_cut() {
    let role = wire_role(r#"{"allowed_users":"*","default_user":"a","ttl":"30m","max_ttl":"1h"}"#);
    let only_mount = wire_role(r#"{"allowed_users":"*","default_user":"a","max_ttl":"1h"}"#);
    let rows = [
        ("the role's", &role, "{}", "a ttl=1800 critical= ext="),
        (
            "an empty text is absent",
            &role,
            r#"{"ttl":""}"#,
            "a ttl=1800 critical= ext=",
        ),
        ("asked for", &role, r#"{"ttl":"1h"}"#, "a ttl=3600 critical= ext="),
        (
            "too long",
            &role,
            r#"{"ttl":"61m"}"#,
            "ttl is larger than maximum allowed 3600",
        ),
        (
            "zero is the mount's default, which is too long",
            &role,
            r#"{"ttl":0}"#,
            "ttl is larger than maximum allowed 3600",
        ),
        (
            "not asked for and too long: cut",
            &only_mount,
            "{}",
            "a ttl=3600 critical= ext=",
        ),
    ];
    for (what, role, json, want) in rows {
        check(what, role, json, want);
    }
    let file = file_role("allowed_users = [\"a\"]\ndefault_user = \"a\"\nttl = \"5m\"\n");
    assert_eq!(answer(&file, r#"{"ttl":"59s"}"#).unwrap_err().code(), "ttl-too-short");
    assert_eq!(answer(&file, r#"{"ttl":"6m"}"#).unwrap_err().code(), "ttl-too-long");
}

#[test]
fn options_follow_vaults_table() {
    let role = wire_role(
        r#"{"allowed_users":"*","default_user":"a","ttl":60,"default_extensions":{"permit-pty":""},
        "allowed_extensions":"permit-pty,permit-user-rc","default_critical_options":{"force-command":"uptime"},
        "allowed_critical_options":"source-address"}"#,
    );
    let open = wire_role(r#"{"allowed_users":"*","default_user":"a","ttl":60,"allowed_extensions":"*"}"#);
    let rows = [
        (
            "the defaults",
            &role,
            "{}",
            "a ttl=60 critical=force-command ext=permit-pty",
        ),
        (
            "those asked for replace them",
            &role,
            r#"{"extensions":{"permit-user-rc":""}}"#,
            "a ttl=60 critical=force-command ext=permit-user-rc",
        ),
        (
            "not allowed",
            &role,
            r#"{"extensions":{"permit-X11-forwarding":""}}"#,
            "extensions [permit-X11-forwarding] are not on allowed list",
        ),
        (
            "a critical option not allowed",
            &role,
            r#"{"critical_options":{"verify-required":""}}"#,
            "critical options not on allowed list: [verify-required]",
        ),
        (
            "Vault's meaning: replaced",
            &role,
            r#"{"critical_options":{"source-address":"10.0.0.0/8"}}"#,
            "a ttl=60 critical=source-address ext=permit-pty",
        ),
        (
            "an empty list of critical options is any",
            &open,
            r#"{"critical_options":{"force-command":"id"}}"#,
            "a ttl=60 critical=force-command ext=",
        ),
        ("no extension at all", &open, "{}", "a ttl=60 critical= ext="),
    ];
    for (what, role, json, want) in rows {
        check(what, role, json, want);
    }
    for (json, code) in [
        (r#"{"extensions":{"force-command":"id"}}"#, "option-invalid"),
        (r#"{"critical_options":{"permit-pty":""}}"#, "option-invalid"),
        (r#"{"critical_options":{"force-command":""}}"#, "option-invalid"),
        (r#"{"critical_options":{"source-address":"bogus"}}"#, "option-invalid"),
        (r#"{"critical_options":{"verify-required":""}}"#, "option-invalid"),
        (r#"{"extensions":{"permit-pty":"yes"}}"#, "option-invalid"),
        (r#"{"extensions":{"nonsense":""}}"#, "option-invalid"),
    ] {
        assert_eq!(answer(&open, json).unwrap_err().code(), code, "{json}");
    }
}

#[test]
fn a_role_file_keeps_its_critical_options() {
    let role = file_role(
        "allowed_users = [\"a\"]\ndefault_user = \"a\"\nttl = \"5m\"\nallowed_critical_options = [\"force-command\", \"source-address\"]\n\
         [default_critical_options]\nforce-command = \"uptime\"\n",
    );
    check(
        "added to",
        &role,
        r#"{"critical_options":{"source-address":"10.0.0.0/8"}}"#,
        "a ttl=300 critical=force-command+source-address ext=",
    );
    check(
        "not replaced",
        &role,
        r#"{"critical_options":{"force-command":"sh"}}"#,
        "critical options not on allowed list: [force-command]",
    );
}

#[test]
fn key_ids_are_the_servers() {
    let role = wire_role(r#"{"allowed_users":"*","default_user":"a"}"#);
    let hash = SubjectKey::parse(ED25519).unwrap().sha256_hex();
    assert_eq!(
        answer(&role, "{}").unwrap().key_id().as_str(),
        format!("vault-root-{hash}"),
        "{HASH}"
    );
    check(
        "not the caller's",
        &role,
        r#"{"key_id":"x"}"#,
        "setting key_id is not allowed by role",
    );
    let free = wire_role(
        r#"{"allowed_users":"*","default_user":"a","allow_user_key_ids":true,"key_id_format":"{{role_name}}-{{token_display_name}} {{x}}"}"#,
    );
    assert_eq!(answer(&free, r#"{"key_id":"x"}"#).unwrap().key_id().as_str(), "x");
    assert_eq!(
        answer(&free, "{}").unwrap().key_id().as_str(),
        "r-root---x--",
        "what a log could misread is replaced"
    );
    assert_eq!(
        answer(&free, r#"{"key_id":"a\nAccepted publickey for root"}"#)
            .unwrap_err()
            .code(),
        "key-id-invalid"
    );
}

#[test]
fn key_lengths_are_exact_lists() {
    let rsa_2048 =
        crate::signer::generate_key_pair(crate::signer::CaKeyType::Rsa(crate::signer::RsaBits::B2048)).unwrap();
    let rsa = format!(r#"{{"public_key":"{}"}}"#, rsa_2048.public.line());
    let p384 = crate::signer::generate_key_pair(crate::signer::CaKeyType::EcdsaP384).unwrap();
    let p384 = format!(r#"{{"public_key":"{}"}}"#, p384.public.line());
    let rows = [
        ("{}", rsa.as_str(), "ok"),
        (r#"{"rsa":2048}"#, &rsa, "ok"),
        (
            r#"{"rsa":[3072,4096]}"#,
            &rsa,
            "public_key failed to meet the key requirements: key is of an invalid size: 2048",
        ),
        (
            r#"{"ed25519":0}"#,
            &rsa,
            "public_key failed to meet the key requirements: key of type rsa is not allowed",
        ),
        (
            r#"{"ed25519":[]}"#,
            "{}",
            "public_key failed to meet the key requirements: key is of an invalid size: 0",
        ),
        (r#"{"ed25519":0}"#, "{}", "ok"),
        (r#"{"ecdsa-sha2-nistp384":1}"#, &p384, "ok"),
        (r#"{"ec":384}"#, &p384, "ok"),
        (
            r#"{"ec":256}"#,
            &p384,
            "public_key failed to meet the key requirements: key is of an invalid size: 384",
        ),
    ];
    for (lengths, json, want) in rows {
        let role = wire_role(&format!(
            r#"{{"allowed_users":"*","default_user":"a","allowed_user_key_lengths":{lengths}}}"#
        ));
        let got = answer(&role, json).map_or_else(|denial| denial.vault_text(), |_| "ok".to_owned());
        assert_eq!(got, want, "{lengths} {json}");
    }
    let file = file_role("allowed_users = [\"a\"]\ndefault_user = \"a\"\nttl = \"5m\"\n");
    assert_eq!(
        answer(&file, &rsa).unwrap_err().code(),
        "key-size-not-allowed",
        "role files want 3072 bits"
    );
    let sk_only = file_role(
        "allowed_users = [\"a\"]\ndefault_user = \"a\"\nttl = \"5m\"\nsecurity_key_required = true\nverify_required = true\n",
    );
    assert_eq!(answer(&sk_only, "{}").unwrap_err().code(), "security-key-required");
}

#[test]
fn refusals_come_in_vaults_order() {
    let role = wire_role(r#"{"allowed_user_key_lengths":{"rsa":4096}}"#);
    let everything_wrong = r#"{"key_id":"x","cert_type":"host","valid_principals":"a","ttl":"9999999h"}"#;
    assert_eq!(
        answer(&role, everything_wrong).unwrap_err().code(),
        "key-type-not-allowed"
    );
    let role = wire_role("{}");
    assert_eq!(
        answer(&role, everything_wrong).unwrap_err().code(),
        "key-id-not-allowed"
    );
    assert_eq!(
        answer(&role, r#"{"cert_type":"host","ttl":"9999999h"}"#)
            .unwrap_err()
            .code(),
        "cert-type-not-allowed"
    );
    assert_eq!(
        answer(&role, r#"{"cert_type":"x"}"#).unwrap_err().code(),
        "cert-type-unknown"
    );
    assert_eq!(
        answer(&role, r#"{"valid_principals":"a","ttl":"9999999h"}"#)
            .unwrap_err()
            .code(),
        "no-principal-allowed"
    );
    let mut nothing = request("{}");
    nothing.public_key = None;
    assert_eq!(
        resolve(&role, &nothing, &caller(AuthMethod::Token), &MountLimits::default())
            .unwrap_err()
            .code(),
        "public-key-missing"
    );
}

#[test]
fn templates_name_one_person() {
    let role = wire_role(
        r#"{"allowed_users":"{{identity.entity.metadata.unix}}","allowed_users_template":true,"default_user":"{{identity.entity.metadata.unix}}","default_user_template":true}"#,
    );
    let limits = MountLimits::default();
    let alice = resolve(&role, &request("{}"), &caller(AuthMethod::SshKey), &limits).unwrap();
    assert_eq!(alice.principals(), [Principal::parse("al").unwrap()]);
    let other = resolve(
        &role,
        &request(r#"{"valid_principals":"root"}"#),
        &caller(AuthMethod::SshKey),
        &limits,
    );
    assert_eq!(other.unwrap_err().code(), "principal-not-allowed");
    assert_eq!(
        answer(&role, "{}").unwrap_err().code(),
        "principal-invalid",
        "a bare token has no identity"
    );
}

#[test]
fn host_names_are_bare_domains_or_below() {
    let role = |extra: &str| {
        let json =
            format!(r#"{{"key_type":"ca","allow_host_certificates":true,"allowed_domains":"example.com"{extra}}}"#);
        Role::from_vault_json(
            "h",
            "ssh",
            &Fields::from_json(json.as_bytes()).unwrap(),
            RoleSource::Api,
        )
        .unwrap()
    };
    let sub = role(r#","allow_subdomains":true"#);
    let bare = role(r#","allow_bare_domains":true"#);
    let none = role("");
    let rows = [
        (&sub, "web.example.com", true),
        (&sub, "example.com", false),
        (&sub, "evilexample.com", false),
        (&sub, ".example.com", false),
        (&sub, "*.example.com", false),
        (&bare, "example.com", true),
        (&bare, "web.example.com", false),
        (&none, "example.com", false),
    ];
    for (role, name, good) in rows {
        let json = format!(r#"{{"cert_type":"host","valid_principals":"{name}"}}"#);
        assert_eq!(answer(role, &json).is_ok(), good, "{name}");
    }
    assert_eq!(
        answer(&sub, r#"{"cert_type":"host"}"#).unwrap_err().code(),
        "principals-empty"
    );
}

#[test]
fn cve_2021_32923_a_certificate_never_outlives_its_token() {
    let now = UnixTime::from_secs(1_800_000_000);
    let plan = |left: Option<u64>| {
        let mut resolved = answer(
            &wire_role(r#"{"allowed_users":"*","default_user":"a","ttl":600}"#),
            "{}",
        )
        .unwrap();
        resolved.token_expires = left.map(|secs| now.plus(secs));
        CertificatePlan::new(
            Grant::new(resolved, Vec::new()),
            Serial::new(NodeId(1), 1).unwrap(),
            now,
            [0; 32],
        )
    };
    let lifetime = |left| plan(left).map(|plan| now.secs_until(plan.validity().valid_before()));
    assert_eq!(lifetime(None), Ok(600));
    assert_eq!(lifetime(Some(700)), Ok(600));
    assert_eq!(lifetime(Some(60)), Ok(60));
    assert_eq!(lifetime(Some(9)), Err(Denial::TokenEnds { left_secs: 9 }));
    assert_eq!(lifetime(Some(0)), Err(Denial::TokenEnds { left_secs: 0 }));
    assert_eq!(plan(None).unwrap().validity().valid_after(), now.minus(30));
}
