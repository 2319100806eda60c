//! `<mount>/roles`: roles over Vault's wire. What a file defines is read here and written in its file only.

use serde_json::{Map, Value, json};
use signet_core::role::{Role, RoleSource};

use super::mount_of;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::EventKind;

/// `LIST roles`: names of files and of the store together.
pub(super) fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let names = ask.authority.role_names(mount_of(ask)?);
    if names.is_empty() {
        return Err(Problem::NothingThere);
    }
    let info: Map<String, Value> = names
        .iter()
        .map(|name| (name.clone(), json!({"key_type": "ca"})))
        .collect();
    Ok(Reply::data(json!({"keys": names, "key_info": info})))
}

/// `GET roles/:role`.
pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let role = ask
        .authority
        .role(mount_of(ask)?, ask.capture)
        .ok_or(Problem::NothingThere)?;
    Ok(Reply::data(role.vault_fields()))
}

/// `POST roles/:role`: replaces the whole role, as Vault does. 204, or 200 when there is something to warn about.
pub(super) async fn write(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    not_in_a_file(ask)?;
    let role = Role::from_vault_json(ask.capture, mount.path(), &ask.fields, RoleSource::Api)?;
    let warnings = role.warnings();
    let event = event(ask, permit, EventKind::RoleWrite).text("definition", &role.vault_fields().to_string());
    ask.authority.ledger.record(event).await?;
    mount.put_role(role).await?;
    Ok(Reply::nothing().with_warnings(warnings))
}

/// `DELETE roles/:role`: 204, also when there is none.
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    not_in_a_file(ask)?;
    if mount.role(ask.capture).is_some() {
        ask.authority
            .ledger
            .record(event(ask, permit, EventKind::RoleDelete))
            .await?;
        mount.delete_role(ask.capture).await?;
    }
    Ok(Reply::nothing())
}

fn event(ask: &Ask<'_>, permit: &Permit, kind: EventKind) -> crate::ledger::Event {
    ask.authority
        .ledger
        .event(kind)
        .caller(&permit.session().caller)
        .text("mount", ask.mount.as_ref().map_or("", |mount| mount.path()))
        .text("role", ask.capture)
        .text("request_id", ask.request_id)
}

fn not_in_a_file(ask: &Ask<'_>) -> Result<(), Problem> {
    let role = ask.authority.role(mount_of(ask)?, ask.capture);
    match role.as_deref().map(Role::source) {
        Some(RoleSource::File(file)) => {
            let text = format!(
                "role `{}` is defined in the file {file} and read-only over the API",
                ask.capture
            );
            Err(Problem::refused("role-in-file", text).with_hint("change the file and reload the server"))
        }
        Some(RoleSource::Api) | None => Ok(()),
    }
}
