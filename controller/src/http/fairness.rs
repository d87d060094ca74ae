//! A fair share for everybody: how many requests of one user are under way, how many wait, how many there are in a
//! second, and from when on he is told to come back later.
//!
//! Reading and writing have seats of their own, and so have the parts of the cluster: whatever users do, nodes are
//! heard. A free seat goes to whoever has the fewest. Administrators need no seat. A seat is held until an answer
//! begins; who only listens, as watches do, holds none.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::identity::{GROUP_IN_PROCESS, GROUP_MASTERS, GROUP_NODES, User};
use crate::registry::{ApiError, Details, Reason};

/// How long a request waits for a seat.
const PATIENCE: Duration = Duration::from_secs(15);
/// After how many seconds somebody who was turned away is to come back.
const COME_BACK: u32 = 1;
/// How many requests a user has at once, and how many more every second, before he is told to slow down.
const BURST: u32 = 1000;
const RATE: u32 = 500;
/// How many users are remembered by how much they asked lately.
const REMEMBERED: usize = 4096;
/// The group of accounts that the cluster's own parts use.
const GROUP_SYSTEM: &str = "system:serviceaccounts:kube-system";

/// How many requests may be what.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Under way, of all users together.
    seats: usize,
    /// Under way, of one user.
    share: usize,
    /// Waiting, of one user.
    queue: usize,
}

const READS: Limits = Limits { seats: 400, share: 100, queue: 300 };
const WRITES: Limits = Limits { seats: 200, share: 50, queue: 300 };
/// Those of the cluster's own parts wait rather than fail.
const SYSTEM: Limits = Limits { seats: 400, share: 200, queue: 10_000 };

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// It reads.
    Read,
    /// It writes.
    Write,
}

/// The seats of a server.
pub struct Seats {
    lately: Mutex<HashMap<Box<str>, Allowance>>,
    reads: Arc<Pool>,
    writes: Arc<Pool>,
    system: Arc<Pool>,
}

impl Default for Seats {
    fn default() -> Seats {
        let pool = |limits| Arc::new(Pool { limits, state: Mutex::default() });
        Seats { lately: Mutex::default(), reads: pool(READS), writes: pool(WRITES), system: pool(SYSTEM) }
    }
}

/// A place among the requests that are under way, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    pool: Arc<Pool>,
    user: Box<str>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.leave(&self.user);
    }
}

impl Seats {
    /// Waits for a seat; none is needed by administrators.
    pub async fn take(&self, user: &User, effort: Effort) -> Result<Option<Seat>, ApiError> {
        if user.is_in(GROUP_MASTERS) || user.is_in(GROUP_IN_PROCESS) {
            return Ok(None);
        }
        let system =
            user.is_in(GROUP_NODES) || user.is_in(GROUP_SYSTEM) || user.name.starts_with("system:kube-");
        if !system && !self.may_ask(&user.name, Instant::now()) {
            return Err(turned_away());
        }
        let pool = match effort {
            _ if system => &self.system,
            Effort::Read => &self.reads,
            Effort::Write => &self.writes,
        };
        let seat = match pool.enter(&user.name).ok_or_else(turned_away)? {
            Place::Seat(seat) => {
                // So that whoever came at the same time has come before work begins.
                tokio::task::yield_now().await;
                seat
            }
            Place::Queue(waiting) => match tokio::time::timeout(PATIENCE, waiting).await {
                Ok(Ok(seat)) => seat,
                Ok(Err(_)) | Err(_) => return Err(turned_away()),
            },
        };
        Ok(Some(seat))
    }
}

impl Seats {
    fn may_ask(&self, user: &str, now: Instant) -> bool {
        let mut lately = self.lately.lock();
        if let Some(allowance) = lately.get_mut(user) {
            return allowance.take(now);
        }
        if lately.len() >= REMEMBERED {
            lately.clear();
        }
        lately.entry(user.into()).or_insert(Allowance { left: BURST, since: now }).take(now)
    }
}

/// How many requests a user has left.
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let each = Duration::from_secs(1) / RATE;
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX);
        self.since += each.saturating_mul(more.min(BURST));
        if more >= BURST {
            self.since = now;
        }
        self.left = self.left.saturating_add(more).min(BURST);
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

fn turned_away() -> ApiError {
    let message = "Too many requests, please try again later.";
    ApiError::new(Reason::TooManyRequests, message)
        .with_details(Details { retry_after_seconds: Some(COME_BACK), ..Details::default() })
}

#[derive(Debug)]
struct Pool {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    users: HashMap<Box<str>, Flow>,
}

/// The requests of one user.
#[derive(Debug, Default)]
struct Flow {
    taken: usize,
    queue: VecDeque<oneshot::Sender<Seat>>,
}

/// Where a request is put.
enum Place {
    Seat(Seat),
    Queue(oneshot::Receiver<Seat>),
}

impl Pool {
    /// A seat, or a place in the user's queue if that is not full.
    fn enter(self: &Arc<Pool>, user: &str) -> Option<Place> {
        let mut state = self.state.lock();
        let free = state.taken < self.limits.seats;
        let flow = state.users.entry(user.into()).or_default();
        flow.queue.retain(|waiting| !waiting.is_closed());
        if free && flow.taken < self.limits.share && flow.queue.is_empty() {
            flow.taken += 1;
            state.taken += 1;
            return Some(Place::Seat(Seat { pool: self.clone(), user: user.into() }));
        }
        if flow.queue.len() >= self.limits.queue {
            return None;
        }
        let (call, waiting) = oneshot::channel();
        flow.queue.push_back(call);
        Some(Place::Queue(waiting))
    }

