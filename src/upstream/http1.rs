//! An HTTP/1 connection, and who drives it.
//!
//! Mostly that is whoever waits for an answer: a task would have to be woken for each request, and to
//! wake the one that waits for each answer. What goes on while nobody waits, an upload after an early
//! answer or a tunnel, has a task. At rest a connection is driven by nobody; what has come meanwhile is
//! found before the next request is sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::connect::{Meter, Metered};
use super::upload::UploadBody;

type Sender = http1::SendRequest<UploadBody>;
type Io = http1::Connection<TokioIo<Metered>, UploadBody>;

/// How many fields an HTTP/1 connection takes of one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breadth {
    /// As many as the HTTP library parses without allocating for it: nearly all responses.
    Usual,
    /// As many as are taken at all: each response costs 16 KiB of writing before it is read.
    Wide,
}

/// Counts a wide connection for as long as it is there.
#[derive(Debug)]
pub(super) struct Wide(Arc<AtomicUsize>);

impl Wide {
    pub(super) fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An HTTP/1 connection, for one exchange at a time. Dropping it closes it at once, whatever it is
/// blocked on.
#[derive(Debug)]
pub(super) struct Http1 {
    sender: Sender,
    driver: Driver,
    meter: Arc<Meter>,
    /// Whether it has served a request.
    pub(super) reused: bool,
    wide: Option<Wide>,
    /// The name that TLS verified; `None` without TLS.
    name: Option<Arc<str>>,
}

impl Http1 {
    pub(super) fn new(
        (sender, io): (Sender, Io),
        meter: Arc<Meter>,
        wide: Option<Wide>,
        name: Option<Arc<str>>,
    ) -> Self {
        Self { sender, driver: Driver::new(io), meter, reused: false, wide, name }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn breadth(&self) -> Breadth {
        if self.wide.is_some() { Breadth::Wide } else { Breadth::Usual }
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Who drives it while an answer is waited for, and what is seen of that.
    pub(super) fn parts(&mut self) -> (&mut Driver, &Meter) {
        (&mut self.driver, &self.meter)
    }

    /// Whether it can serve a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Begins an exchange. What is returned is polled by way of [`Driver::poll`].
    pub(super) fn send(
        &mut self,
        request: Request<UploadBody>,
        uploads: bool,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<UploadBody>>>> + use<>
    {
        self.meter.begin(uploads);
        self.sender.try_send_request(request)
    }

    /// The next of an answer's body: what has been read already, and else what has come since.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut next = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
        match self.driver.quietly(cx, &mut next) {
            Poll::Pending => self.driver.poll(cx, next),
            Poll::Ready(frame) => Poll::Ready(frame),
        }
    }

    /// Waits until it can serve another request; `false` if it never will.
    pub(super) async fn settled(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        poll_fn(|cx| driver.poll(cx, |cx| sender.poll_ready(cx))).await.is_ok()
    }

    /// Notices what has come of a connection at rest; whether it can still serve.
    pub(super) fn look(&mut self) -> bool {
        self.driver.look();
        !self.is_closed()
    }

    /// From here on it goes on by itself, whether anybody waits or not.
    pub(super) fn run_alone(&mut self) {
        self.driver = match std::mem::replace(&mut self.driver, Driver::Nobody) {
            Driver::Waiter(Waiter { io, .. }) => {
                // The exchange hears of an error itself; the task ends when the connection does.
                let task = tokio::spawn(async move {
                    let _ = io.with_upgrades().await;
                });
                Driver::Task(task.abort_handle())
            }
            driver => driver,
        };
    }

    /// Lets the connection end by itself: with the tunnel that it has become, or, when it is at
    /// rest, in order (TLS says goodbye).
    pub(super) fn let_go(mut self) {
        self.run_alone();
        self.driver = Driver::Nobody;
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        if let Driver::Task(task) = &self.driver {
            task.abort();
        }
    }
}

/// Who polls a connection.
pub(super) enum Driver {
    /// Whoever waits for something of it.
    Waiter(Waiter),
    /// A task.
    Task(AbortHandle),
    /// It is over, or is let go.
    Nobody,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiter(_) => "Waiter",
            Self::Task(_) => "Task",
            Self::Nobody => "Nobody",
        })
    }
}

/// The means to drive a connection.
pub(super) struct Waiter {
    io: Box<Io>,
    relay: Arc<Relay>,
    /// Wakes `relay`.
    waker: Waker,
}

impl Driver {
    fn new(io: Io) -> Self {
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(Arc::clone(&relay));
        Self::Waiter(Waiter { io: Box::new(io), relay, waker })
    }

    /// Polls the connection, and then what it has to bring.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self::Waiter(Waiter { io, relay, waker }) = self else { return poll(cx) };
        let mut relayed = Context::from_waker(waker);
        relay.mute();
        if Pin::new(io).poll(&mut relayed).is_ready() {
            // Dropped first: whoever waits for what it still held is told so.
            *self = Self::Nobody;
            return poll(cx);
        }
        let polled = poll(&mut relayed);
        if polled.is_pending() {
            relay.pass_to(cx.waker());
        }
        polled
    }

    /// Polls what a connection has brought already. Where that is nothing, the connection is polled
    /// next: nobody is woken before that.
    fn quietly<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self::Waiter(Waiter { relay, waker, .. }) = self else { return poll(cx) };
        relay.mute();
        poll(&mut Context::from_waker(waker))
    }

    fn look(&mut self) {
        if let Self::Waiter(Waiter { io, waker, .. }) = self
            && Pin::new(io).poll(&mut Context::from_waker(waker)).is_ready()
        {
            *self = Self::Nobody;
        }
    }
}

/// Wakes whoever waits, and nobody while a connection is being polled or is at rest: its two halves
/// wake each other with every message, and the one that used it last would be woken for the next.
#[derive(Default)]
struct Relay {
    waiting: AtomicWaker,
    /// Something happened since [`Relay::mute`].
    woken: AtomicBool,
}

impl Relay {
    fn mute(&self) {
        self.waiting.take();
        self.woken.store(false, Ordering::Release);
    }

    /// Wakes `waker` from here on, and at once for what happened meanwhile.
    fn pass_to(&self, waker: &Waker) {
        self.waiting.register(waker);
        if self.woken.load(Ordering::Acquire) {
            self.waiting.wake();
        }
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.waiting.wake();
    }
}
