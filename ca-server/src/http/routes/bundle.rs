//! `<mount>/krl` and `<mount>/trust-bundle`: what hosts fetch. Open and cacheable; they hold nothing secret.

use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn krl(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("krl"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn krl_signature(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("krl_signature"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn trust_bundle(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("trust_bundle"))
}

pub(super) fn public_key(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("public_key"))
}
