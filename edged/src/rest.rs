//! After the start: memory that it took and that nobody needs any more goes back.

use std::convert::Infallible;
use std::time::Duration;

/// How long after the start that is: what is applied at once has begun by then.
const AFTER: Duration = Duration::from_secs(10);

/// Gives it back once, and waits for ever.
pub async fn rest() -> Infallible {
    tokio::time::sleep(AFTER).await;
    // The runtime going down is as good a reason not to.
    let _ = tokio::task::spawn_blocking(edge_runtime::sandbox::give_back_memory).await;
    std::future::pending().await
}
