//! From the origin into a fill, and from there into the store: a task that no client owns.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::HeaderMap;
use http::header::SET_COOKIE;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::compress::Wanted;
use super::fill::{Appended, FillWriter, Finished};
use super::partial::PartialDeposit;
use super::{Failed, FetchOutcome, Filling, FlightLeader, Shared};
use crate::body::{Blocks, Body, Piece};
use crate::budget::Charge;
use crate::clock::Timestamp;
use crate::coalesce::FlightOutcome;
use crate::error::{ErrorKind, ProxyError};
use crate::key::CacheKey;
use crate::policy::StoredHead;
use crate::store::remote::{Ending, Lease};
use crate::store::{Content, Copies, Insertion, Stamp, StoredResponse};

/// Everything that a fill needs to go on by itself.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) body: Body,
    pub(super) writer: FillWriter<Filling>,
    pub(super) charge: Charge,
    /// Those that have come.
    pub(super) trailers: Option<HeaderMap>,
    /// Kept while others may join.
    pub(super) leader: Option<FlightLeader>,
    /// How long whoever comes may use the response as it is; `None` if nobody may.
    pub(super) fresh_for: Option<Duration>,
    pub(super) grace: Duration,
    /// Where the grace has to be had from; `None` if it need not be.
    pub(super) graces: Option<Arc<Semaphore>>,
    pub(super) deposit: Deposit,
}

/// Where a whole body goes.
#[derive(Debug)]
pub(super) struct Deposit {
    pub(super) shared: Arc<Shared>,
    pub(super) key: CacheKey,
    /// Which variant of the key was asked for; 0 while that is not known.
    pub(super) variant: u64,
    pub(super) head: StoredHead,
    /// When the fetch began, in the sequence of purges, and what the response can be purged by.
    pub(super) stamp: Stamp,
    /// When the fetch began; `None` for what came from the tier behind memory, and is there.
    pub(super) began: Option<Timestamp>,
    /// Where others share the fetch, and something was stored before: when it began.
    pub(super) replaces_since: Option<Timestamp>,
    /// What is stored under another key, which this takes the place of.
    pub(super) instead_of: Option<(CacheKey, Arc<StoredResponse>)>,
    /// When the response is of no use any more.
    pub(super) useless_at: Timestamp,
    /// For a partial response: where its body belongs, and what it may be combined with.
    pub(super) partial: Option<PartialDeposit>,
    /// The copy that is to be made of it.
    pub(super) copy: Option<Wanted>,
}

/// What came of a piece of a body.
enum Taken {
    /// There is more to come.
    More,
    /// The same, and whoever reads sets the pace: it is too large to be stored.
    Passing,
    /// It was the end.
    End(Result<(), ErrorKind>),
}

impl Pump {
    /// The same for a refresh, which nobody reads: it is for whoever comes next. One that drips
    /// must not hold its flight for ever.
    pub(super) fn unread(mut self: Box<Self>) -> Box<Self> {
        self.grace = self.grace.max(LONGEST_REFRESH);
        self.graces = None;
        self
    }

