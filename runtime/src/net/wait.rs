//! Waiting for an endpoint: what has refused a request may take it after the next change.
//!
//! A Service that is scaled to zero is waited for longer than others, and with a seat in the [`Lobby`], so that it is
//! known that somebody waits. It looks at nothing itself: who waits tries again.

use crate::net::lobby::{Lobby, Seat};
use crate::table::ServicePort;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Waits for something that may make a Service take what it has refused.
pub(crate) struct Wait {
    lobby: Lobby,
    tables: watch::Receiver<u64>,
    arrivals: watch::Receiver<u64>,
    begun: Instant,
    patience: Patience,
    seat: Option<Seat>,
}

/// How long somebody waits.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For a Service that has endpoints, or will have none.
    pub(crate) usual: Duration,
    /// For one that is scaled to zero.
    pub(crate) hold: Duration,
}

/// Why there is no sense in waiting on.
pub(crate) enum Waited {
    /// Nothing has changed for too long.
    InVain,
    /// The Service is scaled to zero and does not come back.
    Asleep,
    /// The Service is scaled to zero, and too many wait already.
    Crowded,
}

impl Wait {
    /// Begins. These receivers say what changes from now on: the tables, and what arrives in the network.
    pub(crate) fn new(
        lobby: Lobby,
        tables: watch::Receiver<u64>,
        arrivals: watch::Receiver<u64>,
        patience: Patience,
    ) -> Wait {
        Wait { lobby, tables, arrivals, begun: Instant::now(), patience, seat: None }
    }

    /// Returns when it makes sense to try again. The port is as it was at the last trial.
    pub(crate) async fn again(&mut self, port: &ServicePort) -> Result<(), Waited> {
        let asleep = port.is_asleep();
        if !asleep && self.seat.take().is_some() {
            // An endpoint that has just come may not listen yet.
            self.begun = Instant::now();
        }
        if asleep && self.seat.is_none() {
            self.seat = Some(self.lobby.enter(&port.wakers).ok_or(Waited::Crowded)?);
        }
        let most = if asleep { self.patience.hold } else { self.patience.usual };
        let change = async {
            tokio::select! {
                _ = self.tables.changed() => {}
                _ = self.arrivals.changed() => {}
            }
        };
        let changed = tokio::time::timeout_at(self.begun + most, change).await;
        changed.map_err(|_| if asleep { Waited::Asleep } else { Waited::InVain })
    }
}
