//! `sys/signet/reconcile`: logins that hosts accepted against certificates that were issued.

use serde_json::json;
use signet_core::time::{UnixTime, parse_duration};

use crate::hosts::accepted::Detector;
use crate::hosts::reconcile::reconcile;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

/// How far back it looks when nobody says.
const DEFAULT_SECS: u64 = 30 * 86_400;

/// `GET sys/signet/reconcile?since=…`: a time (RFC 3339), or how long ago (`7d`).
pub(super) async fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let since = since(&ask.text("since")?, ask.now)?;
    let detector = Detector::new(ask.authority);
    let reading = tokio::task::spawn_blocking(move || reconcile(&detector, since));
    let found = reading
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))?;
    Ok(Reply::data(json!({
        "since": since.to_string(),
        "checked": found.checked,
        "alarms": found.alarms,
    })))
}

fn since(text: &str, now: UnixTime) -> Result<UnixTime, Problem> {
    if text.is_empty() {
        return Ok(now.minus(DEFAULT_SECS));
    }
    if let Ok(time) = UnixTime::parse_rfc3339(text) {
        return Ok(time);
    }
    parse_duration(text).map(|secs| now.minus(secs)).map_err(|_| {
        Problem::refused("field-invalid", format!("`since` is {text:?}"))
            .with_hint("write a time such as 2026-11-26T00:00:00Z, or how long ago, such as 7d")
    })
}
