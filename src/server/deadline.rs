//! Drives a hyper connection and holds it to its deadlines.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::pulse::{Due, Pulse};
use crate::shutdown::Shutdown;

/// How long a connection that was told to end may take to do so once it has no request.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a connection that has not brought a request yet may still bring one during a drain:
/// its client has connected, and its request is likely on the way.
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(1);

/// A hyper connection that can be asked to end.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Finishes what is under way and accepts nothing more.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// hyper ended it.
    Closed(hyper::Result<()>),
    /// It was cut: a request's head or a write took too long.
    TimedOut {
        /// What took too long.
        due: Due,
    },
    /// It was told to end, and its peer did not follow.
    Abandoned,
    /// It had no request, and others need its place.
    Dismissed,
}

pin_project! {
    /// A connection with its deadlines.
    ///
    /// There is one timer. It is set back only when an earlier deadline appears, and looks at the
    /// pulse when it fires, so a busy connection costs the timer wheel nothing.
    pub(super) struct Driven<C, D> {
        #[pin]
        connection: C,
        #[pin]
        timer: Sleep,
        #[pin]
        draining: D,
        state: State,
    }
}

struct State {
    pulse: Arc<Pulse>,
    limits: Arc<Limits>,
    shutdown: Shutdown,
    /// Whether the wake-up of a drain is registered.
    registered: bool,
    /// When the timer will fire, if it is set.
    armed: Option<Instant>,
    /// Until when a connection without a request may still bring its first.
    last_request: Option<Instant>,
    /// When the connection was told to end.
    told: Option<Instant>,
}

/// Drives `connection` until it ends.
pub(super) fn drive<C: Graceful>(
    connection: C,
    pulse: Arc<Pulse>,
    limits: Arc<Limits>,
    shutdown: Shutdown,
) -> impl Future<Output = End> {
    Driven {
        connection,
        timer: sleep_until(Instant::now()),
        draining: shutdown.draining(),
        state: State {
            pulse,
            limits,
            shutdown,
            registered: false,
            armed: None,
            last_request: None,
            told: None,
        },
    }
}

/// What a deadline demands.
enum Verdict {
    Wait(Option<Instant>),
    Finish,
    Cut(End),
}

impl<C: Graceful, D: Future<Output = ()>> Future for Driven<C, D> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let mut this = self.project();
        loop {
            if this.state.pulse.is_active() && this.state.must_finish() {
                // Before the answer is written, so that it can say that it is the last.
                this.state.told = Some(Instant::now());
                this.connection.as_mut().graceful_shutdown();
            }
            // Otherwise after a poll: a request that has already arrived is still served.
            if let Poll::Ready(result) = this.connection.as_mut().poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            if !this.state.registered {
                // Once: a task's waker stays the same, and polling takes a lock of all workers.
                this.state.registered = true;
                let _ = pin!(unconstrained(this.draining.as_mut())).poll(cx);
                this.state.pulse.woken_by(cx.waker());
            }
            match this.state.judge() {
                Verdict::Cut(end) => return Poll::Ready(end),
                Verdict::Finish => {
                    this.state.told = Some(Instant::now());
                    this.connection.as_mut().graceful_shutdown();
                }
                Verdict::Wait(None) => return Poll::Pending,
                Verdict::Wait(Some(deadline)) => {
                    ready!(this.state.poll_timer(this.timer.as_mut(), deadline, cx));
                }
            }
        }
    }
}

impl State {
    /// Whether a drain has begun that the connection was not told of.
    fn must_finish(&self) -> bool {
        self.told.is_none() && self.shutdown.is_draining()
    }

    /// Ready when the timer has fired, for this deadline or an earlier one.
    fn poll_timer(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.armed.is_none_or(|armed| deadline < armed) {
            timer.as_mut().reset(deadline);
            self.armed = Some(deadline);
            // Unconstrained: a task whose budget is spent would be told to come again, and the
            // waker would not be registered.
            ready!(pin!(unconstrained(timer)).poll(cx));
        } else if !timer.is_elapsed() {
            // Its waker is registered already.
            return Poll::Pending;
        }
        self.armed = None;
        Poll::Ready(())
    }

    fn judge(&mut self) -> Verdict {
        if self.pulse.is_dismissed() && self.pulse.spare_since().is_some() {
            return Verdict::Cut(End::Dismissed);
        }
        if self.must_finish() {
            if self.pulse.has_served() {
                return Verdict::Finish;
            }
            self.last_request.get_or_insert_with(|| Instant::now() + LAST_REQUEST);
        }
        let Some((deadline, due)) = self.deadline() else { return Verdict::Wait(None) };
        // Where the timer is set for this deadline or an earlier one, it will tell.
        let may_have_passed = self.armed.is_none_or(|armed| armed > deadline);
        if !may_have_passed || Instant::now() < deadline {
            return Verdict::Wait(Some(deadline));
        }
        match due {
            Some(Due::Idle) => Verdict::Finish,
            Some(due) => Verdict::Cut(End::TimedOut { due }),
            None if self.told.is_some() => Verdict::Cut(End::Abandoned),
            None => Verdict::Finish,
        }
    }

    /// The next deadline, and what of the pulse is due then; `None` where it is the end that is.
    fn deadline(&self) -> Option<(Instant, Option<Due>)> {
        let pulse = self.pulse.deadline(&self.limits);
        let pulse = pulse.map(|(at, due)| (at, Some(due)));
        match (self.told, self.last_request) {
            // Being idle is no longer a matter, but ending is, once all is written.
            (Some(told), _) => match pulse {
                Some((_, Some(Due::Write))) | None => pulse,
                // Of an HTTP/2 client whose other requests are under way.
                Some((_, Some(Due::Head))) if self.pulse.is_active() => pulse,
                Some(_) => Some((told.max(self.pulse.idle_since()) + FAREWELL, None)),
            },
            (None, Some(last)) if !self.pulse.has_served() => {
                Some(pulse.filter(|&(at, _)| at <= last).unwrap_or((last, None)))
            }
            (None, _) => pulse,
        }
    }
}
