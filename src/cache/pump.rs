//! From the origin into a fill, and from there into the store: a task that no client owns.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::sleep;

use super::fill::{Appended, FillWriter, Finished};
use super::partial::PartialDeposit;
use super::{Failed, FetchOutcome, Filling, FlightLeader, Shared};
use crate::body::{Blocks, Body};
use crate::budget::Charge;
use crate::clock::Timestamp;
use crate::coalesce::FlightOutcome;
use crate::key::CacheKey;
use crate::policy::StoredHead;
use crate::store::{Content, Insertion, Stamp, StoredResponse};

/// Everything that a fill needs to go on by itself.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) body: Body,
    pub(super) writer: FillWriter<Filling>,
    pub(super) charge: Charge,
    /// Kept while others may join.
    pub(super) leader: Option<FlightLeader>,
    /// How long whoever comes may use the response as it is; `None` if nobody may.
    pub(super) fresh_for: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) deposit: Deposit,
}

/// Where a whole body goes.
#[derive(Debug)]
pub(super) struct Deposit {
    pub(super) shared: Arc<Shared>,
    pub(super) key: CacheKey,
    pub(super) head: StoredHead,
    /// The purge sequence at which the fetch began.
    pub(super) sequence: u64,
    /// When the response is of no use any more.
    pub(super) useless_at: Timestamp,
    /// For a partial response: where its body belongs, and what it may be combined with.
    pub(super) partial: Option<PartialDeposit>,
}

impl Pump {
    /// The same for a fill that goes on although nobody reads it.
    pub(super) fn unread(self) -> Self {
        Self { grace: LONGEST_FLIGHT, ..self }
    }

    /// Runs until the body has ended, failed, or is wanted no more.
    pub(super) async fn run(self) {
        let Self { mut body, writer, mut charge, mut leader, fresh_for, grace, deposit } = self;
        let mut trailers = None;
        {
            // Made once: a body that drips does not begin the grace anew with every drop.
            let unread = writer.abandoned(grace);
            let stale = sleep(fresh_for.unwrap_or(Duration::MAX).min(LONGEST_FLIGHT));
            tokio::pin!(unread, stale);
            loop {
                let frame = tokio::select! {
                    biased;
                    frame = body.frame() => frame,
                    () = &mut unread => return,
                    // Whoever comes from now on could not use this response: the next one leads.
                    () = &mut stale, if leader.is_some() => {
                        leader = None;
                        continue;
                    }
                };
                let frame = match frame {
                    Some(Ok(frame)) => frame,
                    Some(Err(error)) => {
                        writer.fail(error.kind);
                        tell(leader, FlightOutcome::Failed(Failed::NoResponse(error.kind)));
                        return;
                    }
                    None => break,
                };
                match frame.into_data() {
                    Ok(data) => {
                        if writer.append(&data, &mut charge) == Appended::PassThrough {
                            leader = None;
                            if !writer.room(&mut charge).await {
                                return;
                            }
                        }
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                }
            }
        }
        let settled = match writer.finish(trailers, charge) {
            Finished::Whole(blocks) => deposit.store(blocks),
            Finished::Passed => false,
        };
        // Only now: who comes next finds either the flight or the stored response.
        tell(leader, if settled { FlightOutcome::Settled } else { FlightOutcome::NotShareable });
    }
}

/// How long others may join a flight at most, however long its response is fresh.
const LONGEST_FLIGHT: Duration = Duration::from_secs(24 * 60 * 60);

fn tell(leader: Option<FlightLeader>, outcome: FetchOutcome) {
    if let Some(mut leader) = leader {
        leader.announce(outcome);
    }
}

impl Deposit {
    /// Stores the body if it is worth it; `false` where it is not what was announced, or a purge
    /// forbids it.
    fn store(self, blocks: Arc<Blocks>) -> bool {
        let Self { shared, key, head, sequence, useless_at, partial } = self;
        let content = match partial {
            None => Some(Content::Whole(blocks)),
            Some(partial) => partial.combine(&head, blocks),
        };
        let sealed =
            content.and_then(|content| shared.seal(&key, head, content, sequence, useless_at));
        sealed.is_some_and(|sealed| {
            let now = shared.clock.now();
            shared.memory.insert(&key, &sealed, now) != Insertion::Purged
        })
    }
}

impl Shared {
    /// A response to be stored; `None` if there is no memory for its head.
    pub(super) fn seal(
        &self,
        key: &CacheKey,
        head: StoredHead,
        content: Content,
        sequence: u64,
        useless_at: Timestamp,
    ) -> Option<Arc<StoredResponse>> {
        let cost = StoredResponse::cost(&head, key.as_str().len());
        let charge = self.memory.charge(cost)?;
        let stamp = Stamp::new(sequence);
        Some(Arc::new(StoredResponse::new(head, content, stamp, useless_at, charge)))
    }
}
