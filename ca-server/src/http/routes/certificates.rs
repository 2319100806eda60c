//! `<mount>/certificates`: which certificates live, or were ever issued, read back from the ledger.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use signet_core::ledger::{EventKind, Query};

use super::mount_of;
use super::revocations::limit;
use crate::certificates::{Certificate, Wanted, oldest_issue, search};
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::revocations::{Published, Selector, SelectorError};

/// Certificates in one answer, unless it is asked for more.
const SHOWN: usize = 1000;
const SHOWN_MAX: usize = 10_000;

/// `GET certificates`: the newest first, with whether each is revoked.
pub(super) async fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let most = limit(ask, SHOWN, SHOWN_MAX)?;
    let live = ask.fields.bool("live")?.unwrap_or(true);
    let wanted = Wanted {
        mount: mount.path().to_owned(),
        live_at: live.then_some(ask.now),
        ..wanted(ask)?
    };
    let oldest = live.then(|| oldest_issue(ask.now, ask.authority.longest.secs()));
    let ledger = ask.authority.config.data.join(crate::ledger::FILE);
    let searching = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let searched = search(&ledger, &wanted, oldest, |certificate| {
            found.push(certificate);
            if found.len() > most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        searched.map(|()| found)
    });
    let found = searching.await.map_err(|error| Problem::internal(&error))?;
    let mut found = found.map_err(|error| Problem::internal(&error))?;
    let truncated = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| truncated).map(|last| last.position);
    let published = ask.authority.revocations.made(mount).map(|list| list.published());
    let shown: Vec<Value> = found
        .iter()
        .map(|certificate| described(ask, certificate, published.as_deref()))
        .collect();
    let warning = next.map(|next| format!("there are more than {most}: the next ones come with before={next}"));
    Ok(Reply::data(json!({"certificates": shown, "next": next})).with_warnings(warning))
}

fn wanted(ask: &Ask<'_>) -> Result<Wanted, Problem> {
    let given = |field: &str| -> Result<Option<String>, Problem> {
        Ok(ask.fields.string(field)?.filter(|text| !text.is_empty()))
    };
    let cert_type = given("cert_type")?;
    if cert_type
        .as_deref()
        .is_some_and(|word| !matches!(word, "user" | "host"))
    {
        return Err(Problem::refused("field-invalid", "cert_type is user or host"));
    }
    // The fields that both endpoints have are read alike.
    let selector = match Selector::from_fields(&ask.fields) {
        Err(SelectorError::Empty) => Selector::default(),
        other => other?,
    };
    if selector.issuer.is_some() {
        return Err(Problem::refused("field-invalid", "issuer selects nothing here"));
    }
    Ok(Wanted {
        query: Query {
            principal: given("principal")?,
            fingerprint: selector.subject_fingerprint(),
            person: selector.person,
            role: selector.role,
            key_id: selector.key_id,
            event: Some(EventKind::Issue),
            since: selector.issued_since,
            until: selector.issued_until,
            ..Query::default()
        },
        before: ask
            .fields
            .int("before")?
            .map(u64::try_from)
            .transpose()
            .map_err(|_| Problem::refused("field-invalid", "before is a position in the ledger"))?,
        cert_type,
        serials: selector.serials,
        ..Wanted::default()
    })
}

fn described(ask: &Ask<'_>, certificate: &Certificate, published: Option<&Published>) -> Value {
    let mut shown = json!(certificate);
    if let Value::Object(members) = &mut shown {
        members.insert("live".to_owned(), certificate.is_live(ask.now).into());
        let revoked = published.is_some_and(|list| list.revokes(certificate));
        members.insert("revoked".to_owned(), revoked.into());
    }
    shown
}
