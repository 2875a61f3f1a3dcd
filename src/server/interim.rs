//! Interim responses on HTTP/1.1, which hyper's server cannot send: a queue that the guard around
//! the socket writes between hyper's own messages.
//!
//! What makes it safe: hyper calls `poll_flush` on its socket only while its own write buffer is
//! empty, so when a flush completes the stream stands between two messages. Interim responses are
//! written then, or before the next byte of hyper's if none was written since.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;

use bytes::{BufMut, BytesMut};
use futures_util::task::AtomicWaker;
use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::context::{InterimSink, RequestId};

/// No request. One in 2^64 has this number: it gets no interim responses.
const NOBODY: u64 = 0;

/// Interim responses that one request may bring; the rest is dropped.
const MAX_HEADS: usize = 16;

/// Bytes of interim responses that one request may bring; what goes beyond is dropped.
const MAX_BYTES: usize = 32 * 1024;

/// Fields about the connection or a body; an interim response has neither to tell of.
const DROPPED: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::TE,
    header::UPGRADE,
];

/// The queue of one connection.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// The request whose final response has not begun; [`NOBODY`] where there is none, or where it
    /// is older than HTTP/1.1 and knows no interim responses (RFC 9110 §15.2).
    current: AtomicU64,
    /// The request that the queue takes interim responses for.
    open: AtomicU64,
    /// Whether `queue` has bytes, to be asked without its lock.
    waiting: AtomicBool,
    /// Something of hyper's has been written that may not be whole yet.
    dirty: AtomicBool,
    queue: Mutex<Queue>,
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    heads: usize,
    total: usize,
}

impl Interim {
    /// A request begins; `version_allows` is whether its HTTP version knows interim responses.
    pub(super) fn begin(&self, request: RequestId, version_allows: bool) {
        let current = if version_allows { request.0 } else { NOBODY };
        self.end(self.current.swap(current, Ordering::SeqCst));
        // Whether an earlier answer is still in hyper's buffer can't be seen from here; the next
        // completed flush tells.
        self.wrote();
    }

