//! A request's body on its way to an origin, and what the exchange has to know of it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::OriginRequestBody;
use crate::body::BoxBody;
use crate::error::{ErrorKind, ProxyError};

/// How long content waits for the origin's `100 Continue` (RFC 9110 §10.1.1: a client "SHOULD NOT
/// wait for an indefinite period"). It is what curl and browsers wait.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// The state of one upload, shared by the body that the connection polls and the exchange.
#[derive(Debug)]
pub(super) struct Upload {
    gate: AtomicU8,
    connection: AtomicWaker,
    /// The connection wants content and the client has none ready.
    starved: AtomicBool,
    start: Instant,
    /// When content last moved, in milliseconds after `start`.
    moved: AtomicU64,
    /// Why the client's side failed, if it did.
    failure: OnceLock<ErrorKind>,
}

/// Whether content may flow.
mod gate {
    /// It may.
    pub(super) const OPEN: u8 = 0;
    /// Not before the origin says `100 Continue`, or time is up.
    pub(super) const AWAITING: u8 = 1;
    /// The final response came first and tells the client not to send.
    pub(super) const DENIED: u8 = 2;
    /// The exchange is over.
    pub(super) const CANCELLED: u8 = 3;
}

impl Upload {
    /// The origin wants the content: `100 Continue`, or a final response that is no refusal.
    pub(super) fn proceed(&self) {
        self.move_gate(gate::AWAITING, gate::OPEN);
    }

    /// The content isn't wanted any more: where it did not begin to flow, it never will.
    pub(super) fn deny(&self) {
        self.move_gate(gate::AWAITING, gate::DENIED);
    }

    /// Ends the upload with an error at its next poll.
    pub(super) fn cancel(&self) {
        self.gate.store(gate::CANCELLED, Ordering::Release);
        self.connection.wake();
    }

    /// Since when the origin has had all that there is to send; `None` while the client is slow.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let moved = Duration::from_millis(self.moved.load(Ordering::Acquire));
        (!self.starved.load(Ordering::Acquire)).then(|| self.start + moved)
    }

    /// Why the content failed, if it did. The connection's own error doesn't always tell.
    pub(super) fn failure(&self) -> Option<ErrorKind> {
        self.failure.get().copied()
    }

    fn move_gate(&self, from: u8, to: u8) {
        let moved = self.gate.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        if moved.is_ok() {
            self.connection.wake();
        }
    }

    fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Ordering::Release);
    }
}

/// The body that a connection polls: nothing, or a stream behind a gate.
#[derive(Default)]
pub(super) struct UploadBody(Option<Streaming>);

struct Streaming {
    content: BoxBody,
    upload: Arc<Upload>,
    /// Runs while the gate waits for `100 Continue`.
    patience: Option<Pin<Box<Sleep>>>,
}

impl UploadBody {
    /// The body of a request; content that is known to be empty is no body.
    pub(super) fn new(body: OriginRequestBody, expects_continue: bool) -> Self {
        let content = match body {
            OriginRequestBody::Stream(content) if !content.is_end_stream() => content,
            _ => return Self(None),
        };
        let upload = Arc::new(Upload {
            gate: AtomicU8::new(if expects_continue { gate::AWAITING } else { gate::OPEN }),
            connection: AtomicWaker::new(),
            starved: AtomicBool::new(false),
            start: Instant::now(),
            moved: AtomicU64::new(0),
            failure: OnceLock::new(),
        });
        Self(Some(Streaming { content, upload, patience: None }))
    }

    /// The upload's state; `None` where there is no content.
    pub(super) fn upload(&self) -> Option<&Arc<Upload>> {
        self.0.as_ref().map(|streaming| &streaming.upload)
    }
}

impl Streaming {
    /// Resolves when content may flow.
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        // Registered before the gate is read: a change between the two wakes.
        self.upload.connection.register(cx.waker());
        match self.upload.gate.load(Ordering::Acquire) {
            gate::OPEN => Poll::Ready(Ok(())),
            gate::AWAITING => {
                let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(CONTINUE_WAIT)));
                ready!(patience.as_mut().poll(cx));
                self.patience = None;
                self.upload.proceed();
                Poll::Ready(Ok(()))
            }
            gate::DENIED => Poll::Pending,
            _ => Poll::Ready(Err(ErrorKind::ClientAborted.into())),
        }
    }

    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if let Err(error) = ready!(self.poll_gate(cx)) {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = self.content.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            // A body is over with its first error, so there is only one.
            let _ = self.upload.failure.set(error.kind);
        }
        polled
    }
}

impl HttpBody for UploadBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let Some(streaming) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = streaming.poll_content(cx);
        if polled.is_ready() {
            streaming.upload.touch();
        }
        streaming.upload.starved.store(polled.is_pending(), Ordering::Release);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streaming| streaming.content.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(streaming) => streaming.content.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::task::Waker;

    fn body(expects_continue: bool) -> UploadBody {
        let content = Full::new(Bytes::from_static(b"abc")).map_err(|never| match never {});
        UploadBody::new(OriginRequestBody::Stream(Box::pin(content)), expects_continue)
    }

    fn poll(body: &mut UploadBody) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn content_waits_for_100_continue() {
        let mut body = body(true);
        assert!(poll(&mut body).is_pending());
        body.upload().expect("there is content").proceed();
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn content_does_not_wait_for_ever() {
        let before = Instant::now();
        let content = body(true).collect().await.expect("the content").to_bytes();
        assert_eq!(content, "abc");
        assert_eq!(before.elapsed(), CONTINUE_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn denied_content_never_flows_and_begun_content_is_not_denied() {
        let mut denied = body(true);
        denied.upload().expect("there is content").deny();
        assert!(poll(&mut denied).is_pending());
        let mut begun = body(false);
        begun.upload().expect("there is content").deny();
        assert!(matches!(poll(&mut begun), Poll::Ready(Some(Ok(_)))));
    }

    #[tokio::test]
    async fn a_cancelled_upload_is_an_error() {
        let mut body = body(false);
        body.upload().expect("there is content").cancel();
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn empty_content_is_no_body() {
        let empty = http_body_util::Empty::new().map_err(|never| match never {});
        let body = UploadBody::new(OriginRequestBody::Stream(Box::pin(empty)), true);
        assert!(body.upload().is_none() && body.is_end_stream());
    }
}
