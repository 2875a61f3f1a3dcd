//! What a connection is doing, for its deadlines: shared by its socket, its requests and the
//! future that watches them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;
use super::frames::Offence;
use crate::context::Protocol;
use crate::telemetry::CoreMetrics;

/// No time.
const NEVER: u64 = 0;

/// A connection's state of life.
///
/// All of it is used by one task at a time (HTTP/2 streams excepted, which only count), so
/// relaxed order is enough. Times are nanoseconds after `base`, plus one.
#[derive(Debug)]
pub(super) struct Pulse {
    base: Instant,
    protocol: Protocol,
    metrics: Arc<CoreMetrics>,
    /// Requests whose response is not yet handed over whole.
    active: AtomicUsize,
    /// Whether a request has been seen at all.
    served: AtomicBool,
    /// Whether the last request had a body.
    body: AtomicBool,
    /// Whether the connection has left HTTP (RFC 9110 §15.2.2).
    switched: AtomicBool,
    /// Whether the connection's end is that of its last answer (RFC 9112 §6.3).
    ends_answer: AtomicBool,
    last_read: AtomicU64,
    /// When the head began that is being read.
    head_since: AtomicU64,
    idle_since: AtomicU64,
    stalled_since: AtomicU64,
    /// Since when something has always been left to write, and the bytes that went out since.
    behind_since: AtomicU64,
    caught_up: AtomicU64,
    /// Others need its place, as soon as it has no request.
    dismissed: AtomicBool,
    /// It speaks HTTP no more.
    ended: AtomicBool,
    /// Wakes the future that watches it.
    waker: OnceLock<Waker>,
    /// HTTP/2 only: why the connection was ended.
    offence: OnceLock<Offence>,
}

/// What a connection has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A request's head has to be complete.
    Head,
    /// A request has to begin.
    Idle,
    /// A write has to make progress.
    Write,
}

impl Pulse {
    /// A connection that was accepted at `base`.
    pub(super) fn new(base: Instant, protocol: Protocol, metrics: Arc<CoreMetrics>) -> Arc<Self> {
        Arc::new(Self {
            base,
            protocol,
            metrics,
            active: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            body: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            ends_answer: AtomicBool::new(false),
            last_read: AtomicU64::new(NEVER),
            head_since: AtomicU64::new(NEVER),
            idle_since: AtomicU64::new(NEVER),
            stalled_since: AtomicU64::new(NEVER),
            behind_since: AtomicU64::new(NEVER),
            caught_up: AtomicU64::new(0),
            dismissed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            waker: OnceLock::new(),
            offence: OnceLock::new(),
        })
    }

