//! Bodies that describe themselves: every byte follows from what the body represents and from its
//! own place, so whoever reads any part of one can tell whether it is the right part.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// A body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    seed: u64,
    /// In bytes.
    pub length: u64,
}

impl Content {
    /// The body of `length` bytes that belongs to `representation` and to nothing else.
    pub fn of(representation: &impl Hash, length: u64) -> Self {
        Self { seed: hash(representation), length }
    }

    /// A name for these very bytes, as an entity tag holds it.
    pub fn name(&self) -> String {
        format!("{:016x}-{}", self.seed, self.length)
    }

    /// Its bytes within `range`.
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let words = range.start / 8..range.end.div_ceil(8).max(range.start / 8);
        let mut bytes = vec![0; (words.end - words.start) as usize * 8];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&mix(self.seed ^ word).to_le_bytes());
        }
        bytes.drain(..(range.start % 8) as usize);
        bytes.truncate((range.end - range.start) as usize);
        bytes
    }

    /// Where `bytes`, which claim to start at `start`, are not this content's.
    pub fn differs(&self, start: u64, bytes: &[u8]) -> Option<u64> {
        let end = start + bytes.len() as u64;
        // Of a part beyond the end, which an origin has announced and not sent, nothing is there.
        if end > self.length && !bytes.is_empty() {
            return Some(self.length.max(start));
        }
        let right = self.bytes(start..end);
        // As one, which is quick even where nothing is optimized.
        if right == bytes {
            return None;
        }
        let wrong = right.iter().zip(bytes).position(|(right, found)| right != found);
        wrong.map(|wrong| start + wrong as u64)
    }
}

/// A number that looks random and is always the same for the same value.
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    mix(hasher.finish())
}

/// The finalizer of `SplitMix64`: neighbours become unlike.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[test]
fn every_part_of_a_body_is_known_by_its_place() {
    let content = Content::of(&"a", 1000);
    let all = content.bytes(0..1000);
    for (start, end) in [(0, 0), (0, 1), (3, 9), (8, 16), (997, 1000), (5, 5)] {
        assert_eq!(content.bytes(start..end), all[start as usize..end as usize]);
        assert_eq!(content.differs(start, &all[start as usize..end as usize]), None);
    }
    assert_eq!(content.differs(1, &all[..9]), Some(1));
    assert_eq!(content.differs(990, &[all[990..].to_vec(), vec![0]].concat()), Some(1000));
    assert_eq!((content.differs(1006, &[]), content.differs(1006, &[0])), (None, Some(1006)));
    assert!(Content::of(&"b", 1000).differs(0, &all).is_some());
}
