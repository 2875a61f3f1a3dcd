//! The tasks of a node that takes part: reading, publishing, and doubting in time. They run on
//! Redis' own thread, and reading has a connection of its own, for it mostly waits.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until, timeout};

use super::counters::Doubted;
use super::nodes::{self, Told};
use super::position::Epoch;
use super::{Fleet, Taken, stream};
use crate::redis::{Connector, Fault, Opened, Room};

/// How long to wait before connecting again: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often it is asked who is there, at most: whoever is known is waited for even if Redis loses it.
const ROLL_EVERY: Duration = Duration::from_millis(250);

/// How often the stream is trimmed and kept alive, in rounds of a second or less.
const TEND_EVERY: u32 = 64;

/// Entries that are written at once.
const TOGETHER: usize = 64;

/// How long to wait before writing again, and at most for news that there is something to write.
const NOT_NOW: Duration = Duration::from_millis(50);
const AT_LEAST: Duration = Duration::from_secs(1);

/// Reads for as long as the room's thread runs.
pub(super) async fn read(fleet: Arc<Fleet>, connector: Connector) {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let Err(fault) = match connector.open(&fleet.purges_key).await {
            Ok(opened) => follow(&fleet, &connector, &opened).await,
            Err(fault) => Err(fault),
        };
        if fleet.lost(fault) {
            tracing::warn!(why = fault.word(), "purges of other nodes are not heard");
        }
        pause = if begun.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { pause * 2 };
        pause = pause.min(LONGEST_PAUSE);
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

/// Reads from one connection until it fails.
async fn follow(
    fleet: &Fleet,
    connector: &Connector,
    opened: &Opened,
) -> Result<Infallible, Fault> {
    // What was sent over the last connection may not have arrived.
    fleet.ledger().outbox.send_again();
    fleet.to_publish.notify_one();
    let key = &fleet.purges_key;
    let (mut round, mut rolled, mut first) = (0_u32, None::<Instant>, true);
    loop {
        if !connector.leads_to(key, opened) {
            return Err(Fault::Lost);
        }
        let asked = Instant::now();
        let page = stream::read(opened, key, fleet.next()).await?;
        let Some(taken) = fleet.take(page, std::mem::take(&mut first)) else {
            stream::begin(opened, key, Epoch::random()).await?;
            continue;
        };
        let Taken::UpTo { position, more } = taken else { continue };
        if fleet.tells() {
            let Fleet { id, name, max_unsynced, .. } = fleet;
            let told = Told { id: *id, name, position, max_unsynced: *max_unsynced };
            let tend = round.is_multiple_of(TEND_EVERY);
            nodes::announce(opened, &fleet.nodes_key, &told, tend).await?;
            if tend {
                stream::tend(opened, key).await?;
            }
        }
        round = round.wrapping_add(1);
        if more {
            continue;
        }
        if rolled.is_none_or(|at| at.elapsed() >= ROLL_EVERY) {
            let roll = nodes::ask_alone(opened, &fleet.nodes_key).await?;
            fleet.roster().update(roll, Instant::now());
            rolled = Some(Instant::now());
        }
        // Only now: who does not hear of this node counts on it to doubt in time.
        fleet.synced(asked);
        stream::wait(opened, key, position.id).await?;
    }
}

/// Writes this node's own purges for as long as the room lasts.
pub(super) async fn publish(fleet: Arc<Fleet>, room: Weak<Room>) {
    loop {
        let entries = fleet.ledger().outbox.unsent(TOGETHER, fleet.id);
        if entries.is_empty() {
            // Both its outcomes are the same: it is looked again.
            let _ = timeout(AT_LEAST, fleet.to_publish.notified()).await;
            continue;
        }
        let connection = {
            let Some(room) = room.upgrade() else { return };
            room.writing(&fleet.purges_key).ok()
        };
        let written = match connection {
            Some(connection) => stream::add(&connection, &fleet.purges_key, &entries).await,
            None => Err(Fault::Unreachable),
        };
        fleet.counters.published(*written.as_ref().unwrap_or(&0));
        if !matches!(written, Ok(count) if count == entries.len()) {
            fleet.ledger().outbox.send_again();
            sleep(NOT_NOW).await;
        }
    }
}

/// Doubts everything whenever the stream has been out of reach for as long as memory may go on
/// without it: nothing is used for longer than that without a look at the origin.
pub(super) async fn doubt_in_time(fleet: Arc<Fleet>) {
    if fleet.max_unsynced.is_zero() {
        return;
    }
    let due = || {
        let hearing = fleet.hearing();
        hearing.synced_at.max(hearing.doubted_at) + fleet.max_unsynced
    };
    loop {
        sleep_until(due().into()).await;
        if due() <= Instant::now() {
            fleet.doubt(&fleet.ledger(), Doubted::Unsynced);
        }
    }
}
