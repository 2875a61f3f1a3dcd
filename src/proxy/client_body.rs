//! A client's request body on its way to an origin: bounded in bytes and in silence.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::Limits;
use crate::error::{ErrorKind, ProxyError, Source};
use crate::headers;

/// A request body that keeps its bounds.
///
/// Only the time counts in which the client lets us wait, not that in which the origin does.
#[derive(Debug)]
pub(super) struct ClientBody<B = Incoming> {
    incoming: B,
    /// Bytes that may still come, and that have come.
    left: u64,
    received: u64,
    pause: Duration,
    min_rate: Option<NonZeroU32>,
    /// How long the client was waited for, and since when it is.
    waited: Duration,
    waits_since: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
}

impl<B> ClientBody<B> {
    pub(super) fn new(incoming: B, limits: &Limits) -> Self {
        Self {
            incoming,
            left: limits.max_body_bytes.unwrap_or(u64::MAX),
            received: 0,
            pause: limits.body_timeout,
            min_rate: limits.min_rate,
            waited: Duration::ZERO,
            waits_since: None,
            deadline: Box::pin(sleep(limits.body_timeout)),
        }
    }

    /// Ready when the client has been waited for too long: since its last byte, or in all for what
    /// it has sent. A byte now and then would otherwise hold the request for ever.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waits_since.is_none() {
            let now = Instant::now();
            self.waits_since = Some(now);
            let in_all = self.min_rate.map_or(Duration::MAX, |rate| {
                self.pause + Duration::from_secs(self.received / u64::from(rate.get()))
            });
            let left = in_all.saturating_sub(self.waited).min(self.pause);
            self.deadline.as_mut().reset(now + left);
        }
        self.deadline.as_mut().poll(cx)
    }
}

impl<B> Body for ClientBody<B>
where
    B: Body<Data = Bytes, Error: Into<Source>> + Unpin,
{
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.poll_deadline(cx));
            return Poll::Ready(Some(Err(ErrorKind::ClientTimeout.into())));
        };
        if let Some(since) = this.waits_since.take() {
            this.waited += since.elapsed();
        }
        let Some(frame) = frame else { return Poll::Ready(None) };
        Poll::Ready(Some(match frame {
            Ok(mut frame) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_forbidden_trailers(trailers);
                }
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.received += length;
                match this.left.checked_sub(length) {
                    Some(left) => {
                        this.left = left;
                        Ok(frame)
                    }
                    None => Err(ErrorKind::BodyTooLarge.into()),
                }
            }
            Err(error) => Err(ProxyError::with_source(ErrorKind::ClientAborted, error)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::timeout;

    use super::*;

    /// How long a body of these pieces, each after a pause, is read, and how it ends.
    async fn read(pieces: Vec<(u64, usize)>) -> (Duration, Option<ErrorKind>) {
        let pieces = stream::iter(pieces);
        let frames = futures_util::StreamExt::then(pieces, async |(pause, length)| {
            let _ = timeout(Duration::from_secs(pause), pending::<()>()).await;
            Ok::<_, ProxyError>(Frame::data(Bytes::from(vec![b'x'; length])))
        });
        let body = ClientBody::new(StreamBody::new(Box::pin(frames)), &Limits::default());
        let before = Instant::now();
        let ended = body.collect().await;
        (before.elapsed(), ended.err().map(|error| error.kind))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_pause_but_not_drip_for_ever() {
        let timed_out = Some(ErrorKind::ClientTimeout);
        let seconds = Duration::from_secs;
        assert_eq!(read(vec![(1, 1), (59, 1)]).await, (seconds(60), None));
        assert_eq!(read(vec![(61, 1)]).await, (seconds(60), timed_out));
        assert_eq!(read(vec![(50, 1); 100]).await, (seconds(60), timed_out));
        // A hundred bytes a second are enough, however they come.
        assert_eq!(read(vec![(50, 5000); 20]).await, (seconds(1000), None));
    }
}