    pub(super) fn is_http2(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// Bytes came in; when, counted from the connection's start.
    pub(super) fn read(&self) -> Duration {
        let now = self.now();
        self.last_read.store(now, Relaxed);
        let waiting = self.protocol == Protocol::Http1 && self.active.load(Relaxed) == 0;
        if waiting && self.head_since.load(Relaxed) == NEVER {
            self.head_since.store(now, Relaxed);
        }
        after(now)
    }

    /// When bytes came in last.
    pub(super) fn last_read(&self) -> Duration {
        after(self.last_read.load(Relaxed))
    }

    /// HTTP/2 only: since when a header block is being read, if one is.
    pub(super) fn head_since(&self, since: Option<Duration>) {
        self.head_since.store(since.map_or(NEVER, count), Relaxed);
    }

    /// HTTP/2 only: the client has lost the connection.
    pub(super) fn offend(&self, offence: Offence) {
        let _ = self.offence.set(offence);
    }

    /// What the client did too much of.
    pub(super) fn offence(&self) -> Option<Offence> {
        self.offence.get().copied()
    }

    /// A write could not take a byte.
    pub(super) fn write_blocked(&self) {
        if self.stalled_since.load(Relaxed) == NEVER {
            let now = self.now();
            self.stalled_since.store(now, Relaxed);
            if self.behind_since.load(Relaxed) == NEVER {
                self.behind_since.store(now, Relaxed);
                self.caught_up.store(0, Relaxed);
            }
        }
    }

    /// A write took some bytes.
    pub(super) fn write_progressed(&self, bytes: usize) {
        if self.stalled_since.load(Relaxed) != NEVER {
            self.stalled_since.store(NEVER, Relaxed);
        }
        if self.behind_since.load(Relaxed) != NEVER {
            self.caught_up.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Nothing is left to write.
    pub(super) fn drained(&self) {
        if self.behind_since.load(Relaxed) != NEVER {
            self.stalled_since.store(NEVER, Relaxed);
            self.behind_since.store(NEVER, Relaxed);
        }
    }

    /// A request's head is complete. The time of it is that of the read that completed it.
    pub(super) fn begin(self: &Arc<Self>, body: bool) -> (Pass, std::time::Instant) {
        self.body.store(body, Relaxed);
        self.active.fetch_add(1, Relaxed);
        self.served.store(true, Relaxed);
        if self.protocol == Protocol::Http1 {
            self.head_since.store(NEVER, Relaxed);
        }
        self.metrics.request_started();
        let received = self.at(self.last_read.load(Relaxed));
        (Pass { pulse: Arc::clone(self) }, received.into_std())
    }

    /// Whether a request is under way.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Relaxed) > 0
    }

    /// Whether the last request had a body, some of which may be unread.
    pub(super) fn had_body(&self) -> bool {
        self.body.load(Relaxed)
    }

    /// Whether the connection has left HTTP.
    pub(super) fn has_switched(&self) -> bool {
        self.switched.load(Relaxed)
    }

    /// Whether nothing but the connection's end tells where its last answer ends.
    pub(super) fn ends_answer(&self) -> bool {
        self.ends_answer.load(Relaxed)
    }

    /// Whether a part of a request's head has come that was not completed.
    pub(super) fn has_begun_head(&self) -> bool {
        self.head_since.load(Relaxed) != NEVER
    }

    /// Whether a request has come at all.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    /// When the last request was over.
    pub(super) fn idle_since(&self) -> Instant {
        self.at(self.idle_since.load(Relaxed))
    }

    /// Whether it has come to a request yet, and since when it could be spared; `None` while it has
    /// something to do.
    pub(super) fn spare_since(&self) -> Option<(bool, Instant)> {
        let is_writing = self.stalled_since.load(Relaxed) != NEVER;
        if self.ended.load(Relaxed) || self.is_active() || is_writing {
            return None;
        }
        Some(match self.head_since.load(Relaxed) {
            NEVER if self.has_served() => (true, self.idle_since()),
            NEVER => (false, self.base),
            head => (false, self.at(head)),
        })
    }

    /// Ends the connection when it has no request.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Relaxed)
    }

    /// The connection speaks HTTP no more: it is over, or a tunnel.
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whom [`Pulse::dismiss`] wakes. A connection's task keeps its waker.
    pub(super) fn woken_by(&self, waker: &Waker) {
        let _ = self.waker.set(waker.clone());
    }

    /// What has to happen next, and by when.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Due)> {
        let stalled = self.stalled_since.load(Relaxed);
        let write = (stalled != NEVER).then(|| {
            let stall = self.at(stalled) + limits.write_timeout;
            (self.catch_up(limits).map_or(stall, |catch_up| catch_up.min(stall)), Due::Write)
        });
        let next = (!self.is_active()).then(|| self.next_request(limits));
        // While a response is being written its client is not idle yet.
        let due = write.or(next);
        // Other requests may be under way while an HTTP/2 client sends one more.
        due.into_iter().chain(self.head_open(limits)).min_by_key(|&(at, _)| at)
    }

    /// Until when a client that takes less than the least rate may go on: a byte now and then is
    /// progress, and would hold the connection for ever.
    fn catch_up(&self, limits: &Limits) -> Option<Instant> {
        let rate = u64::from(limits.min_rate?.get());
        let earned = Duration::from_secs(self.caught_up.load(Relaxed) / rate);
        Some(self.at(self.behind_since.load(Relaxed)) + limits.write_timeout + earned)
    }

    /// The deadline of an HTTP/2 header block that is being read.
    fn head_open(&self, limits: &Limits) -> Option<(Instant, Due)> {
        let head = self.head_since.load(Relaxed);
        (self.is_http2() && head != NEVER)
            .then(|| (self.at(head) + limits.header_timeout, Due::Head))
    }

