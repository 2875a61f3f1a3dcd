//! A stored response, and the set of them that one key holds.

use std::sync::Arc;
use std::{iter, slice};

use smallvec::SmallVec;

use super::copies::Copies;
use super::stamps::Stamp;
use crate::body::Blocks;
use crate::budget::Charge;
use crate::clock::Timestamp;
use crate::policy::{ByteRange, StoredHead};

/// Bytes that a stored response costs beside its head's and its body's heap: the structs
/// themselves (some 290), the map's entry (260), the evictor's row and slot (80), counts of
/// references and the allocator's slack. Measured as the process's growth over 100,000 small
/// objects (docs/benchmarks.md), rounded up.
pub const ENTRY_OVERHEAD: usize = 896;

/// A response as it is stored: immutable; what changes (a 304) makes a new one that shares the
/// body.
#[derive(Debug)]
pub struct StoredResponse {
    /// Status, fields and what was parsed of them.
    pub head: StoredHead,
    /// The body, or the parts of it that are there.
    pub content: Content,
    /// For purges.
    pub stamp: Stamp,
    /// When it is of no use any more, not even to be validated.
    pub useless_at: Timestamp,
    /// The same body in other codings.
    pub copies: Copies,
    /// For everything but the bodies, which have their own.
    charge: Charge,
}

/// What is there of a body.
#[derive(Clone, Debug)]
pub enum Content {
    /// All of it.
    Whole(Arc<Blocks>),
    /// All of it, in the copies alone: nobody has asked for it as it came.
    Coded,
    /// Parts of it (RFC 9111 §3.3).
    Parts(Box<Parts>),
}

/// Parts of a representation.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The complete representation's length, where the origin told.
    pub complete: Option<u64>,
    /// The parts by ascending start, none touching another.
    pub parts: Vec<Part>,
}

/// One contiguous part of a representation.
#[derive(Clone, Debug)]
pub struct Part {
    /// Offset of its first byte.
    pub start: u64,
    /// Its bytes.
    pub blocks: Arc<Blocks>,
}

impl Content {
    /// Whether all of the body is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !matches!(self, Self::Parts(_))
    }
}

impl StoredResponse {
    /// A response to store, without copies yet; `charge` covers [`StoredResponse::cost`].
    #[must_use]
    pub fn new(
        head: StoredHead,
        content: Content,
        stamp: Stamp,
        useless_at: Timestamp,
        charge: Charge,
    ) -> Self {
        Self { head, content, stamp, useless_at, copies: Copies::default(), charge }
    }

    /// The same with `copies`, whose [`Copies::cost`] its charge covers as well.
    #[must_use]
    pub fn with_copies(self, copies: Copies) -> Self {
        Self { copies, ..self }
    }

    /// What storing `head` under a key of `key` bytes costs, in bytes, beside the body.
    #[must_use]
    pub fn cost(head: &StoredHead, stamp: &Stamp, key: usize) -> usize {
        let labels = stamp.labels().map_or(0, |labels| labels.heap_bytes());
        head.heap_bytes() + labels + key + ENTRY_OVERHEAD
    }

    /// Bytes in memory, body included.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let body = match &self.content {
            Content::Whole(blocks) => blocks.held(),
            Content::Coded => 0,
            Content::Parts(parts) => parts.parts.iter().map(|part| part.blocks.held()).sum(),
        };
        self.charge.bytes() as u64 + body + self.copies.held()
    }
}

impl Parts {
    /// The ranges that are there.
    pub fn ranges(&self) -> SmallVec<[ByteRange; 4]> {
        self.parts.iter().map(Part::range).collect()
    }

    /// The part that holds all of `range`.
    #[must_use]
    pub fn holding(&self, range: ByteRange) -> Option<&Part> {
        self.parts.iter().find(|part| part.range().contains(&range))
    }
}

impl Part {
    /// The range that it holds.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        ByteRange { start: self.start, end: self.end() }
    }

    /// Offset after its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.blocks.len()
    }
}

/// All responses stored under one key, most recent first; never none. Cheap to clone.
///
/// Nearly every key has one response: the map's entry then points to it with nothing in between,
/// which saves an allocation an object and a visit to memory a hit.
#[derive(Clone, Debug)]
pub enum Variants {
    /// One response.
    One(Arc<StoredResponse>),
    /// More than one.
    Several(Arc<[Arc<StoredResponse>]>),
}

impl Variants {
    /// These with `response` first; without those that it takes the place of, and without the
    /// oldest where there are more than `most`.
    #[must_use]
    pub fn with(&self, response: Arc<StoredResponse>, most: usize) -> Self {
        let new = response.head.vary();
        // Without Vary the new response matches every request: the older ones are never chosen.
        if new.is_none() || most <= 1 {
            return Self::One(response);
        }
        let kept = self.as_slice().iter().filter(|old| old.head.vary() != new);
        let all: SmallVec<[_; 4]> = iter::once(&response).chain(kept).take(most).cloned().collect();
        Self::of(all).unwrap_or(Self::One(response))
    }

    /// These with `new` in the place of `old`; `None` if that is not among them.
    #[must_use]
    pub fn replacing(&self, old: &Arc<StoredResponse>, new: &Arc<StoredResponse>) -> Option<Self> {
        let place = self.as_slice().iter().position(|other| Arc::ptr_eq(other, old))?;
        let mut all: SmallVec<[_; 4]> = self.as_slice().iter().cloned().collect();
        *all.get_mut(place)? = Arc::clone(new);
        Self::of(all)
    }

    /// These without `response`; `None` if that leaves nothing.
    #[must_use]
    pub fn without(&self, response: &Arc<StoredResponse>) -> Option<Self> {
        let rest = self.as_slice().iter().filter(|other| !Arc::ptr_eq(other, response));
        Self::of(rest.cloned().collect())
    }

    /// The one at `index`.
    #[must_use]
    pub fn into_nth(self, index: usize) -> Option<Arc<StoredResponse>> {
        match self {
            Self::One(response) => (index == 0).then_some(response),
            Self::Several(all) => all.get(index).cloned(),
        }
    }

    fn of(mut all: SmallVec<[Arc<StoredResponse>; 4]>) -> Option<Self> {
        if all.len() > 1 {
            Some(Self::Several(all.into_vec().into()))
        } else {
            all.pop().map(Self::One)
        }
    }

    /// The responses, most recent first.
    #[must_use]
    pub fn as_slice(&self) -> &[Arc<StoredResponse>] {
        match self {
            Self::One(response) => slice::from_ref(response),
            Self::Several(responses) => responses,
        }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.as_slice().iter().map(|response| response.weight()).sum()
    }

    /// When the last of them is of no use any more.
    #[must_use]
    pub fn useless_at(&self) -> Timestamp {
        let all = self.as_slice().iter().map(|response| response.useless_at);
        all.max().unwrap_or(Timestamp::EPOCH)
    }
}
