//! Names, resolved by the Pod network.

use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;

use crate::net::{NetError, PodNet};

/// The longest name looked up, in bytes.
const LONGEST_NAME: usize = 255;

/// Looks a name up.
pub(super) async fn resolve(net: PodNet, name: String) -> Result<Vec<IpAddr>, NetError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_whitespace) {
        return Err(NetError::InvalidArgument("not a name"));
    }
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    net.resolve(name).await
}

/// The answers to one question, as WASI 0.2 reads them.
pub(super) enum Answers {
    Asking(BoxFuture<'static, Result<Vec<IpAddr>, NetError>>),
    Answered(std::vec::IntoIter<IpAddr>),
    Failed(NetError),
}

impl Answers {
    /// Asks.
    pub(super) fn new(net: &PodNet, name: String) -> Answers {
        Answers::Asking(Box::pin(resolve(net.clone(), name)))
    }

    /// Ready when the answer is known.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Answers::Asking(question) = self {
            *self = match ready!(question.as_mut().poll(cx)) {
                Ok(addresses) => Answers::Answered(addresses.into_iter()),
                Err(error) => Answers::Failed(error),
            };
        }
        Poll::Ready(())
    }
}