    /// Takes what has come of the body by now, which is all of it if that is small. What is left to
    /// do is for [`Pump::run`]; `None` if that is nothing.
    pub(super) fn advance(mut self: Box<Self>, cx: &mut Context<'_>) -> Option<Box<Self>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return Some(self);
            };
            match take(frame, &self.writer, &mut self.charge, &mut self.trailers) {
                Taken::More => {}
                Taken::Passing => return Some(self),
                Taken::End(end) => {
                    let Self { writer, charge, trailers, leader, deposit, .. } = *self;
                    finish(end, writer, charge, trailers, leader, deposit);
                    return None;
                }
            }
        }
    }

    /// Runs until the body has ended, failed, or is wanted no more.
    pub(super) async fn run(self: Box<Self>) {
        let Self { mut body, writer, mut charge, mut trailers, mut leader, deposit, .. } = *self;
        let end = {
            // Made once: a body that drips does not begin the grace anew with every drop.
            let unread = writer.abandoned(self.grace, self.graces.as_deref());
            let stale = sleep(self.fresh_for.unwrap_or(Duration::MAX).min(LONGEST_FLIGHT));
            tokio::pin!(unread, stale);
            let mut passes = writer.is_passing();
            loop {
                if passes {
                    if let Some(mut leader) = leader.take() {
                        leader.leave_fleet(Ending::Apart(None));
                    }
                    if !writer.room(&mut charge).await {
                        return;
                    }
                }
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
                passes = match take(frame, &writer, &mut charge, &mut trailers) {
                    Taken::More => false,
                    Taken::Passing => true,
                    Taken::End(end) => break end,
                };
            }
        };
        finish(end, writer, charge, trailers, leader, deposit);
    }
}

/// Adds what came of a body to its fill.
fn take(
    frame: Option<Result<Frame<Piece>, ProxyError>>,
    writer: &FillWriter<Filling>,
    charge: &mut Charge,
    trailers: &mut Option<HeaderMap>,
) -> Taken {
    let frame = match frame {
        None => return Taken::End(Ok(())),
        Some(Err(error)) => return Taken::End(Err(error.kind)),
        Some(Ok(frame)) => frame,
    };
    match frame.into_data() {
        Ok(data) if writer.append(data.chunk(), charge) == Appended::PassThrough => Taken::Passing,
        Ok(_) => Taken::More,
        Err(frame) => {
            *trailers = frame.into_trailers().ok().map(for_all);
            Taken::More
        }
    }
}

/// Tells the readers and the followers how the body ended, and stores it if it is whole.
fn finish(
    end: Result<(), ErrorKind>,
    writer: FillWriter<Filling>,
    charge: Charge,
    trailers: Option<HeaderMap>,
    mut leader: Option<FlightLeader>,
    deposit: Deposit,
) {
    if let Err(kind) = end {
        let failed = Failed::NoResponse(kind);
        deposit.failed(failed);
        writer.fail(kind);
        return tell(leader, FlightOutcome::Failed(failed));
    }
    let settled = match writer.finish(trailers, charge) {
        Finished::Whole(blocks) => {
            deposit.store(blocks, leader.as_mut().and_then(FlightLeader::take_lease))
        }
        Finished::Passed => false,
    };
    // Only now: who comes next finds either the flight or the stored response.
    tell(leader, if settled { FlightOutcome::Settled } else { FlightOutcome::NotShareable });
}

/// Trailers as all who read may have them: a cookie is nobody's there (RFC 9110 §6.5.1).
fn for_all(mut trailers: HeaderMap) -> HeaderMap {
    trailers.remove(SET_COOKIE);
    trailers
}

/// How long others may join a flight at most, however long its response is fresh.
const LONGEST_FLIGHT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a refresh may take that nobody reads.
const LONGEST_REFRESH: Duration = Duration::from_secs(5 * 60);

fn tell(leader: Option<FlightLeader>, outcome: FetchOutcome) {
    if let Some(mut leader) = leader {
        leader.announce(outcome);
    }
}

impl Deposit {
    /// The body did not come whole: what is stored stays.
    fn failed(&self, failed: Failed) {
        if let Some(began) = self.replaces_since {
            self.shared.remember_failure(&self.key, self.variant, failed, began);
        }
    }

