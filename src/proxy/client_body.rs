//! A client's request body on its way to an origin: bounded in bytes and in silence.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::Limits;
use crate::error::{ErrorKind, ProxyError};
use crate::headers;

/// A request body that keeps its bounds.
#[derive(Debug)]
pub(super) struct ClientBody {
    incoming: Incoming,
    /// Bytes that may still come.
    left: u64,
    pause: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, limits: &Limits) -> Self {
        Self {
            incoming,
            left: limits.max_body_bytes.unwrap_or(u64::MAX),
            pause: limits.body_timeout,
            deadline: Box::pin(sleep(limits.body_timeout)),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(ErrorKind::ClientTimeout.into())));
        };
        this.deadline.as_mut().reset(Instant::now() + this.pause);
        let Some(frame) = frame else { return Poll::Ready(None) };
        Poll::Ready(Some(match frame {
            Ok(mut frame) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_from_trailers(trailers);
                }
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
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
