//! Bodies on their way: what a request brings and what a response carries.

mod piece;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::budget::Charge;
use crate::error::ProxyError;
pub use piece::{Piece, Slice};

/// A body whose type is erased; for everything off the hit path.
pub type BoxBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = ProxyError> + Send>>;

/// A complete body in memory, in blocks, with the bytes it is charged for.
///
/// The charge is released when the last holder drops it: the store, a response being sent, or what
/// has been handed to its connection and is not written yet.
#[derive(Debug)]
pub struct Blocks {
    pieces: Pieces,
    /// None of blocks that are slices of others, which have it.
    _charge: Option<Charge>,
}

/// The bytes of [`Blocks`].
#[derive(Debug)]
enum Pieces {
    /// Most bodies are one piece, which needs no count of its own: who is sent some of it holds all
    /// of it. An empty one is none.
    One(Box<[u8]>),
    Many(Box<Many>),
}

#[derive(Debug)]
struct Many {
    pieces: Box<[Bytes]>,
    len: u64,
    /// Those that the pieces are slices of, if any.
    others: Box<[Arc<Blocks>]>,
}

impl Blocks {
    /// Blocks in order, none of them empty.
    #[must_use]
    pub fn new(pieces: impl IntoIterator<Item = Bytes>, charge: Option<Charge>) -> Self {
        let mut pieces = pieces.into_iter();
        let first = pieces.next().unwrap_or_default();
        let pieces = match pieces.next() {
            // Not copied, but where somebody else has it too.
            None => Pieces::One(Vec::from(first).into_boxed_slice()),
            Some(second) => Pieces::many([first, second].into_iter().chain(pieces), Box::default()),
        };
        Self { pieces, _charge: charge }
    }

    /// Blocks of pieces that are slices of `one` and `other`, and charged with them.
    #[must_use]
    pub fn joined(
        pieces: impl IntoIterator<Item = Bytes>,
        one: &Arc<Self>,
        other: &Arc<Self>,
    ) -> Self {
        let others = one.bases().iter().chain(other.bases()).cloned().collect();
        Self { pieces: Pieces::many(pieces, others), _charge: None }
    }

    /// Bytes kept in memory by these blocks: more than their length where joined ones overlapped.
    #[must_use]
    pub fn held(&self) -> u64 {
        match &self.pieces {
            Pieces::Many(many) if !many.others.is_empty() => {
                many.others.iter().map(|other| other.len()).sum()
            }
            _ => self.len(),
        }
    }

    /// The blocks that hold the charges: flat, however often blocks have been joined.
    fn bases(self: &Arc<Self>) -> &[Arc<Self>] {
        match &self.pieces {
            Pieces::Many(many) if !many.others.is_empty() => &many.others,
            _ => std::slice::from_ref(self),
        }
    }

    /// The bytes `start..end` as slices, clamped to what is there.
    #[must_use]
    pub fn slices(self: &Arc<Self>, start: u64, end: u64) -> Vec<Bytes> {
        let mut body = BlocksBody::range(Arc::clone(self), start, end);
        std::iter::from_fn(|| body.next()).map(Piece::into_bytes).collect()
    }

    /// The body's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.pieces {
            Pieces::One(piece) => piece.len() as u64,
            Pieces::Many(many) => many.len,
        }
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blocks, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        (0..).map_while(|index| self.piece(index))
    }

    /// The block with this number, if there are so many.
    #[must_use]
    pub fn piece(&self, index: usize) -> Option<&[u8]> {
        match &self.pieces {
            Pieces::One(piece) => (index == 0 && !piece.is_empty()).then_some(piece),
            Pieces::Many(many) => many.pieces.get(index).map(AsRef::as_ref),
        }
    }

    /// All of it in one.
    #[must_use]
    pub fn concat(&self) -> Vec<u8> {
        self.pieces().collect::<Vec<_>>().concat()
    }
}

impl Pieces {
    fn many(pieces: impl IntoIterator<Item = Bytes>, others: Box<[Arc<Blocks>]>) -> Self {
        let pieces: Box<[Bytes]> = pieces.into_iter().collect();
        debug_assert!(pieces.iter().all(|piece| !piece.is_empty()), "blocks are not empty");
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self::Many(Box::new(Many { pieces, len, others }))
    }
}

/// A part of [`Blocks`] being sent.
#[derive(Clone, Debug)]
pub struct BlocksBody {
    blocks: Arc<Blocks>,
    index: usize,
    /// Bytes to skip in the block at `index`.
    offset: usize,
    remaining: u64,
}

impl BlocksBody {
    /// The bytes `start..end` of `blocks`, clamped to what is there.
    #[must_use]
    pub fn range(blocks: Arc<Blocks>, start: u64, end: u64) -> Self {
        let end = end.min(blocks.len());
        let start = start.min(end);
        let (mut index, mut skip) = (0, start);
        while let Some(block) = blocks.piece(index) {
            if skip < block.len() as u64 {
                break;
            }
            skip -= block.len() as u64;
            index += 1;
        }
        Self { blocks, index, offset: usize::try_from(skip).unwrap_or(0), remaining: end - start }
    }