    /// Stores the body if it is worth it, and hands on the lease that it was fetched under; `false` where it is not what was announced, or a purge
    /// forbids it.
    fn store(self, blocks: Arc<Blocks>, lease: Option<Lease>) -> bool {
        let Self { shared, key, head, stamp, began, useless_at, partial, instead_of, copy, .. } =
            self;
        let content = match partial {
            None => Some(Content::Whole(blocks)),
            Some(partial) => partial.combine(&head, blocks),
        };
        let sealed =
            content.and_then(|content| shared.seal(&key, head, content, stamp, useless_at));
        sealed.is_some_and(|sealed| {
            let now = shared.clock.now();
            let insertion = shared.memory.insert(&key, &sealed, now);
            if let Some((key, stored)) = instead_of {
                shared.remove(&key, &stored);
            }
            if insertion != Insertion::Purged
                && let (Some(began), Some(tier)) = (began, &shared.tier)
            {
                tier.offer(&key, &sealed, began, lease);
            }
            if insertion == Insertion::Stored
                && let Some(copy) = copy
            {
                shared.begin_with(&key, &sealed, &copy);
            }
            insertion != Insertion::Purged
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
        stamp: Stamp,
        useless_at: Timestamp,
    ) -> Option<Arc<StoredResponse>> {
        self.seal_with(key, head, content, stamp, useless_at, Copies::default())
    }

    /// The same with copies of it.
    pub(super) fn seal_with(
        &self,
        key: &CacheKey,
        head: StoredHead,
        content: Content,
        stamp: Stamp,
        useless_at: Timestamp,
        copies: Copies,
    ) -> Option<Arc<StoredResponse>> {
        let cost = StoredResponse::cost(&head, &stamp, key.as_str().len()) + copies.cost();
        let charge = self.memory.charge(cost)?;
        let sealed = StoredResponse::new(key, head, content, stamp, useless_at, charge);
        Some(Arc::new(sealed.with_copies(copies)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http::{HeaderMap, Method, StatusCode};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::time::{Instant, interval};
    use tokio_util::task::TaskTracker;

    use super::super::fill::{Fill, Limits};
    use super::*;
    use crate::clock::Clock;
    use crate::error::ProxyError;
    use crate::limit::Limit;
    use crate::policy::{Overrides, RequestFacts, ResponseTimes};
    use crate::store::{self, Memory};

    /// A pump whose body brings a byte each second, for ever.
    fn dripping(grace: Duration) -> Box<Pump> {
        let drops = stream::unfold(interval(Duration::from_secs(1)), |mut pace| async {
            pace.tick().await;
            Some((Ok::<_, ProxyError>(Frame::data(Bytes::from_static(b"x"))), pace))
        });
        let memory = Memory::new(&store::Config::default());
        let charge = memory.charge(0).expect("room for nothing");
        let shared =
            Arc::new(Shared::new(memory, Clock::System, TaskTracker::new(), Limit::new(9)));
        let fields = HeaderMap::new();
        let facts = RequestFacts::new(&Method::GET, &fields, false);
        let now = shared.clock.now();
        let times = ResponseTimes { request_at: now, response_at: now };
        let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
        let limits = Limits { max_object_size: 1 << 20, window: 1 << 16, stall_timeout: grace };
        let filling = Filling { head: head.clone(), stamp: Stamp::new(0, None) };
        let (_fill, writer) = Fill::new(filling, None, limits);
        let key = crate::key::Target::parse("http://h/").expect("a URL").key();
        let deposit = Deposit {
            shared,
            key,
            variant: 0,
            head,
            stamp: Stamp::new(0, None),
            began: None,
            replaces_since: None,
            instead_of: None,
            useless_at: now,
            partial: None,
            copy: None,
        };
        let body = Body::stream(StreamBody::new(drops));
        Box::new(Pump {
            body,
            writer,
            charge,
            trailers: None,
            leader: None,
            fresh_for: None,
            grace,
            graces: None,
            deposit,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_and_that_nobody_reads_comes_to_an_end() {
        let grace = Duration::from_secs(10);
        for (pump, expected) in
            [(dripping(grace), grace), (dripping(grace).unread(), LONGEST_REFRESH)]
        {
            let before = Instant::now();
            pump.run().await;
            assert_eq!(before.elapsed().as_secs(), expected.as_secs());
        }
    }
}
