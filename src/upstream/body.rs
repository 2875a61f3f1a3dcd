//! The body of an origin's response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::Job;
use super::failure;
use super::http1::Http1;
use super::pool::{StreamGuard, Upstream};
use super::queue::Place;
use super::upload::Upload;
use crate::error::{ErrorKind, ProxyError};
use crate::headers;

/// The body of an origin's response, with its timeouts.
///
/// Its end is an end: what is cut short fails with `BodyTruncated` (RFC 9112 §8). Dropping it
/// early closes the HTTP/1 connection or resets the HTTP/2 stream. Trailers are passed, but for
/// those that may not be any.
#[derive(Debug)]
pub struct OriginBody {
    incoming: Incoming,
    hold: Hold,
    upload: Option<Arc<Upload>>,
    between_bytes: Duration,
    deadline: Option<Instant>,
    /// Since when the reader waits for bytes; `None` while it doesn't.
    waiting_since: Option<Instant>,
    /// Made at the first wait, and moved on only when it fires: a body that flows sets no timers.
    timer: Option<Pin<Box<Sleep>>>,
    /// `Content-Length` tells of content that isn't there: `HEAD`, 304 (RFC 9110 §8.6).
    is_bodiless: bool,
    is_over: bool,
    /// Among the requests that the origin may have at once.
    place: Option<Place>,
}

/// What a body has of its connection.
#[derive(Debug)]
pub(super) enum Hold {
    /// It is over, or a tunnel's.
    Nothing,
    /// All of it.
    Http1 { upstream: Arc<Upstream>, connection: Http1, keep: Duration },
    /// A stream.
    Http2 { _stream: StreamGuard },
}

impl OriginBody {
    /// In a box from the start: it is large, and on its way out is moved often.
    pub(super) fn new(
        job: &Job,
        incoming: Incoming,
        status: StatusCode,
        hold: Hold,
        upload: Option<Arc<Upload>>,
    ) -> Box<Self> {
        let mut body = Box::new(Self {
            incoming,
            hold,
            upload,
            between_bytes: job.upstream.config.between_bytes_timeout,
            deadline: job.deadline,
            waiting_since: None,
            timer: None,
            is_bodiless: job.plan.is_head() || status == StatusCode::NOT_MODIFIED,
            is_over: false,
            place: None,
        });
        if body.incoming.is_end_stream() {
            body.complete();
        }
        body
    }

    /// The same, with the place that its request has at the origin until it is over.
    pub(super) fn holding(mut self: Box<Self>, place: Place) -> Box<Self> {
        self.place = (!self.is_over).then_some(place);
        self
    }

    /// The body was read whole: its connection may serve another request.
    fn complete(&mut self) {
        self.is_over = true;
        self.timer = None;
        self.place = None;
        if let Hold::Http1 { upstream, connection, keep } =
            std::mem::replace(&mut self.hold, Hold::Nothing)
        {
            upstream.give_back(connection, keep);
        }
    }

    fn fail(&mut self, error: ProxyError) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        self.is_over = true;
        self.timer = None;
        self.place = None;
        self.hold = Hold::Nothing;
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        // An HTTP/2 stream that is reset with NO_ERROR ends without an error, wherever it stands;
        // only END_STREAM makes it whole (RFC 9113 §8.1).
        let is_cut = matches!(self.hold, Hold::Http2 { .. }) && !self.incoming.is_end_stream();
        let is_short = !self.is_bodiless && self.incoming.size_hint().lower() > 0;
        if is_cut || is_short {
            return self.fail(ErrorKind::BodyTruncated.into());
        }
        self.complete();
        Poll::Ready(None)
    }

    /// Whether a wait has lasted too long; registers for the moment when it will have.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<ErrorKind> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        loop {
            let between = since + self.between_bytes;
            let until = self.deadline.map_or(between, |deadline| deadline.min(between));
            if until <= Instant::now() {
                let total = self.deadline == Some(until);
                let kind =
                    if total { ErrorKind::TotalTimeout } else { ErrorKind::BetweenBytesTimeout };
                return Poll::Ready(kind);
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(until);
        }
    }
}

impl HttpBody for OriginBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        // A body that always has bytes ready would never come to the timer.
        if this.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return this.fail(ErrorKind::TotalTimeout.into());
        }
        let incoming = &mut this.incoming;
        let polled = match &mut this.hold {
            Hold::Http1 { connection, .. } => connection.poll_body(cx, incoming),
            Hold::Http2 { .. } | Hold::Nothing => Pin::new(incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.waiting_since = None;
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_forbidden_trailers(trailers);
                    if trailers.is_empty() {
                        // The end follows.
                        return self.poll_frame(cx);
                    }
                }
                if this.incoming.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = failure::of_body(error);
                if let Hold::Http1 { upstream, .. } = &this.hold
                    && error.kind == ErrorKind::BadResponse
                {
                    // Perhaps for the number of its trailer fields, which next time have room.
                    upstream.expect_many_fields();
                }
                this.fail(error)
            }
            Poll::Ready(None) => this.end(),
            Poll::Pending => match this.poll_timeout(cx) {
                Poll::Ready(kind) => this.fail(kind.into()),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for OriginBody {
    fn drop(&mut self) {
        // Without a reader of the answer, nobody needs the rest of the request to arrive.
        if let Some(upload) = &self.upload {
            upload.cancel();
        }
    }
}
