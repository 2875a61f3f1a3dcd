//! Purges of the whole fleet: one stream in Redis, which every node writes its own to and reads.
//!
//! The stream is the order, and a node's place in it says which purges it has done. What a node has
//! fetched carries that place into Redis, so that another node knows which purges the fetch can't
//! have missed, whatever the clocks say. A node that can't know what it missed (the stream was lost
//! or trimmed, or has been out of reach for too long) doubts everything that it holds: that is
//! validated before it is used.
//!
//! A purge is done here first, and then published; read back, it has its place. Others apply what
//! they read and tell how far they are, which is what a purge can be waited for by.

mod counters;
mod log;
mod nodes;
mod notice;
mod outbox;
pub mod position;
mod reader;
mod roster;
mod stream;
mod waiting;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

pub use counters::{Counters, Doubted, Read};
pub use nodes::Node;
pub use waiting::Acknowledged;

use super::codec::Written;
use super::timeline::Timeline;
use crate::clock::Clock;
use crate::redis::{Fault, Room};
use crate::store::{Memory, Mode, Scope};
use log::Log;
use notice::{Notice, What};
use outbox::Outbox;
use position::{Position, StreamId};
use roster::Roster;
use stream::Page;

/// Purges of the whole fleet, as one node takes part in them.
#[derive(Debug)]
pub struct Fleet {
    /// This process, and how people know it.
    id: u128,
    name: String,
    /// The stream, and the hash of nodes.
    purges_key: String,
    nodes_key: String,
    /// For how long memory goes on without the stream; zero without a bound.
    max_unsynced: Duration,
    memory: Memory,
    clock: Clock,
    /// Whoever purges holds it until the purge is entered: what is asked of it is never half done.
    ledger: Mutex<Ledger>,
    hearing: Mutex<Hearing>,
    roster: Mutex<Roster>,
    /// Something is to be published.
    to_publish: Notify,
    /// Something was read.
    progress: watch::Sender<()>,
    counters: Counters,
}

#[derive(Debug)]
struct Ledger {
    log: Log,
    outbox: Outbox,
    /// For what the log can't place.
    timeline: Timeline,
    /// The stream was set back, and is read once more to its end.
    rereads: bool,
}

/// How it stands with the stream.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    /// When everything had been applied that there was.
    synced_at: Instant,
    doubted_at: Instant,
    /// Why it is not read at present.
    deaf: Option<Fault>,
    /// This node ends, and tells nothing any more.
    has_left: bool,
}

/// What came of a page.
enum Taken {
    /// It has to be read from elsewhere.
    Elsewhere,
    /// It has been applied, up to here.
    UpTo {
        position: Position,
        /// There is more to be read.
        more: bool,
    },
}

impl Fleet {
    /// Takes part for as long as `room` lasts.
    pub(super) fn start(
        config: &super::Config,
        room: &Arc<Room>,
        id: u128,
        memory: Memory,
        clock: Clock,
    ) -> Arc<Self> {
        let now = Instant::now();
        let fleet = Self {
            id,
            name: name(id),
            purges_key: format!("{}:purges", config.namespace),
            // In the slot of the stream: one connection is for both.
            nodes_key: format!("{0}:nodes:{{{0}:purges}}", config.namespace),
            max_unsynced: config.max_unsynced,
            memory,
            clock,
            ledger: Mutex::new(Ledger {
                log: Log::new(),
                outbox: Outbox::new(),
                timeline: Timeline::default(),
                rereads: false,
            }),
            hearing: Mutex::new(Hearing {
                synced_at: now,
                doubted_at: now,
                deaf: Some(Fault::Unreachable),
                has_left: false,
            }),
            roster: Mutex::new(Roster::new(now)),
            to_publish: Notify::new(),
            progress: watch::channel(()).0,
            counters: Counters::default(),
        };
        // Nothing is known yet of what has been purged of what is in Redis.
        fleet.doubt(&fleet.ledger(), Doubted::Start);
        let fleet = Arc::new(fleet);
        room.spawn(reader::read(Arc::clone(&fleet), room.connector().clone()));
        room.spawn(reader::publish(Arc::clone(&fleet), Arc::downgrade(room)));
        room.spawn(reader::doubt_in_time(Arc::clone(&fleet)));
        fleet
    }

