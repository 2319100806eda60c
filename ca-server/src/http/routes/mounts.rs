//! `sys/mounts`: where SSH engines live.

use serde_json::{Map, Value, json};
use signet_core::vault_value::Fields;

use crate::config::{MountConfig, SYSTEM_TTL_SECS};
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::{Event, EventKind};
use crate::mounts::{Mount, check_path};

/// Longest lifetime a mount may give: past ten years a number is a mistake.
const TTL_SECS_MAX: u64 = 10 * 366 * 86_400;

/// `GET sys/mounts`: under `data` and, for old clients, at top level.
pub(super) fn list(ask: &Ask<'_>) -> Reply {
    let mounts = ask.authority.mounts.list();
    Reply::twice(
        mounts
            .iter()
            .map(|mount| (format!("{}/", mount.path()), described(mount)))
            .collect(),
    )
}

/// `GET sys/mounts/:path`.
pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let Some(mount) = ask.authority.mounts.get(ask.capture) else {
        let text = format!("No secret engine mount at {}/", ask.capture);
        return Err(Problem::refused("no-such-mount", text));
    };
    match described(&mount) {
        Value::Object(members) => Ok(Reply::twice(members)),
        other => Ok(Reply::data(other)),
    }
}

/// `POST sys/mounts/:path`.
pub(super) async fn create(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let kind = ask.text("type")?;
    if kind != "ssh" {
        let text = format!("plugin not found in the catalog: {kind:?}; only mounts of type \"ssh\" are offered");
        return Err(Problem::refused("mount-type-not-offered", text));
    }
    check_path(ask.capture)?;
    let config = Fields::from_map(ask.fields.raw_map("config")?.unwrap_or_default());
    let (default_ttl, max_ttl) = ttls(&config)?;
    let max_ttl = max_ttl.unwrap_or(SYSTEM_TTL_SECS);
    let config = MountConfig {
        path: ask.capture.to_owned(),
        description: ask.text("description")?,
        ca_key: None,
        ca_key_type: None,
        default_ttl: checked(default_ttl.unwrap_or_else(|| SYSTEM_TTL_SECS.min(max_ttl)), max_ttl)?,
        max_ttl,
    };
    if ask.authority.mounts.get(ask.capture).is_some() {
        return Err(Problem::refused(
            "mount-path-in-use",
            format!("path is already in use at {}/", ask.capture),
        ));
    }
    ask.authority
        .ledger
        .record(event(ask, permit, EventKind::MountCreate))
        .await?;
    ask.authority.mounts.create(&config).await?;
    Ok(Reply::nothing())
}

/// `DELETE sys/mounts/:path`: 204, also when there is none.
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    if let Some(mount) = ask.authority.mounts.get(ask.capture) {
        ask.authority
            .ledger
            .record(event(ask, permit, EventKind::MountDelete))
            .await?;
        ask.authority.mounts.delete(ask.capture).await?;
        ask.authority.revocations.forget(&mount);
        ask.authority.bundles.forget(&mount);
    }
    Ok(Reply::nothing())
}

/// `GET sys/mounts/:path/tune`.
pub(super) fn tune_read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mount = ask.authority.mounts.get(ask.capture).ok_or_else(|| no_mount(ask))?;
    let mut members = Map::new();
    members.insert("default_lease_ttl".to_owned(), mount.default_ttl().into());
    members.insert("description".to_owned(), mount.description().into());
    members.insert("force_no_cache".to_owned(), false.into());
    members.insert("max_lease_ttl".to_owned(), mount.max_ttl().into());
    Ok(Reply::twice(members))
}

/// `POST sys/mounts/:path/tune`.
pub(super) async fn tune(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = ask.authority.mounts.get(ask.capture).ok_or_else(|| no_mount(ask))?;
    let (default_ttl, max_ttl) = ttls(&ask.fields)?;
    checked(
        default_ttl.unwrap_or_else(|| mount.default_ttl()),
        max_ttl.unwrap_or_else(|| mount.max_ttl()),
    )?;
    let event = event(ask, permit, EventKind::MountTune)
        .number("default_ttl", default_ttl.unwrap_or_else(|| mount.default_ttl()))
        .number("max_ttl", max_ttl.unwrap_or_else(|| mount.max_ttl()));
    ask.authority.ledger.record(event).await?;
    mount
        .tune(ask.fields.string("description")?, default_ttl, max_ttl)
        .await?;
    Ok(Reply::nothing())
}

/// `GET sys/internal/ui/mounts/<path>`: the preflight of Vault's command line. Unknown and forbidden read alike.
pub(super) fn of_path(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let Some((mount, _)) = ask.authority.mounts.split(ask.capture) else {
        return Err(Problem::forbidden(
            "no-such-mount",
            "preflight capability check returned 403, please ensure client's \
             policies grant access to path \""
                .to_owned()
                + ask.capture
                + "/\"",
        ));
    };
    let mut data = described(&mount);
    if let Value::Object(members) = &mut data {
        members.insert("path".to_owned(), format!("{}/", mount.path()).into());
    }
    Ok(Reply::data(data))
}

fn described(mount: &Mount) -> Value {
    json!({
        "accessor": mount.accessor(),
        "config": {
            "default_lease_ttl": mount.default_ttl(),
            "force_no_cache": false,
            "max_lease_ttl": mount.max_ttl(),
        },
        "description": mount.description(),
        "external_entropy_access": false,
        "local": false,
        "options": {},
        "plugin_version": "",
        "seal_wrap": false,
        "type": "ssh",
        "uuid": mount.uuid(),
    })
}

/// The two TTLs, as numbers or texts; 0 means the default, as on Vault.
fn ttls(fields: &Fields) -> Result<(Option<u64>, Option<u64>), Problem> {
    let ttl = |field| {
        fields
            .duration_secs(field)
            .map(|ttl| ttl.map(|secs| if secs == 0 { SYSTEM_TTL_SECS } else { secs }))
    };
    Ok((ttl("default_lease_ttl")?, ttl("max_lease_ttl")?))
}

fn checked(default_ttl: u64, max_ttl: u64) -> Result<u64, Problem> {
    if default_ttl > max_ttl {
        let text = "backend default lease TTL greater than backend max lease TTL";
        return Err(Problem::refused("mount-ttl-invalid", text));
    }
    if max_ttl > TTL_SECS_MAX {
        return Err(Problem::refused(
            "mount-ttl-invalid",
            format!("max lease TTL is above {TTL_SECS_MAX} s"),
        ));
    }
    Ok(default_ttl)
}

fn no_mount(ask: &Ask<'_>) -> Problem {
    Problem::refused(
        "no-such-mount",
        format!("cannot fetch sysview for path \"{}/\": no mount there", ask.capture),
    )
}

fn event(ask: &Ask<'_>, permit: &Permit, kind: EventKind) -> Event {
    ask.authority
        .ledger
        .event(kind)
        .caller(&permit.session().caller)
        .text("mount", ask.capture)
        .text("request_id", ask.request_id)
}
