//! The same response in other codings.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use crate::body::Blocks;
use crate::policy::{Coding, StoredHead};

/// Copies of one stored response in other codings, and what is known of those that are not there.
///
/// They live and die with the response: what freshens, purges or evicts it does so to all of them.
#[derive(Debug, Default)]
pub struct Copies {
    /// Most responses have none.
    made: Option<Box<Made>>,
    /// Shared by all that this response is stored as in the course of time; most need none.
    notes: OnceLock<Arc<Notes>>,
}

type Made = SmallVec<[Arc<CodedCopy>; 1]>;

/// What is known of a response beside its copies.
#[derive(Debug, Default)]
struct Notes {
    /// A bit for each coding that was tried or is being tried, and one for `identity`.
    bits: AtomicU8,
    /// Those who are having it decoded, and have not been answered yet.
    pins: AtomicU32,
}

/// While there is one, what was decoded stays.
#[derive(Debug)]
pub struct Pin(Arc<Notes>);

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One copy.
#[derive(Debug)]
pub struct CodedCopy {
    /// Its coding.
    pub coding: Coding,
    /// The level that it was made with, which is part of its entity tag.
    pub level: u8,
    /// The response's head, as it is with this copy.
    pub head: StoredHead,
    /// The encoded bytes.
    pub blocks: Arc<Blocks>,
    /// How many bytes they are when decoded.
    pub plain: u64,
}

/// Bytes that a copy costs beside its head's heap and its body: itself, with its counts.
const COPY_OVERHEAD: usize = size_of::<CodedCopy>() + size_of::<Made>() + 2 * size_of::<usize>();

/// The bit of `identity`; codings have those below.
const IDENTITY: u8 = 1 << 7;

impl Copies {
    /// The copies that are there.
    #[must_use]
    pub fn made(&self) -> &[Arc<CodedCopy>] {
        self.made.as_deref().map_or(&[], Made::as_slice)
    }

    /// The copy in one coding.
    #[must_use]
    pub fn get(&self, coding: Coding) -> Option<&Arc<CodedCopy>> {
        self.made().iter().find(|copy| copy.coding == coding)
    }

    /// Whether a copy is still to be made; only who first asks is told so.
    #[must_use]
    pub fn begin(&self, coding: Coding) -> bool {
        self.notes().bits.fetch_or(bit(coding), Ordering::Relaxed) & bit(coding) == 0
    }

    /// Whether it was begun, or made, or is not worth it: nothing is left to do.
    #[must_use]
    pub fn is_begun(&self, coding: Coding) -> bool {
        self.noted() & bit(coding) != 0
    }

    /// What was begun came to nothing; it may be tried again.
    pub fn give_up(&self, coding: Coding) {
        self.notes().bits.fetch_and(!bit(coding), Ordering::Relaxed);
    }

    /// Notes that somebody has asked for `identity`.
    pub fn want_identity(&self) {
        if self.noted() & IDENTITY == 0 {
            self.notes().bits.fetch_or(IDENTITY, Ordering::Relaxed);
        }
    }

    /// Whether anybody has, or is waiting for it to be decoded.
    #[must_use]
    pub fn is_identity_wanted(&self) -> bool {
        self.noted() & IDENTITY != 0
            || self.notes.get().is_some_and(|notes| notes.pins.load(Ordering::Relaxed) > 0)
    }

    /// Keeps what is decoded from being dropped until it has been used.
    #[must_use]
    pub fn pin(&self) -> Pin {
        let notes = Arc::clone(self.notes());
        notes.pins.fetch_add(1, Ordering::Relaxed);
        Pin(notes)
    }

    /// Whether these are of the same response, in whatever form it is stored.
    #[must_use]
    pub fn are_of_the_same(&self, other: &Self) -> bool {
        let notes = self.notes.get().zip(other.notes.get());
        notes.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// These once more.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { made: self.made.clone(), notes: self.notes.clone() }
    }