    /// The next piece.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        if self.remaining == 0 {
            return None;
        }
        let block = self.blocks.piece(self.index)?;
        let start = self.offset.min(block.len());
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let end = start + most.min(block.len() - start);
        let piece = match &self.blocks.pieces {
            Pieces::One(_) => Piece::Stored(Slice::new(Arc::clone(&self.blocks), start, end)),
            Pieces::Many(many) => Piece::Bytes(many.pieces.get(self.index)?.slice(start..end)),
        };
        self.remaining -= (end - start) as u64;
        self.index += 1;
        self.offset = 0;
        Some(piece)
    }
}

/// A response's body.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// One piece: error pages, small answers of our own.
    Bytes(Bytes),
    /// Stored bytes, shared.
    Blocks(BlocksBody),
    /// Several bodies, one after the other.
    Chain(VecDeque<Body>),
    /// Everything else: an origin's body, a fill being followed.
    Stream(BoxBody),
}

impl Body {
    /// Erases the type of `body`.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error = ProxyError> + Send + 'static,
    {
        Self::Stream(Box::pin(body))
    }

    /// All of `blocks`.
    #[must_use]
    pub fn whole(blocks: Arc<Blocks>) -> Self {
        match blocks.len() {
            0 => Self::Empty,
            len => Self::Blocks(BlocksBody::range(blocks, 0, len)),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Bytes(bytes) }
    }
}

impl HttpBody for Body {
    type Data = Piece;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, ProxyError>>> {
        let data = match &mut *self {
            Self::Empty => None,
            Self::Bytes(_) => match std::mem::take(&mut *self) {
                Self::Bytes(bytes) => Some(Piece::Bytes(bytes)),
                _ => None,
            },
            Self::Blocks(blocks) => blocks.next(),
            Self::Chain(bodies) => loop {
                let Some(first) = bodies.front_mut() else { return Poll::Ready(None) };
                match ready!(Pin::new(first).poll_frame(cx)) {
                    Some(frame) => return Poll::Ready(Some(frame)),
                    None => drop(bodies.pop_front()),
                }
            },
            Self::Stream(stream) => {
                let frame = ready!(stream.as_mut().poll_frame(cx));
                return Poll::Ready(frame.map(|frame| Ok(frame?.map_data(Piece::Bytes))));
            }
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(_) => false,
            Self::Blocks(blocks) => blocks.remaining == 0,
            Self::Chain(bodies) => bodies.iter().all(HttpBody::is_end_stream),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Blocks(blocks) => SizeHint::with_exact(blocks.remaining),
            Self::Chain(bodies) => {
                let lengths = bodies.iter().map(|body| body.size_hint().exact());
                lengths.sum::<Option<u64>>().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes",
            Self::Blocks(_) => "Blocks",
            Self::Chain(_) => "Chain",
            Self::Stream(_) => "Stream",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn blocks() -> Arc<Blocks> {
        let parts = ["abc", "d", "efgh"].map(|part| Bytes::from_static(part.as_bytes()));
        Arc::new(Blocks::new(parts, None))
    }

    async fn collect(body: Body) -> Bytes {
        body.collect().await.expect("stored bodies do not fail").to_bytes()
    }

    /// Every stored response has one, between its own block and the body's.
    #[test]
    fn a_body_of_one_piece_is_counted_in_32_bytes() {
        assert_eq!(size_of::<Blocks>(), 32);
        let empty = Blocks::new([], None);
        assert!(empty.is_empty() && empty.pieces().count() == 0);
        let one = Blocks::new([Bytes::from_static(b"abc")], None);
        assert_eq!((one.len(), one.held(), one.pieces().count()), (3, 3, 1));
    }

    #[test]
    fn joined_blocks_hold_all_that_they_are_slices_of() {
        let (one, other) = (Arc::new(Blocks::new([Bytes::from_static(b"abcd")], None)), blocks());
        let slices = [one.slices(0, 2), other.slices(2, 8)].concat();
        let joined = Arc::new(Blocks::joined(slices, &one, &other));
        assert_eq!((joined.concat(), joined.len(), joined.held()), (b"abcdefgh".to_vec(), 8, 12));
        let again = Blocks::joined(joined.slices(0, 1), &joined, &one);
        assert_eq!((again.len(), again.held()), (1, 16));
    }

    #[tokio::test]
    async fn every_range_of_blocks_is_the_same_range_of_their_concatenation() {
        let whole = b"abcdefgh";
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let body = BlocksBody::range(blocks(), start as u64, end as u64);
                assert_eq!(collect(Body::Blocks(body)).await, whole[start..end], "{start}..{end}");
            }
        }
    }

    #[tokio::test]
    async fn a_chain_is_its_bodies_in_order() {
        let parts = [Body::from(Bytes::from_static(b"--")), Body::Empty, Body::whole(blocks())];
        let chain = Body::Chain(parts.into());
        assert_eq!(chain.size_hint().exact(), Some(10));
        assert_eq!(collect(chain).await, "--abcdefgh");
    }

    #[tokio::test]
    async fn ranges_past_the_end_are_clamped() {
        let body = Body::Blocks(BlocksBody::range(blocks(), 6, 99));
        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(collect(body).await, "gh");
    }
}