    fn next_request(&self, limits: &Limits) -> (Instant, Due) {
        let head = self.head_since.load(Relaxed);
        if !self.has_served() {
            (self.base + limits.header_timeout, Due::Head)
        } else if head != NEVER {
            (self.at(head) + limits.header_timeout, Due::Head)
        } else {
            (self.idle_since() + limits.idle_timeout, Due::Idle)
        }
    }

    fn now(&self) -> u64 {
        count(self.base.elapsed())
    }

    fn at(&self, time: u64) -> Instant {
        self.base + after(time)
    }
}

/// A time as it is kept.
fn count(after: Duration) -> u64 {
    u64::try_from(after.as_nanos()).unwrap_or(u64::MAX - 1) + 1
}

/// A kept time, counted from the connection's start.
fn after(time: u64) -> Duration {
    Duration::from_nanos(time.saturating_sub(1))
}

/// A request under way; dropped when its response is over.
#[derive(Debug)]
pub(super) struct Pass {
    pulse: Arc<Pulse>,
}

impl Pass {
    /// Its answer is 101.
    pub(super) fn switches(&self) {
        self.pulse.switched.store(true, Relaxed);
    }

    /// Its answer ends with the connection.
    pub(super) fn ends_with_connection(&self) {
        self.pulse.ends_answer.store(true, Relaxed);
    }

    /// Whether it is one of several on its connection.
    pub(super) fn is_stream(&self) -> bool {
        self.pulse.is_http2()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let pulse = &self.pulse;
        pulse.metrics.request_finished();
        if pulse.active.fetch_sub(1, Relaxed) == 1 {
            pulse.idle_since.store(pulse.now(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_deadline() {
        let limits = Limits::default();
        let base = Instant::now();
        let pulse = Pulse::new(base, Protocol::Http1, Arc::default());
        let second = Duration::from_secs(1);
        assert_eq!(pulse.deadline(&limits), Some((base + limits.header_timeout, Due::Head)));

        tokio::time::advance(second).await;
        pulse.read();
        let (pass, received) = pulse.begin(false);
        assert_eq!(received, (base + second).into_std());
        assert_eq!(pulse.deadline(&limits), None);
        pulse.write_blocked();
        let write = base + second + limits.write_timeout;
        assert_eq!(pulse.deadline(&limits), Some((write, Due::Write)));
        pulse.write_progressed(1);
        assert_eq!(pulse.deadline(&limits), None);
        pulse.drained();

        drop(pass);
        let idle = base + second + limits.idle_timeout;
        assert_eq!(pulse.deadline(&limits), Some((idle, Due::Idle)));

        tokio::time::advance(second).await;
        pulse.read();
        tokio::time::advance(second).await;
        pulse.read();
        let head = base + 2 * second + limits.header_timeout;
        assert_eq!(pulse.deadline(&limits), Some((head, Due::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_hold_a_connection() {
        let limits = Limits::default();
        let base = Instant::now();
        let pulse = Pulse::new(base, Protocol::Http1, Arc::default());
        pulse.write_blocked();
        tokio::time::advance(limits.write_timeout / 2).await;
        pulse.write_progressed(99);
        pulse.write_blocked();
        assert_eq!(pulse.deadline(&limits), Some((base + limits.write_timeout, Due::Write)));
        // A hundred bytes are worth a second.
        pulse.write_progressed(901);
        pulse.write_blocked();
        let earned = base + limits.write_timeout + Duration::from_secs(10);
        assert_eq!(pulse.deadline(&limits), Some((earned, Due::Write)));
        // Who has taken all begins anew.
        pulse.write_progressed(1);
        pulse.drained();
        pulse.write_blocked();
        let anew = base + limits.write_timeout / 2 + limits.write_timeout;
        assert_eq!(pulse.deadline(&limits), Some((anew, Due::Write)));
        let unbounded = Limits { min_rate: None, ..limits };
        assert_eq!(pulse.deadline(&unbounded), Some((anew, Due::Write)));
    }
}