    /// Purges here, has the fleet do it too, and returns the numbers of the records here; by the
    /// last one it can be waited for.
    pub(super) fn purge(&self, scopes: Vec<Scope>, mode: Mode) -> RangeInclusive<u64> {
        let mut ledger = self.ledger();
        let before = self.memory.sequence();
        let mut last = before;
        for scopes in notice::parcels(scopes) {
            let purges = self.purge_here(&ledger, &scopes, mode);
            last = purges.1;
            // Else it is refreshed when the purge is read back: what is fetched before that, other
            // nodes could not know to be younger.
            if mode == Mode::Refresh && self.hearing().deaf.is_some() {
                self.memory.refreshes().add(&scopes);
            }
            if ledger.outbox.add(scopes, mode, purges) {
                self.counters.overflowed();
            }
        }
        drop(ledger);
        self.to_publish.notify_one();
        before + 1..=last
    }

    /// The first and the last of the purges that these are here.
    fn purge_here(&self, ledger: &Ledger, scopes: &[Scope], mode: Mode) -> (u64, u64) {
        // Nobody else purges meanwhile: the ledger is held.
        let low = self.memory.sequence() + 1;
        for scope in scopes {
            // The last one's number is asked for below.
            let _ = self.memory.purge(scope.clone(), mode);
        }
        let high = self.memory.sequence();
        ledger.timeline.note(high, self.clock.now());
        (low, high)
    }

    /// Whatever is held may have been purged.
    fn doubt(&self, ledger: &Ledger, why: Doubted) -> u64 {
        let sequence = self.memory.doubt();
        ledger.timeline.note(sequence, self.clock.now());
        self.counters.doubted(why);
        self.hearing().doubted_at = Instant::now();
        sequence
    }

    /// The latest purge here that a fetch of another process is certainly younger than.
    pub(super) fn sequence_of(&self, written: &Written) -> u64 {
        let overdue = self.is_overdue();
        let ledger = self.ledger();
        let by_clock = || ledger.timeline.sequence_at(written.began);
        let position = written.position.filter(|_| !overdue);
        let by = (written.by, written.sequence);
        match position.and_then(|position| ledger.log.sequence_of(position, by)) {
            None => by_clock(),
            Some(sequence) => {
                // What the stream does not have yet, no other node knows.
                let own = ledger.outbox.lowest().map_or(u64::MAX, |low| low - 1);
                sequence.min(own).min(self.memory.sequence())
            }
        }
    }

    /// Up to where this node knew the stream when its latest purge was `sequence`.
    pub(super) fn position_at(&self, sequence: u64) -> Option<Position> {
        if self.is_overdue() {
            return None;
        }
        self.ledger().log.position_at(sequence)
    }

    /// Why other nodes' purges are not heard at present, and for how long that has been so.
    #[must_use]
    pub fn deaf(&self) -> Option<(Fault, Duration)> {
        let hearing = self.hearing();
        hearing.deaf.map(|fault| (fault, hearing.synced_at.elapsed()))
    }

    /// How long ago everything had been heard that there was.
    #[must_use]
    pub fn unsynced(&self) -> Duration {
        self.hearing().synced_at.elapsed()
    }

    /// For how long memory goes on without the stream; zero without a bound.
    #[must_use]
    pub fn max_unsynced(&self) -> Duration {
        self.max_unsynced
    }

