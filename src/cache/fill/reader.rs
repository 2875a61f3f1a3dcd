//! One reader of a fill.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::state::Next;
use super::{End, Fill};
use crate::body::BlocksBody;
use crate::error::{ErrorKind, ProxyError};

/// Reads a fill from some position on, as it grows; leaves when dropped.
#[derive(Debug)]
pub struct FillReader<H> {
    fill: Arc<Fill<H>>,
    id: usize,
    position: u64,
    /// Where to stop; `None` reads to the end and passes the trailers.
    end: Option<u64>,
    rest: Rest,
}

/// What is left to do.
#[derive(Debug)]
enum Rest {
    /// Follow the writer.
    Follow,
    /// The body is whole: no more lock.
    Blocks(BlocksBody, Option<HeaderMap>),
    Done,
}

impl<H> FillReader<H> {
    pub(super) fn new(fill: Arc<Fill<H>>, id: usize, start: u64, end: Option<u64>) -> Self {
        Self { fill, id, position: start, end, rest: Rest::Follow }
    }

    fn stop_at(&self) -> u64 {
        self.end.unwrap_or(u64::MAX)
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Option<Frame<Bytes>> {
        self.rest = Rest::Done;
        trailers.filter(|_| self.end.is_none()).map(Frame::trailers)
    }

    fn fail(&mut self, kind: ErrorKind) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        self.rest = Rest::Done;
        Poll::Ready(Some(Err(kind.into())))
    }
}

impl<H> Body for FillReader<H> {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = &mut *self;
        loop {
            match &mut this.rest {
                Rest::Done => return Poll::Ready(None),
                Rest::Blocks(blocks, trailers) => {
                    if let Some(data) = blocks.next() {
                        return Poll::Ready(Some(Ok(Frame::data(data.into_bytes()))));
                    }
                    let trailers = trailers.take();
                    return Poll::Ready(this.finish(trailers).map(Ok));
                }
                Rest::Follow => {}
            }
            if this.position >= this.stop_at() {
                this.rest = Rest::Done;
                continue;
            }
            let next = this.fill.lock().next(this.id, this.position, this.stop_at(), cx.waker());
            match next {
                Next::Data(data) => {
                    this.position += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Next::Whole(blocks, trailers) => {
                    let body = BlocksBody::range(blocks, this.position, this.stop_at());
                    this.rest = Rest::Blocks(body, trailers);
                }
                Next::End(End::Whole(trailers)) => {
                    return Poll::Ready(this.finish(trailers).map(Ok));
                }
                Next::End(End::Failed(kind)) => return this.fail(kind),
                Next::Cut => return this.fail(ErrorKind::ReaderStalled),
                Next::Wait => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.rest, Rest::Done) || self.position >= self.stop_at()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.end, self.fill.length) {
            (Some(end), _) => SizeHint::with_exact(end.saturating_sub(self.position)),
            (None, Some(length)) => SizeHint::with_exact(length.saturating_sub(self.position)),
            (None, None) => SizeHint::default(),
        }
    }
}

impl<H> Drop for FillReader<H> {
    fn drop(&mut self) {
        self.fill.lock().leave(self.id);
    }
}
