//! Waiting for a purge: until it has its place in the fleet's sequence, and until every node that
//! counts has done it.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};

use super::Fleet;
use super::nodes::{self, Node};
use super::position::Position;
use crate::redis::{Lane, Room};

/// How soon it is asked again how far the others are.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What came of waiting for a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its place, if it has one by now.
    pub position: Option<Position>,
    /// Nodes that have done it.
    pub done: Vec<Node>,
    /// Nodes that count and are not known to have done it.
    pub missing: Vec<Node>,
}

impl Acknowledged {
    /// Whether every node has done it.
    #[must_use]
    pub fn by_all(&self) -> bool {
        self.position.is_some() && self.missing.is_empty() && !self.done.is_empty()
    }
}

impl Fleet {
    /// The place of this node's purge `sequence`; waits for it as long as it can be expected to
    /// come, and not beyond `until`.
    pub async fn placed(&self, room: &Room, sequence: u64, until: Instant) -> Option<Position> {
        let hears = room.is_good_for(&self.purges_key) && self.deaf().is_none();
        if hears { self.place(sequence, until).await } else { None }
    }

    async fn place(&self, sequence: u64, until: Instant) -> Option<Position> {
        let mut progress = self.progress.subscribe();
        loop {
            let place = self.ledger().outbox.position_of(sequence);
            if place.is_some() {
                return place;
            }
            timeout_at(until.into(), progress.changed()).await.ok()?.ok()?;
        }
    }

    /// Waits until all nodes that count have done this node's purge `sequence`, but not beyond
    /// `until`.
    pub async fn acknowledged(&self, room: &Room, sequence: u64, until: Instant) -> Acknowledged {
        self.place(sequence, until).await;
        let mut pause = FIRST_PAUSE;
        loop {
            let roll = match room.connection(Lane::Writes, &self.nodes_key) {
                Some(connection) => nodes::ask(&connection, &self.nodes_key).await.ok(),
                None => None,
            };
            let told = roll.is_some();
            if let Some(roll) = roll {
                self.roster().update(roll, Instant::now());
            }
            // Only now: a failover may have taken its place away, and this node tells how far it is
            // after it has found that out.
            let position = self.ledger().outbox.position_of(sequence);
            let target = self.target(position);
            let has_done = |node: &Node| {
                target.is_some_and(|target| node.has_reached(target.epoch, target.id))
            };
            let (done, missing) = self.nodes().into_iter().partition(has_done);
            let acknowledged = Acknowledged { position, done, missing };
            let left = until.saturating_duration_since(Instant::now());
            if told && acknowledged.by_all() || left.is_zero() {
                return acknowledged;
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What a node has to have reached. Where the purge's stream was lost meanwhile, whoever reads
    /// the new one has doubted everything when it began to.
    fn target(&self, position: Option<Position>) -> Option<Position> {
        let (position, ledger) = (position?, self.ledger());
        let base = ledger.log.base()?;
        Some(if base.epoch == position.epoch { position } else { base })
    }

    /// Ends taking part: publishes what is left, within `most`, and tells the others that nobody
    /// has to wait for this node. Blocks.
    pub(crate) fn leave(&self, room: &std::sync::Arc<Room>, most: Duration) {
        const STEP: Duration = Duration::from_millis(2);
        let begun = Instant::now();
        let goes_on = || room.is_good_for(&self.purges_key) && begun.elapsed() < most;
        while self.unpublished() > 0 && goes_on() {
            std::thread::sleep(STEP);
        }
        self.hearing().has_left = true;
        let Some(connection) = room.connection(Lane::Writes, &self.nodes_key) else { return };
        let (key, id) = (self.nodes_key.clone(), self.id);
        let leaving = room.spawn(async move { nodes::leave(&connection, &key, id).await });
        while !leaving.is_finished() && goes_on() {
            std::thread::sleep(STEP);
        }
    }
}
