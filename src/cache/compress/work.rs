//! One copy being made, or one being decoded: what a thread of its own does.

use std::sync::Arc;

use super::super::Shared;
use super::encode::{self, Refusal, decode, encode};
use crate::body::Blocks;
use crate::clock::Timestamp;
use crate::key::CacheKey;
use crate::policy::Coding;
use crate::store::remote::Lease;
use crate::store::{CodedCopy, Content, Copies, Memory, StoredResponse};

/// A copy has to save a tenth to be worth its memory.
const WORTH_DIVISOR: u64 = 10;

/// How often what was made is tried to be put beside a response that changes all the time.
const MOST_TRIES: usize = 8;

/// What a copy is made of.
#[derive(Debug)]
pub(super) enum Source {
    Plain(Arc<Blocks>),
    Copy(Arc<CodedCopy>),
}

impl Source {
    /// Of a stored response: what costs least to read. `None` for parts of one.
    pub(super) fn of(stored: &StoredResponse) -> Option<Self> {
        match &stored.content {
            Content::Whole(blocks) => Some(Self::Plain(Arc::clone(blocks))),
            Content::Coded => stored.copies.made().first().cloned().map(Self::Copy),
            Content::Parts(_) => None,
        }
    }

    /// Bytes of the body as it came.
    pub(super) fn plain(&self) -> u64 {
        match self {
            Self::Plain(blocks) => blocks.len(),
            Self::Copy(copy) => copy.plain,
        }
    }
}

/// Bytes of a stored body as it came; none for parts of one.
pub(super) fn plain_length(stored: &StoredResponse) -> u64 {
    match &stored.content {
        Content::Whole(blocks) => blocks.len(),
        Content::Coded => stored.copies.made().first().map_or(0, |copy| copy.plain),
        Content::Parts(_) => 0,
    }
}

/// Where a stored response is to be found again, in whatever form it is by then.
struct Place {
    shared: Arc<Shared>,
    key: CacheKey,
    stored: Arc<StoredResponse>,
}

impl Place {
    fn new(shared: &Arc<Shared>, key: &CacheKey, stored: &Arc<StoredResponse>) -> Self {
        Self { shared: Arc::clone(shared), key: key.clone(), stored: Arc::clone(stored) }
    }

    /// Its form of today, if it is still there.
    fn today(&self) -> Option<Arc<StoredResponse>> {
        let variants = self.shared.memory.peek(self.key.as_str())?;
        let same = |other: &&Arc<StoredResponse>| {
            Arc::ptr_eq(other, &self.stored) || other.copies.are_of_the_same(&self.stored.copies)
        };
        variants.as_slice().iter().find(same).cloned()
    }

    /// Stores it in another form: another head may have come to it meanwhile, and other copies.
    fn put(&self, change: impl Fn(&StoredResponse) -> (Content, Copies)) -> bool {
        // Each failure means that somebody else has succeeded.
        for _ in 0..MOST_TRIES {
            let Some(old) = self.today() else { return false };
            let (content, copies) = change(&old);
            let (head, stamp) = (old.head.clone(), old.stamp.again());
            let useless_at = old.useless_at;
            let new = self.shared.seal_with(&self.key, head, content, stamp, useless_at, copies);
            let Some(new) = new else { return false };
            if self.shared.memory.swap(&self.key, &old, &new, self.shared.clock.now()) {
                return true;
            }
        }
        false
    }
}

/// A copy to be made.
pub(super) struct Encoding {
    place: Place,
    source: Source,
    coding: Coding,
    level: u8,
}

impl Encoding {
    pub(super) fn new(
        shared: &Arc<Shared>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
        source: Source,
        coding: Coding,
        level: u8,
    ) -> Self {
        Self { place: Place::new(shared, key, stored), source, coding, level }
    }

