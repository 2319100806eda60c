//! Signing requests against a narrow and a wide role, up to the signed bytes: what is issued never exceeds the role, and
//! OpenSSH would take it.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use signet_core::access::AccessPolicies;
use signet_core::caller::{AuthMethod, Caller, CallerParts};
use signet_core::inspect::inspect;
use signet_core::plan::{CertificatePlan, MountLimits, Resolved, resolve};
use signet_core::request::SigningRequest;
use signet_core::role::{Role, RoleSource};
use signet_core::serial::{NodeId, Serial};
use signet_core::signer::{CaKeyType, SoftwareSigner};
use signet_core::time::UnixTime;
use signet_core::vault_value::Fields;

const NARROW: &str = "allowed_users = [\"ubuntu\", \"deploy\"]\ndefault_user = \"ubuntu\"\nttl = \"30m\"\nmax_ttl = \"1h\"\n\
                      default_extensions = [\"permit-pty\"]\n";
const WIDE: &[u8] =
    br#"{"key_type":"ca","allow_user_certificates":true,"allow_host_certificates":true,"allowed_users":"*",
    "allowed_domains":"*","allowed_extensions":"*","allowed_critical_options":"*","allow_user_key_ids":true,
    "default_user":"ubuntu","max_ttl":"1h"}"#;
const HOUR: u64 = 3600;

struct World {
    narrow: Role,
    wide: Role,
    caller: Caller,
    signer: SoftwareSigner,
    policies: AccessPolicies,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World {
    narrow: Role::from_toml("narrow", "roles/narrow.toml", NARROW).expect("a role"),
    wide: Role::from_vault_json("wide", "ssh", &Fields::from_json(WIDE).expect("JSON"), RoleSource::Api)
        .expect("a role"),
    caller: Caller::authenticated(CallerParts {
        person: "alice".to_owned(),
        display_name: "root".to_owned(),
        method: AuthMethod::Token,
        groups: BTreeSet::new(),
        policies: ["root".to_owned()].into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        accessor: "accessor".to_owned(),
        token_expires: None,
        metadata: [].into(),
    }),
    signer: SoftwareSigner::generate(CaKeyType::Ed25519).expect("a CA key"),
    policies: AccessPolicies::default(),
});

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let Ok(fields) = Fields::from_json(body) else { return };
    let Ok(request) = SigningRequest::from_vault(&fields) else {
        return;
    };
    for role in [&WORLD.narrow, &WORLD.wide] {
        if let Ok(resolved) = resolve(role, &request, &WORLD.caller, &MountLimits::default()) {
            check(role, resolved);
        }
    }
});

fn check(role: &Role, resolved: Resolved) {
    assert!(!resolved.principals().is_empty(), "a certificate without principals");
    if role.name() == "narrow" {
        assert!(
            resolved
                .principals()
                .iter()
                .all(|name| ["ubuntu", "deploy"].contains(&name.as_str()))
        );
    }
    let now = UnixTime::from_secs(1_800_000_000);
    let slice = WORLD
        .policies
        .slice(&WORLD.caller, "ssh", role.name())
        .expect("root may");
    let grant = slice.grant(resolved, now).expect("root may");
    let serial = Serial::new(NodeId(1), 1).expect("a serial");
    let Ok(plan) = CertificatePlan::new(grant, serial, now, [7; 32]) else {
        return;
    };
    assert!(
        plan.validity().valid_before().secs() <= now.secs() + HOUR,
        "longer than the role's maximum"
    );
    let Ok(signed) = plan.sign(&WORLD.signer) else { return };
    let inspection = inspect(&signed.into_line(), now).expect("our own certificate reads");
    assert!(!inspection.is_refused(), "sshd would refuse: {inspection:?}");
}
