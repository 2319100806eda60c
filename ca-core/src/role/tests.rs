use super::*;
use crate::vault_value::Fields;

fn from_json(json: &str) -> Result<Role, RoleError> {
    Role::from_vault_json(
        "my-role",
        "ssh",
        &Fields::from_json(json.as_bytes()).unwrap(),
        RoleSource::Api,
    )
}

const SLIDE_ROLE: &str = r#"{"allow_user_certificates":true,"allowed_users":"*","default_extensions":[{"permit-pty":""}],"key_type":"ca","default_user":"ubuntu","ttl":"30m0s"}"#;

#[test]
fn the_role_of_the_slides_loads_unchanged() {
    let role = from_json(SLIDE_ROLE).unwrap();
    assert_eq!(role.ttl_secs(), Some(1800));
    assert_eq!(role.allowed_users().star, Star::All);
    assert_eq!(role.default_user(), ["ubuntu"]);
    assert_eq!(
        role.default_extensions().get("permit-pty").map(String::as_str),
        Some("")
    );
    let read_back = role.vault_fields();
    assert_eq!(read_back["allowed_users"], "*");
    assert_eq!(read_back["default_extensions"], serde_json::json!({"permit-pty": ""}));
    assert_eq!(read_back["ttl"], 1800);
    assert_eq!(read_back["not_before_duration"], 30);
    assert_eq!(read_back["algorithm_signer"], "default");
}

#[test]
fn what_was_read_back_can_be_written_again() {
    let json = r#"{"key_type":"ca","allow_host_certificates":"true","allowed_domains":"a.test,b.test","allow_subdomains":1,
        "allowed_critical_options":"force-command","allowed_extensions":"permit-pty, permit-user-rc","max_ttl":3600,
        "allowed_user_key_lengths":{"rsa":"2048,4096","ed25519":0}}"#;
    let role = from_json(json).unwrap();
    let again = Fields::from_json(role.vault_fields().to_string().as_bytes()).unwrap();
    assert_eq!(
        Role::from_vault_json("my-role", "ssh", &again, RoleSource::Api).unwrap(),
        role
    );
    assert!(
        !role.allowed_extensions().allows("permit-user-rc"),
        "items are not trimmed, as on Vault"
    );
}

#[test]
fn a_list_does_not_become_anything_when_it_is_read_again() {
    for lists in [
        r#""allowed_users":"*,","allowed_domains":" *""#,
        r#""allowed_users":",*,,","allowed_extensions":"*,""#,
        r#""allowed_critical_options":",""#,
        r#""allowed_critical_options":"*","allowed_extensions":"," "#,
    ] {
        let role = from_json(&format!(
            r#"{{"key_type":"ca","allow_user_certificates":true,{lists}}}"#
        ))
        .unwrap();
        let again = from_json(&role.vault_fields().to_string()).unwrap();
        assert_eq!(again, role, "{lists}");
        assert_eq!(role.allowed_users().star, Star::None, "{lists}");
    }
}

#[test]
fn vault_refuses_with_vaults_texts() {
    let rows = [
        ("{}", "missing key type"),
        (
            r#"{"key_type":"dynamic"}"#,
            "dynamic key type roles are no longer supported",
        ),
        (r#"{"key_type":"x"}"#, "invalid key type"),
        (
            r#"{"key_type":"ca"}"#,
            "Either 'allow_user_certificates' or 'allow_host_certificates' must be set to 'true'",
        ),
        (
            r#"{"key_type":"ca","allow_user_certificates":true,"ttl":10,"max_ttl":5}"#,
            "\"ttl\" value must be less than \"max_ttl\" when both are specified",
        ),
        (
            r#"{"key_type":"ca","algorithm_signer":"x"}"#,
            "unknown algorithm signer \"x\"",
        ),
        (
            r#"{"key_type":"ca","default_extensions":"{}"}"#,
            "Field validation failed: error converting input for field \"default_extensions\": expected a map, got 'string'",
        ),
    ];
    for (json, text) in rows {
        assert_eq!(from_json(json).unwrap_err().to_string(), text, "{json}");
    }
}

#[test]
fn role_names_are_those_of_the_api_paths() {
    for good in ["a", "a-b", "a.b", "test@RoleName", "_x"] {
        assert!(is_role_name(good), "{good}");
    }
    for bad in ["", "-a", "a-", ".a", "a/b", "a b", "ä", "a\n"] {
        assert!(!is_role_name(bad), "{bad}");
    }
}

#[test]
fn a_role_file_allows_nothing_that_it_does_not_say() {
    let role = Role::from_toml(
        "backend",
        "roles/backend.toml",
        "allowed_users = [\"ubuntu\", \"deploy\"]\ndefault_user = \"ubuntu\"\nttl = \"30m\"\ndefault_extensions = [\"permit-pty\"]\n",
    )
    .unwrap();
    assert!(role.user_certificates() && !role.host_certificates());
    assert_eq!(
        role.max_ttl_secs(),
        Some(1800),
        "one of ttl and max_ttl stands for both"
    );
    assert!(role.allowed_extensions().allows("permit-pty"));
    assert!(!role.allowed_extensions().allows("permit-port-forwarding"));
    assert_eq!(
        role.allowed_critical_options,
        OptionRule::Listed(std::collections::BTreeSet::new())
    );
    assert!(role.critical_options_forced);
    assert_ne!(
        role.vault_fields()["allowed_critical_options"],
        "",
        "the empty text means any on Vault's wire"
    );
    assert_eq!(role.mount(), "ssh");
}

#[test]
fn every_mistake_in_a_role_file_is_named_with_its_line() {
    let text = "alowed_users = [\"ubuntu\"]\nttl = \"soon\"\nmax_ttl = \"5s\"\ncertificates = \"both\"\nallowed_users = [\"a,b\"]\n\
                default_extensions = [\"permit-ptty\"]\ndefault_user = \"root\"\nverify_required = true\n";
    let mistakes = Role::from_toml("x", "roles/x.toml", text).unwrap_err();
    let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"));
}
