//! `<mount>/revoke` and `<mount>/revocations`.

use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn revoke(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let _unfinished = (ask, permit);
    Err(Problem::NotOffered("revoke"))
}

pub(super) fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("list"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let _unfinished = (ask, permit);
    Err(Problem::NotOffered("delete"))
}
