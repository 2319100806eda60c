//! `sys/signet/host…`: hosts enrol, renew and report; operators look at them.

use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

pub(super) fn challenge(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("challenge"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn enroll(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("enroll"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn renew(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("renew"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn report(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("report"))
}

pub(super) fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("list"))
}

pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("read"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn forget(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let _unfinished = (ask, permit);
    Err(Problem::NotOffered("forget"))
}

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn create_token(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let _unfinished = (ask, permit);
    Err(Problem::NotOffered("create_token"))
}
