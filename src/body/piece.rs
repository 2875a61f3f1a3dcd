//! What a response's body hands to its connection at a time.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::Blocks;

/// Some bytes of a body.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes that are counted by themselves.
    Bytes(Bytes),
    /// Bytes of a stored body of one piece, which is held by what holds these.
    Stored(Slice),
}

/// A part of [`Blocks`] that are one piece: the count of those is the bytes' own, so that neither a
/// stored body nor an answer with it needs another.
#[derive(Clone, Debug)]
pub struct Slice {
    blocks: Arc<Blocks>,
    /// Within the piece.
    start: usize,
    end: usize,
}

impl Slice {
    /// The bytes `start..end`, clamped to what is there.
    pub(super) fn new(blocks: Arc<Blocks>, start: usize, end: usize) -> Self {
        let end = end.min(blocks.piece(0).unwrap_or_default().len());
        Self { blocks, start: start.min(end), end }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.blocks.piece(0).and_then(|piece| piece.get(self.start..self.end)).unwrap_or_default()
    }
}

impl Piece {
    /// The same as `Bytes`: allocates for a stored body, and copies nothing.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Stored(slice) => Bytes::from_owner(slice),
        }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stored(slice) => slice.end - slice.start,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Stored(slice) => slice.as_ref(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            // Not past the end, whatever is asked: what is left is never less than nothing.
            Self::Stored(slice) => slice.start = slice.start.saturating_add(count).min(slice.end),
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.copy_to_bytes(len),
            Self::Stored(slice) => {
                let part = Slice::new(Arc::clone(&slice.blocks), slice.start, slice.start + len);
                self.advance(len);
                Bytes::from_owner(part)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A connection that takes a body bit by bit gets what one gets that takes it at once.
        #[test]
        fn a_stored_piece_is_read_like_its_bytes(
            body in proptest::collection::vec(any::<u8>(), 1..64),
            ends in (0..70_usize, 0..70_usize),
            steps in proptest::collection::vec(0..9_usize, 0..20),
        ) {
            let blocks = Arc::new(Blocks::new([Bytes::from(body.clone())], None));
            let end = ends.1.min(body.len());
            let start = ends.0.min(end);
            let mut stored = Piece::Stored(Slice::new(Arc::clone(&blocks), ends.0, ends.1));
            let mut plain = Piece::from(Bytes::from(body).slice(start..end));
            prop_assert_eq!(stored.clone().into_bytes(), plain.clone().into_bytes());
            for step in steps {
                let step = step.min(plain.remaining());
                if step % 2 == 0 {
                    stored.advance(step);
                    plain.advance(step);
                } else {
                    prop_assert_eq!(stored.copy_to_bytes(step), plain.copy_to_bytes(step));
                }
                prop_assert_eq!(stored.chunk(), plain.chunk());
                prop_assert_eq!(stored.remaining(), plain.remaining());
            }
            drop(stored);
            prop_assert_eq!(Arc::strong_count(&blocks), 1);
        }
    }
}