    /// Closes the queue if it is open for `request`.
    fn end(&self, request: u64) {
        // Most requests never open it: they pay for a load.
        if request != NOBODY && self.open.load(Ordering::SeqCst) == request {
            // Under the lock, so that what is being sent is either queued before this or dropped.
            let _queue = self.lock();
            self.open.store(NOBODY, Ordering::SeqCst);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// hyper is about to write: what has to go first, if the stream stands between messages.
    pub(super) fn before_write(&self) -> Option<BytesMut> {
        let clean = !self.dirty.load(Ordering::Relaxed);
        if clean && self.waiting.load(Ordering::Acquire) { self.take() } else { None }
    }

    /// hyper wrote something.
    pub(super) fn wrote(&self) {
        // A load is cheaper than a store to a shared line; most connections never open the queue.
        if !self.dirty.load(Ordering::Relaxed) {
            self.dirty.store(true, Ordering::Relaxed);
        }
    }

    /// hyper's messages are flushed: what is to be written now.
    pub(super) fn flushed(&self, cx: &Context<'_>) -> Option<BytesMut> {
        if self.dirty.load(Ordering::Relaxed) {
            self.dirty.store(false, Ordering::Relaxed);
        }
        if self.current.load(Ordering::SeqCst) == NOBODY {
            if self.waiting.load(Ordering::Acquire) {
                // The final response went first: these are too late.
                drop(self.take());
            }
            return None;
        }
        // Registered even while the queue is closed, since it is another task that opens it; and
        // before the look, so that a send after it wakes the connection.
        self.connection.register(cx.waker());
        if self.waiting.load(Ordering::Acquire) { self.take() } else { None }
    }

    fn take(&self) -> Option<BytesMut> {
        let mut queue = self.lock();
        self.waiting.store(false, Ordering::Release);
        let bytes = queue.bytes.split();
        (!bytes.is_empty()).then_some(bytes)
    }
}

impl InterimSink for Interim {
    fn open(&self, request: RequestId) {
        let is_current = || self.current.load(Ordering::SeqCst) == request.0;
        if request.0 == NOBODY || !is_current() {
            return;
        }
        let mut queue = self.lock();
        *queue = Queue::default();
        self.waiting.store(false, Ordering::Release);
        self.open.store(request.0, Ordering::SeqCst);
        // Another thread may have closed it since, and seen it not yet open.
        if !is_current() {
            self.open.store(NOBODY, Ordering::SeqCst);
        }
    }

    fn send(&self, request: RequestId, status: StatusCode, headers: &HeaderMap) {
        // 100 is hyper's to send, and 101 is a final response (RFC 9110 §15.2.2).
        let passes = status.is_informational()
            && status != StatusCode::CONTINUE
            && status != StatusCode::SWITCHING_PROTOCOLS;
        let is_open = || request.0 != NOBODY && self.open.load(Ordering::Acquire) == request.0;
        if !passes || !is_open() {
            return;
        }
        let head = encode(status, headers);
        let mut queue = self.lock();
        if !is_open() || queue.heads == MAX_HEADS || queue.total + head.len() > MAX_BYTES {
            return;
        }
        queue.heads += 1;
        queue.total += head.len();
        queue.bytes.unsplit(head);
        self.waiting.store(true, Ordering::Release);
        drop(queue);
        self.connection.wake();
    }

    fn close(&self, request: RequestId) {
        let closed =
            self.current.compare_exchange(request.0, NOBODY, Ordering::SeqCst, Ordering::SeqCst);
        if closed.is_ok() {
            self.end(request.0);
        }
    }
}

fn encode(status: StatusCode, headers: &HeaderMap) -> BytesMut {
    let mut head = BytesMut::with_capacity(256);
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| !DROPPED.contains(name)) {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;

    const REQUEST: RequestId = RequestId(1);
    const NEXT: RequestId = RequestId(2);

    fn hints() -> (StatusCode, HeaderMap) {
        let link = header::HeaderValue::from_static("</a.css>; rel=preload");
        (StatusCode::EARLY_HINTS, HeaderMap::from_iter([(header::LINK, link)]))
    }

    fn opened() -> Interim {
        let interim = Interim::default();
        interim.begin(REQUEST, true);
        interim.open(REQUEST);
        interim
    }

    #[test]
    fn nothing_goes_before_hyper_is_flushed() {
        let cx = Context::from_waker(noop_waker_ref());
        let interim = opened();
        let (status, headers) = hints();
        interim.send(REQUEST, status, &headers);
        assert!(interim.before_write().is_none(), "an earlier answer may be unflushed");
        let bytes = interim.flushed(&cx).expect("flushed and open");
        assert_eq!(bytes, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        interim.send(REQUEST, status, &headers);
        interim.close(REQUEST);
        assert!(interim.before_write().is_some(), "queued before the final response");
    }

    #[test]
    fn what_comes_too_late_is_dropped() {
        let cx = Context::from_waker(noop_waker_ref());
        let interim = opened();
        let (status, headers) = hints();
        interim.send(REQUEST, status, &headers);
        interim.close(REQUEST);
        interim.send(REQUEST, status, &headers);
        assert!(interim.flushed(&cx).is_none());
        interim.open(REQUEST);
        assert!(interim.flushed(&cx).is_none());
    }

    #[test]
    fn a_request_that_is_answered_is_answered() {
        let cx = Context::from_waker(noop_waker_ref());
        let (status, headers) = hints();
        let interim = opened();
        interim.close(REQUEST);
        interim.open(REQUEST);
        interim.send(REQUEST, status, &headers);
        assert!(interim.flushed(&cx).is_none(), "it can't be opened again");
        interim.begin(NEXT, true);
        interim.open(NEXT);
        interim.open(REQUEST);
        interim.send(REQUEST, status, &headers);
        interim.close(REQUEST);
        assert!(interim.flushed(&cx).is_none(), "nor bother the next");
        interim.send(NEXT, status, &headers);
        assert!(interim.flushed(&cx).is_some());
        interim.begin(REQUEST, true);
        interim.send(NEXT, status, &headers);
        assert!(interim.flushed(&cx).is_none(), "a beginning closes, too");
    }

    #[test]
    fn old_clients_final_statuses_and_floods_get_nothing() {
        let cx = Context::from_waker(noop_waker_ref());
        let interim = Interim::default();
        interim.begin(REQUEST, false);
        interim.open(REQUEST);
        let (status, headers) = hints();
        interim.send(REQUEST, status, &headers);
        assert!(interim.flushed(&cx).is_none());

        let interim = opened();
        for status in [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK] {
            interim.send(REQUEST, status, &headers);
        }
        assert!(interim.flushed(&cx).is_none());
        for _ in 0..100 {
            interim.send(REQUEST, status, &headers);
        }
        let one = encode(status, &headers).len();
        assert_eq!(interim.flushed(&cx).expect("some").len(), MAX_HEADS * one);
    }
}