    pub(super) fn run(self) {
        let again = match self.encoded() {
            Ok(blocks) => !self.deposit(&Arc::new(blocks)),
            Err(Refusal::NoMemory) => true,
            // It would come to the same again.
            Err(Refusal::TooLarge | Refusal::Failed) => false,
        };
        if again {
            self.place.stored.copies.give_up(self.coding);
        }
    }

    fn encoded(&self) -> Result<Blocks, Refusal> {
        let (memory, length) = (&self.place.shared.memory, self.source.plain());
        let coding = (self.coding, self.level);
        let workspace = memory.charge(encode::encoding_space(coding, length));
        let _workspace = workspace.ok_or(Refusal::NoMemory)?;
        let mut charge = memory.charge(0).ok_or(Refusal::NoMemory)?;
        let most = length - length / WORTH_DIVISOR;
        let blocks = encode(&self.source, coding, most, &mut charge)?;
        Ok(Blocks::new(blocks, Some(charge)))
    }

    fn deposit(&self, blocks: &Arc<Blocks>) -> bool {
        let (&Self { coding, level, .. }, plain) = (self, self.source.plain());
        self.place.put(|old| {
            let content = match &old.content {
                Content::Whole(_) if !old.copies.is_identity_wanted() => Content::Coded,
                content => content.clone(),
            };
            let head = old.head.coded(coding, level);
            let copy = CodedCopy { coding, level, head, blocks: Arc::clone(blocks), plain };
            (content, old.copies.with(copy))
        })
    }
}

/// A copy to be decoded.
pub(super) struct Decoding {
    place: Place,
    copy: Arc<CodedCopy>,
}

impl Decoding {
    /// `None` where the body as it came is there.
    pub(super) fn new(
        shared: &Arc<Shared>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
    ) -> Option<Self> {
        let place = Place::new(shared, key, stored);
        match Source::of(&*place.today()?)? {
            Source::Plain(_) => None,
            Source::Copy(copy) => Some(Self { place, copy }),
        }
    }

    pub(super) fn run(self) {
        let Ok(blocks) = self.decoded() else { return };
        let blocks = Arc::new(blocks);
        self.place.put(|old| (Content::Whole(Arc::clone(&blocks)), old.copies.again()));
    }

    fn decoded(&self) -> Result<Blocks, Refusal> {
        plain_of(&self.copy, &self.place.shared.memory)
    }
}

/// What is in copies alone, to be decoded for the tier behind memory.
pub(super) struct Offering {
    place: Place,
    copy: Arc<CodedCopy>,
    began: Timestamp,
    lease: Option<Lease>,
}

impl Offering {
    /// `None` where the body as it came is there, or is not one that the tier takes.
    pub(super) fn new(
        shared: &Arc<Shared>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
        (began, lease): (Timestamp, Option<Lease>),
    ) -> Option<Self> {
        let Source::Copy(copy) = Source::of(stored)? else { return None };
        let taken = shared.tier.as_ref().is_some_and(|tier| tier.takes(key, copy.plain));
        taken.then(|| Self { place: Place::new(shared, key, stored), copy, began, lease })
    }

    pub(super) fn run(self) {
        let Self { place: Place { shared, key, stored }, copy, began, lease } = self;
        let Ok(blocks) = plain_of(&copy, &shared.memory) else { return };
        let (head, stamp) = (stored.head.clone(), stored.stamp.again());
        let content = Content::Whole(Arc::new(blocks));
        let whole = shared.seal(&key, head, content, stamp, stored.useless_at);
        if let (Some(whole), Some(tier)) = (whole, &shared.tier) {
            tier.offer(&key, &whole, began, lease);
        }
    }
}

fn plain_of(copy: &CodedCopy, memory: &Memory) -> Result<Blocks, Refusal> {
    let workspace = memory.charge(encode::decoding_space(copy.plain));
    let _workspace = workspace.ok_or(Refusal::NoMemory)?;
    let mut charge = memory.charge(0).ok_or(Refusal::NoMemory)?;
    let blocks = decode(copy, &mut charge)?;
    Ok(Blocks::new(blocks, Some(charge)))
}
