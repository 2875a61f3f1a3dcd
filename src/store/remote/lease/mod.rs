//! One fetch for the whole fleet: a lease for each key, of which one node at a time has it.
//!
//! Whoever finds nothing in Redis asks for the lease in the same round trip. The node that gets it
//! fetches; the others wait for what it writes ([`Turn`]). While it holds the lease its heartbeat
//! keeps that alive ([`keeper`]), so that the lease of a node that is gone is soon another's. It ends
//! with the write of the response, in one script with it, or with the news that there is nothing to
//! be had. A lease saves fetches and decides nothing: with Redis away, or two holders at once,
//! there are more fetches, and no wrong answers.

mod hints;
mod keeper;
mod pace;
mod script;
mod turn;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ::redis::Cmd;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(super) use hints::Hints;
pub(super) use script::MOST_CLAIM;
pub use turn::{Taken, Turn};

use super::counters::{Counters, Leased};
use super::layout::Place;
use crate::policy::Reason;
use crate::redis::{Connection, Fault, Lane, Room};
use keeper::{Keeper, Order};
use pace::Paces;
use script::Said;

/// What is told of an answer that is not for others, where that lies in no word of ours.
const APART: &str = "apart";

/// What a fetch is for: one response of a key, and what was found of it that is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The key's index as it stands in Redis; empty where there is none.
    pub(super) index: Vec<u8>,
    /// The entry's field.
    pub(super) field: Vec<u8>,
    /// By what the entry there is told from the next one; empty where there is none.
    pub(super) mark: Vec<u8>,
}

/// The last bytes of an entry are its checksum.
const CHECKSUM: usize = 8;

impl Spot {
    /// Of a field under an index, and what stands there.
    pub(super) fn new(index: &[u8], field: &[u8], entry: Option<&[u8]>) -> Self {
        let mark = entry.map_or_else(Vec::new, |entry| {
            // Something stands there, even if that is nothing.
            [b"e", &entry[entry.len().saturating_sub(CHECKSUM)..]].concat()
        });
        Self { index: index.to_vec(), field: field.to_vec(), mark }
    }
}

/// Who holds a lease: a number that nobody has had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner(u128);

impl Owner {
    fn new() -> Self {
        Self(fastrand::u128(..))
    }

