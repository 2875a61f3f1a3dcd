//! The same response in other codings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use smallvec::SmallVec;

use crate::body::Blocks;
use crate::policy::{Coding, StoredHead};

/// Copies of one stored response in other codings, and what is known of those that are not there.
///
/// They live and die with the response: what freshens, purges or evicts it does so to all of them.
#[derive(Debug, Default)]
pub struct Copies {
    made: SmallVec<[Arc<CodedCopy>; 1]>,
    /// A bit for each coding that was tried or is being tried, and one for `identity`.
    noted: AtomicU8,
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
}

/// Bytes that a copy costs beside its head's heap and its body: itself, with its counts.
const COPY_OVERHEAD: usize = size_of::<CodedCopy>() + 2 * size_of::<usize>();

/// The bit of `identity`; codings have those below.
const IDENTITY: u8 = 1 << 7;

impl Copies {
    /// None yet, of a response that somebody has asked for in `identity`, or not.
    #[must_use]
    pub fn none(identity: bool) -> Self {
        let noted = AtomicU8::new(if identity { IDENTITY } else { 0 });
        Self { made: SmallVec::new(), noted }
    }

    /// The copies that are there.
    #[must_use]
    pub fn made(&self) -> &[Arc<CodedCopy>] {
        &self.made
    }

    /// The copy in one coding.
    #[must_use]
    pub fn get(&self, coding: Coding) -> Option<&Arc<CodedCopy>> {
        self.made.iter().find(|copy| copy.coding == coding)
    }

    /// Whether a copy is still to be made; only who first asks is told so.
    #[must_use]
    pub fn begin(&self, coding: Coding) -> bool {
        self.noted.fetch_or(bit(coding), Ordering::Relaxed) & bit(coding) == 0
    }

    /// Whether it was begun, or made, or is not worth it: nothing is left to do.
    #[must_use]
    pub fn is_begun(&self, coding: Coding) -> bool {
        self.noted.load(Ordering::Relaxed) & bit(coding) != 0
    }

    /// What was begun came to nothing; it may be tried again.
    pub fn give_up(&self, coding: Coding) {
        self.noted.fetch_and(!bit(coding), Ordering::Relaxed);
    }

    /// Notes that somebody has asked for `identity`.
    pub fn want_identity(&self) {
        if !self.is_identity_wanted() {
            self.noted.fetch_or(IDENTITY, Ordering::Relaxed);
        }
    }

    /// Whether anybody has.
    #[must_use]
    pub fn is_identity_wanted(&self) -> bool {
        self.noted.load(Ordering::Relaxed) & IDENTITY != 0
    }

    /// These and one more, which takes the place of another in its coding.
    #[must_use]
    pub fn with(&self, copy: CodedCopy) -> Self {
        let coding = copy.coding;
        let others = self.made.iter().filter(|other| other.coding != coding).cloned();
        let made = others.chain([Arc::new(copy)]).collect();
        let noted = AtomicU8::new(self.noted.load(Ordering::Relaxed) | bit(coding));
        Self { made, noted }
    }

    /// The same bytes, of a response whose head has been brought up to date.
    #[must_use]
    pub fn under(&self, head: &StoredHead) -> Self {
        let updated = |copy: &Arc<CodedCopy>| {
            let &CodedCopy { coding, level, ref blocks, .. } = &**copy;
            let head = head.coded(coding, level, blocks.len());
            Arc::new(CodedCopy { coding, level, head, blocks: Arc::clone(blocks) })
        };
        let noted = AtomicU8::new(self.noted.load(Ordering::Relaxed));
        Self { made: self.made.iter().map(updated).collect(), noted }
    }

    /// What they cost, in bytes, beside their bodies.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.made.iter().map(|copy| copy.head.heap_bytes() + COPY_OVERHEAD).sum()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.made.iter().map(|copy| copy.blocks.held()).sum()
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
        CodedCopy { coding, level: 5, head: head("\"a\"").coded(coding, 5, 3), blocks }
    }

    #[test]
    fn a_copy_is_begun_once_until_it_is_given_up() {
        let copies = Copies::none(false);
        assert!(copies.begin(Coding::Br) && !copies.begin(Coding::Br));
        assert!(copies.begin(Coding::Gzip) && copies.is_begun(Coding::Gzip));
        copies.give_up(Coding::Br);
        assert!(copies.begin(Coding::Br) && !copies.begin(Coding::Gzip));
        assert!(!copies.is_identity_wanted());
        copies.want_identity();
        assert!(copies.is_identity_wanted() && copies.begin(Coding::Zstd));
    }

    #[test]
    fn an_update_changes_heads_and_keeps_bytes_and_what_is_known() {
        let copies = Copies::none(true).with(copy(Coding::Br, "old")).with(copy(Coding::Br, "abc"));
        assert!(copies.begin(Coding::Gzip));
        let updated = copies.under(&head("\"b\""));
        let [br] = updated.made() else { panic!("{updated:?}") };
        assert_eq!(br.head.answer_fields()["etag"], "\"b-sw-br5\"");
        assert_eq!(br.blocks.as_slices().concat(), b"abc");
        assert!(updated.is_identity_wanted());
        assert!(!updated.begin(Coding::Br) && !updated.begin(Coding::Gzip));
        assert!(updated.cost() > 0 && updated.held() == 3);
    }
}
