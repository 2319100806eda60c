//! `sys/signet/reconcile`: logins that hosts accepted against certificates that were issued.

use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

#[expect(clippy::unused_async, reason = "to be built")]
pub(super) async fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let _unfinished = ask;
    Err(Problem::NotOffered("read"))
}