    fn leave(self: &Arc<Pool>, user: &str) {
        let mut state = self.state.lock();
        state.taken -= 1;
        if let Some(flow) = state.users.get_mut(user) {
            flow.taken -= 1;
        }
        let mut called = Vec::new();
        while state.taken < self.limits.seats {
            let Some((user, call)) = state.next(self.limits.share) else { break };
            state.taken += 1;
            called.push((call, Seat { pool: self.clone(), user }));
        }
        state.users.retain(|_, flow| flow.taken > 0 || !flow.queue.is_empty());
        drop(state);
        // A seat that nobody waits for any more is left again, which takes the lock.
        for (call, seat) in called {
            drop(call.send(seat));
        }
    }
}

impl State {
    /// The longest waiting request of the user with the fewest seats.
    fn next(&mut self, share: usize) -> Option<(Box<str>, oneshot::Sender<Seat>)> {
        for flow in self.users.values_mut() {
            flow.queue.retain(|waiting| !waiting.is_closed());
        }
        let waiting = self.users.iter_mut().filter(|(_, flow)| flow.taken < share && !flow.queue.is_empty());
        let (user, flow) = waiting.min_by_key(|(_, flow)| flow.taken)?;
        let call = flow.queue.pop_front()?;
        flow.taken += 1;
        Some((user.clone(), call))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use futures::FutureExt as _;
    use parking_lot::Mutex;

    use super::{Allowance, BURST, Effort, Limits, Place, Pool, Seat, Seats};
    use crate::identity::User;
    use crate::registry::Reason;

    fn pool(seats: usize, share: usize, queue: usize) -> Arc<Pool> {
        Arc::new(Pool { limits: Limits { seats, share, queue }, state: Mutex::default() })
    }

    fn seat(pool: &Arc<Pool>, user: &str) -> Seat {
        match pool.enter(user) {
            Some(Place::Seat(seat)) => seat,
            _ => panic!("no seat for {user}"),
        }
    }

    #[test]
    fn a_user_has_his_share_and_his_queue() {
        let pool = pool(3, 2, 1);
        let (first, _second) = (seat(&pool, "a"), seat(&pool, "a"));
        let Some(Place::Queue(mut waiting)) = pool.enter("a") else { panic!("the share is used up") };
        assert!(pool.enter("a").is_none(), "the queue is full");
        let _other = seat(&pool, "b");
        assert!(waiting.try_recv().is_err());
        drop(first);
        assert!(waiting.try_recv().is_ok());
    }

    #[test]
    fn a_free_seat_goes_to_whoever_has_the_fewest() {
        let pool = pool(2, 2, 9);
        let (first, second) = (seat(&pool, "a"), seat(&pool, "a"));
        let Some(Place::Queue(mut greedy)) = pool.enter("a") else { panic!("no seat is free") };
        let Some(Place::Queue(mut modest)) = pool.enter("b") else { panic!("no seat is free") };
        let Some(Place::Queue(gone)) = pool.enter("c") else { panic!("no seat is free") };
        drop(gone);
        drop(first);
        let served = modest.try_recv().unwrap();
        assert!(greedy.try_recv().is_err());
        drop(second);
        assert!(greedy.try_recv().is_ok(), "whoever went away is passed over");
        drop(served);
        let state = pool.state.lock();
        assert_eq!((state.taken, state.users.len()), (0, 0), "nothing is left behind");
    }

    #[test]
    fn whoever_asks_without_end_is_slowed_down() {
        let mut now = Instant::now();
        let mut allowance = Allowance { left: BURST, since: now };
        let mut asked = |now| (0..2 * BURST).filter(|_| allowance.take(now)).count();
        assert_eq!(asked(now), BURST as usize);
        now += Duration::from_millis(10);
        assert_eq!(asked(now), 5);
        now += Duration::from_secs(3600);
        assert_eq!(asked(now), BURST as usize);
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_and_others_are_not() {
        let seats = Seats::default();
        let (flood, ann) = (User::service_account("n", "flood", "1"), User::service_account("n", "ann", "2"));
        let asking: Vec<_> = (0..500).map(|_| seats.take(&flood, Effort::Read)).collect();
        // All come, and none has finished.
        let mut asking: Vec<_> = asking.into_iter().map(Box::pin).collect();
        let refused: Vec<_> = asking.iter_mut().filter_map(|one| one.now_or_never()?.err()).collect();
        assert_eq!(refused.len(), 100);
        assert!(refused.iter().all(|error| error.reason == Reason::TooManyRequests));
        assert_eq!(refused[0].details.as_ref().unwrap().retry_after_seconds, Some(1));
        assert!(seats.take(&ann, Effort::Read).await.unwrap().is_some());
        assert!(seats.take(&flood, Effort::Write).await.unwrap().is_some());
        assert!(seats.take(&User::node("n"), Effort::Read).await.unwrap().is_some());
        assert!(seats.take(&User::admin("a"), Effort::Read).await.unwrap().is_none());
    }
}
