//! Byte strings by number: each is kept once.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// Distinct byte strings, numbered in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    table: HashTable<Entry>,
    hasher: FixedState,
}

/// A text in the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of its hash, so that texts need not be read again where the table grows.
    tag: u32,
    number: u32,
}

/// What is made of a tag for the table, which wants other bits for a place than for a guess.
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

impl Interner {
    /// The number of `text`, and whether it is new. Numbers end at `u32::MAX`, whose memory no
    /// machine has.
    pub(super) fn intern(&mut self, text: &[u8]) -> (u32, bool) {
        let Self { bytes, ends, table, hasher } = self;
        let tag = (hasher.hash_one(text) >> 32) as u32;
        let is_same = |entry: &Entry| entry.tag == tag && at(bytes, ends, entry.number) == text;
        if let Some(entry) = table.find(spread(tag), is_same) {
            return (entry.number, false);
        }
        let number = ends.len() as u32;
        bytes.extend_from_slice(text);
        ends.push(bytes.len());
        table.insert_unique(spread(tag), Entry { tag, number }, |entry| spread(entry.tag));
        (number, true)
    }

    /// The text with a number; empty for a number that was never given.
    pub(super) fn get(&self, number: u32) -> &[u8] {
        at(&self.bytes, &self.ends, number)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.table.capacity() * (size_of::<Entry>() + 1)
    }
}

fn at<'a>(bytes: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    ends.get(number).and_then(|end| bytes.get(start..*end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_one_number_and_stays_what_it_was() {
        let mut interner = Interner::default();
        let texts: Vec<_> = (0..5000).map(|number| format!("/page/{}", number % 1000)).collect();
        for (index, text) in texts.iter().enumerate() {
            let (number, is_new) = interner.intern(text.as_bytes());
            assert_eq!((number as usize, is_new), (index % 1000, index < 1000));
        }
        assert_eq!(interner.len(), 1000);
        assert_eq!(interner.intern(b""), (1000, true));
        assert_eq!((interner.get(999), interner.get(1000)), (&b"/page/999"[..], &b""[..]));
    }
}