    pub(super) fn text(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Claim {
    /// This node fetches.
    Granted(Lease),
    /// Another one does.
    Held(Held),
    /// Another one did, and the answer is not for others; why, and for how long that holds.
    Apart(Option<Reason>, Duration),
    /// There is something else to read than was found.
    Changed,
    /// Nothing can be told.
    Unavailable,
}

/// Another node's lease.
#[derive(Clone, Debug)]
pub struct Held {
    name: Arc<str>,
    token: u64,
    left: Duration,
}

/// How a lease ends whose holder writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer is not for others, for as long as a reason is given.
    Apart(Option<(Reason, Duration)>),
    /// There was no answer.
    Failed,
    /// Nobody fetches any more.
    Abandoned,
}

/// The right to fetch for the fleet. Dropped, it ends as [`Ending::Abandoned`].
#[derive(Debug)]
pub struct Lease {
    name: Arc<str>,
    owner: Owner,
    token: u64,
    upstream: usize,
    since: Instant,
    leases: Arc<Leases>,
    open: AtomicBool,
}

impl Lease {
    /// Ends it without a response.
    pub fn end(self, ending: Ending) {
        self.close(|| Order::End(self.owner, Arc::clone(&self.name), ending));
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    pub(super) fn token(&self) -> u64 {
        self.token
    }

    /// The response is in Redis, and the lease has ended there with that.
    pub(super) fn written(&self) {
        self.leases.paces.note(self.upstream, self.since.elapsed());
        self.close(|| Order::Forget(self.owner, Leased::Stored));
    }

    /// Another node has it by now: this one's response was refused.
    pub(super) fn fenced(&self) {
        self.close(|| Order::Forget(self.owner, Leased::Lost));
    }

    fn close(&self, order: impl FnOnce() -> Order) {
        if self.open.swap(false, Relaxed) {
            self.leases.order(order());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.close(|| Order::End(self.owner, Arc::clone(&self.name), Ending::Abandoned));
    }
}

/// This node's leases.
#[derive(Debug)]
pub(super) struct Leases {
    orders: UnboundedSender<Order>,
    paces: Paces,
    /// Leases wait in queues of the room's own tasks: they must not keep it.
    room: Weak<Room>,
    /// How long one holds without a heartbeat.
    time: Duration,
}

/// What a node that fetches is given at least, where nothing is configured.
const LEAST_WAIT: Duration = Duration::from_secs(1);

impl Leases {
    /// None yet; a task in `room` keeps alive what will be.
    pub(super) fn start(room: &Arc<Room>, time: Duration, counters: &Arc<Counters>) -> Arc<Self> {
        let (orders, receiver) = unbounded_channel();
        let keeper = Keeper::new(Arc::downgrade(room), receiver, time, Arc::clone(counters));
        room.spawn(keeper.run());
        Arc::new(Self { orders, paces: Paces::default(), room: Arc::downgrade(room), time })
    }

    /// How long to wait for a fetch from this upstream by another node, where nothing is configured.
    pub(super) fn usual_wait(&self, upstream: usize) -> Duration {
        let p95 = self.paces.p95(upstream).unwrap_or_default();
        p95.saturating_mul(2).max(LEAST_WAIT)
    }

    /// A claim to one of `spots`, to be sent, or none while nothing should be written: a lease that
    /// can't be had must not cost a lookup.
    pub(super) fn prepare(&self, place: &Place, spots: &[Spot]) -> Option<Claiming> {
        self.room.upgrade().filter(|room| room.is_good_for(place.hash()))?;
        let owner = Owner::new();
        let command = script::claim(place, spots, owner, self.time);
        let names = spots.iter().map(|spot| place.lease(&spot.field).into()).collect();
        Some(Claiming { owner, names, command })
    }

    /// What came of a claim.
    pub(super) fn settle(
        self: &Arc<Self>,
        claiming: Claiming,
        answer: Result<::redis::Value, Fault>,
        upstream: usize,
    ) -> Claim {
        let Claiming { owner, names, .. } = claiming;
        let Ok(answer) = answer else {
            // It may be held all the same, by nobody.
            for name in names {
                self.order(Order::End(owner, name, Ending::Abandoned));
            }
            return Claim::Unavailable;
        };
        let Some((spot, said)) = script::read(answer) else { return Claim::Unavailable };
        let Some(name) = names.into_iter().nth(spot) else { return Claim::Unavailable };
        match said {
            Said::Changed => Claim::Changed,
            Said::Held(left, token) => Claim::Held(Held { name, token, left }),
            Said::Apart(left, word) => {
                let reason = Reason::ALL.iter().find(|reason| reason.word() == word);
                Claim::Apart(reason.copied(), left)
            }
            Said::Granted(token) => {
                self.order(Order::Hold(owner, Arc::clone(&name)));
                let (leases, open) = (Arc::clone(self), AtomicBool::new(true));
                let since = Instant::now();
                Claim::Granted(Lease { name, owner, token, upstream, since, leases, open })
            }
        }
    }

    /// Asks for the lease of one spot, within `patience`.
    pub(super) async fn claim(
        self: &Arc<Self>,
        place: &Place,
        spot: &Spot,
        upstream: usize,
        patience: Duration,
    ) -> Claim {
        let room = self.room.upgrade();
        let connection = room.and_then(|room| room.connection(Lane::Heads, place.hash()));
        let Some(connection) = connection else { return Claim::Unavailable };
        let spots = std::slice::from_ref(spot);
        let Some(claiming) = self.prepare(place, spots) else { return Claim::Unavailable };
        let answer = ask(&connection, claiming.command.clone(), patience).await;
        self.settle(claiming, answer, upstream)
    }

    fn order(&self, order: Order) {
        // Without a keeper the room is gone, and leases end by themselves.
        let _ = self.orders.send(order);
    }
}

async fn ask(
    connection: &Connection,
    command: Cmd,
    patience: Duration,
) -> Result<::redis::Value, Fault> {
    let (_, answer) = connection.attempt(None, command, MOST_CLAIM, patience).await?;
    answer
}

/// A claim on its way.
pub(super) struct Claiming {
    owner: Owner,
    names: Vec<Arc<str>>,
    pub(super) command: Cmd,
}

#[cfg(test)]
impl Lease {
    /// One that Redis knows nothing of.
    pub(super) fn unknown() -> Self {
        let (orders, _) = unbounded_channel();
        let time = Duration::ZERO;
        let leases = Leases { orders, paces: Paces::default(), room: Weak::new(), time };
        Self {
            name: "l".into(),
            owner: Owner::new(),
            token: 1,
            upstream: 0,
            since: Instant::now(),
            leases: Arc::new(leases),
            open: AtomicBool::new(true),
        }
    }
}