    /// How people know this node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Nodes that have to be waited for, this one among them.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.roster().all(Instant::now())
    }

    /// Purges of this node that the stream does not have yet.
    #[must_use]
    pub fn unpublished(&self) -> usize {
        self.ledger().outbox.len()
    }

    /// What was read, and what became of it.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn is_overdue(&self) -> bool {
        !self.max_unsynced.is_zero() && self.unsynced() > self.max_unsynced
    }

    /// Where to go on reading.
    fn next(&self) -> StreamId {
        self.ledger().log.tip().map_or_else(StreamId::default, |tip| tip.id)
    }

    /// Applies what was read; `first` of a connection, whose server may not have what another one
    /// told.
    fn take(&self, page: Page, first: bool) -> Option<Taken> {
        let epoch = page.epoch?;
        let mut ledger = self.ledger();
        if let Some(why) = missed(ledger.log.tip(), &page, first) {
            let sequence = self.doubt(&ledger, why);
            let id = page.first.map_or(page.last, StreamId::before);
            ledger.log.restart(Position { epoch, id }, sequence);
            // What this node has published may be lost with the rest.
            ledger.outbox.send_again();
            if why == Doubted::SetBack {
                ledger.outbox.set_back(page.first);
                ledger.rereads = true;
            }
            self.to_publish.notify_one();
            tracing::info!(why = why.word(), "purges may have been missed: all is validated");
            return Some(Taken::Elsewhere);
        }
        for (id, fields) in page.entries {
            self.apply(&mut ledger, Position { epoch, id }, fields);
        }
        if !page.more {
            ledger.log.reach(page.last);
            if std::mem::take(&mut ledger.rereads) {
                // What has not been read back by now is not there.
                ledger.outbox.send_again();
                self.to_publish.notify_one();
            }
        }
        let tip = ledger.log.tip()?;
        drop(ledger);
        self.progress.send_replace(());
        Some(Taken::UpTo { position: tip, more: page.more })
    }

    fn apply(&self, ledger: &mut Ledger, position: Position, fields: Option<Vec<Vec<u8>>>) {
        let notice = match fields {
            Some(fields) => Notice::read(&fields),
            None => Err(notice::Malformed::TooLarge),
        };
        let Notice { what, by } = match notice {
            Ok(notice) => notice,
            Err(fault) => {
                // Not each of a flood is told.
                if self.counters.read(Read::Malformed).is_power_of_two() {
                    let id = position.id.to_string();
                    tracing::warn!(id, %fault, "an entry of the stream of purges is skipped");
                }
                return ledger.log.push(position.id, None, None);
            }
        };
        let own = by.filter(|(process, _)| *process == self.id);
        let settled = own.and_then(|(_, number)| ledger.outbox.settle(number, position));
        let purges = settled.or_else(|| match &what {
            What::Purge(scopes, mode) => Some(self.purge_here(ledger, scopes, *mode)),
            What::Doubt => {
                let sequence = self.doubt(ledger, Doubted::Told);
                Some((sequence, sequence))
            }
            What::Beginning => None,
        });
        self.counters.read(match (settled, &what) {
            (_, What::Beginning) => Read::Beginning,
            (Some(_), _) => Read::Own,
            (None, _) => Read::Applied,
        });
        ledger.log.push(position.id, by, purges);
        if let What::Purge(scopes, Mode::Refresh) = &what {
            self.memory.refreshes().add(scopes);
        }
    }

    /// All that there was at `asked` has been applied, and told.
    fn synced(&self, asked: Instant) {
        let mut hearing = self.hearing();
        (hearing.synced_at, hearing.deaf) = (asked, None);
    }

    /// The stream is not read; whether that is news.
    fn lost(&self, fault: Fault) -> bool {
        let mut hearing = self.hearing();
        hearing.deaf.replace(fault) != Some(fault)
    }

    /// Whether this node tells where it is.
    fn tells(&self) -> bool {
        !self.hearing().has_left
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why entries may have been missed between what is known and what was read; `None` where none can
/// have been. What was read over one connection, another server may not have, whatever has been added
/// there since: that is looked for in the first page of each.
fn missed(known: Option<Position>, page: &Page, first: bool) -> Option<Doubted> {
    let Some(known) = known else { return Some(Doubted::Joined) };
    if page.epoch != Some(known.epoch) {
        return Some(Doubted::Lost);
    }
    if known.id > page.last {
        return Some(Doubted::SetBack);
    }
    // Whatever was trimmed stood before the first that is left.
    let is_whole = page.first.map_or(known.id == page.last, |first| first.before() <= known.id);
    if !is_whole {
        return Some(Doubted::Trimmed);
    }
    let should_be_there = first && page.first.is_some_and(|first| first <= known.id);
    (should_be_there && !page.has_known).then_some(Doubted::SetBack)
}

/// The machine's name, where it has one, and enough digits to tell its processes apart.
fn name(id: u128) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fits = |letter: &char| letter.is_ascii_alphanumeric() || ".-_".contains(*letter);
    let machine: String = machine.trim().chars().filter(fits).take(64).collect();
    let machine = if machine.is_empty() { "seawall" } else { &machine };
    format!("{machine}-{:08x}", (id >> 96) as u32)
}

#[cfg(test)]
mod tests;
