//! Bytes between two streams until both have ended.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Carries bytes both ways; each direction ends on its own.
pub(crate) async fn both_ways(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) {
    if let Err(error) = tokio::io::copy_bidirectional(&mut near, &mut far).await {
        tracing::debug!(%error, "spliced stream ended early");
    }
}

/// Carries another protocol over two HTTP connections that changed to it.
pub(crate) async fn upgraded(near: OnUpgrade, far: OnUpgrade) {
    match tokio::try_join!(near, far) {
        Ok((near, far)) => both_ways(TokioIo::new(near), TokioIo::new(far)).await,
        Err(error) => tracing::debug!(%error, "protocol was not changed"),
    }
}
