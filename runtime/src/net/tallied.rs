//! A handler whose calls are counted.

use crate::http::{Body, Handler, HandlerError, InFlight, Request, Response, SharedHandler};
use crate::table::Tally;
use futures::future::BoxFuture;

/// A handler whose calls count as requests.
pub(crate) struct Tallied {
    tallies: Vec<Tally>,
    handler: SharedHandler,
}

impl Tallied {
    pub(crate) fn new(tallies: Vec<Tally>, handler: SharedHandler) -> Self {
        Tallied { tallies, handler }
    }
}

impl Handler for Tallied {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, HandlerError>> {
        let present: Vec<InFlight> = self.tallies.iter().map(Tally::begin).collect();
        let answer = self.handler.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| present.into_iter().fold(body, Body::counted))) })
    }
}
