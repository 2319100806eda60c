//! The one thread on which everything for AWS is sent and awaited, so that a slow service costs no thread of the network.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::AwsError;

/// How much longer than the work itself is waited for its end.
const GRACE: Duration = Duration::from_secs(1);

/// Does `work` on AWS's thread and blocks this one until it is done, for `limit` at most. Not for threads of the network.
///
/// # Errors
/// The work's own, or [`AwsError::Unavailable`] when the time is over.
pub fn wait_for<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = Result<T, AwsError>> + Send + 'static,
) -> Result<T, AwsError> {
    let over = || AwsError::Unavailable(format!("AWS did not answer within {} s", limit.as_secs()));
    let (done, result) = sync_channel(1);
    runtime()?.spawn(async move {
        let outcome = tokio::time::timeout(limit, work).await;
        // Whoever waited may have given up.
        drop(done.send(outcome));
    });
    match result.recv_timeout(limit + GRACE) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Err(over()),
    }
}

/// Does `work` on AWS's thread; nobody waits for it.
///
/// # Errors
/// [`AwsError::Unavailable`] when there is no such thread.
pub fn later(work: impl Future<Output = ()> + Send + 'static) -> Result<(), AwsError> {
    runtime()?.spawn(work);
    Ok(())
}

fn runtime() -> Result<&'static Runtime, AwsError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let fresh = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("aws")
        .enable_all()
        .build()
        .map_err(|error| AwsError::Unavailable(format!("no thread for AWS: {error}")))?;
    Ok(RUNTIME.get_or_init(|| fresh))
}