    /// These and one more, which takes the place of another in its coding.
    #[must_use]
    pub fn with(&self, copy: CodedCopy) -> Self {
        let coding = copy.coding;
        let others = self.made().iter().filter(|other| other.coding != coding).cloned();
        let made = others.chain([Arc::new(copy)]).collect();
        Self { made: Some(Box::new(made)), notes: self.notes.clone() }
    }

    /// The same bytes, of a response whose head has been brought up to date.
    #[must_use]
    pub fn under(&self, head: &StoredHead) -> Self {
        let updated = |copy: &Arc<CodedCopy>| {
            let &CodedCopy { coding, level, plain, ref blocks, .. } = &**copy;
            let (head, blocks) = (head.coded(coding, level), Arc::clone(blocks));
            Arc::new(CodedCopy { coding, level, head, blocks, plain })
        };
        let made = self.made.as_deref().map(|made| made.iter().map(updated).collect());
        Self { made: made.map(Box::new), notes: self.notes.clone() }
    }

    /// What they cost, in bytes, beside their bodies.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.made().iter().map(|copy| copy.head.heap_bytes() + COPY_OVERHEAD).sum()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.made().iter().map(|copy| copy.blocks.held()).sum()
    }
}

impl Copies {
    fn notes(&self) -> &Arc<Notes> {
        self.notes.get_or_init(Arc::default)
    }

    fn noted(&self) -> u8 {
        self.notes.get().map_or(0, |notes| notes.bits.load(Ordering::Relaxed))
    }
}

const fn bit(coding: Coding) -> u8 {
    1 << coding as u8
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::{Overrides, RequestFacts, ResponseTimes};

    fn head(etag: &'static str) -> StoredHead {
        let mut fields = HeaderMap::new();
        fields.insert("etag", etag.parse().unwrap());
        let (request, now) = (HeaderMap::new(), Timestamp::from_secs(1_000_000));
        let facts = RequestFacts::new(&Method::GET, &request, false);
        let times = ResponseTimes { request_at: now, response_at: now };
        StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default())
    }

    fn copy(coding: Coding, text: &'static str) -> CodedCopy {
        let blocks = Arc::new(Blocks::new([Bytes::from_static(text.as_bytes())], None));
        CodedCopy { coding, level: 5, head: head("\"a\"").coded(coding, 5), blocks, plain: 9 }
    }

    #[test]
    fn a_copy_is_begun_once_until_it_is_given_up() {
        let copies = Copies::default();
        assert!(copies.begin(Coding::Br) && !copies.begin(Coding::Br));
        assert!(copies.begin(Coding::Gzip) && copies.is_begun(Coding::Gzip));
        copies.give_up(Coding::Br);
        assert!(copies.begin(Coding::Br) && !copies.begin(Coding::Gzip));
        assert!(!copies.is_identity_wanted());
        let pin = copies.pin();
        assert!(copies.again().is_identity_wanted());
        drop(pin);
        assert!(!copies.is_identity_wanted());
        copies.want_identity();
        assert!(copies.is_identity_wanted() && copies.begin(Coding::Zstd));
    }

    #[test]
    fn an_update_changes_heads_and_keeps_bytes_and_what_is_known() {
        let copies = Copies::default();
        copies.want_identity();
        assert!(copies.begin(Coding::Br) && copies.begin(Coding::Gzip));
        let copies = copies.with(copy(Coding::Br, "old")).with(copy(Coding::Br, "abc"));
        let updated = copies.under(&head("\"b\""));
        let [br] = updated.made() else { panic!("{updated:?}") };
        assert_eq!(br.head.answer_fields()["etag"], "\"b-sw-br5\"");
        assert_eq!(br.blocks.concat(), b"abc");
        assert!(updated.is_identity_wanted() && updated.are_of_the_same(&copies));
        assert!(!Copies::default().are_of_the_same(&Copies::default()));
        assert!(!updated.begin(Coding::Br) && !updated.begin(Coding::Gzip));
        assert!(updated.cost() > 0 && updated.held() == 3);
    }
}
