//! The field lines of a stored head, one after the other in one block of bytes.
//!
//! Heads are read from their first line to their last, so nothing but the lines is needed: no table
//! of places, whose room every stored response would take. A line is a tag of two bytes, the length
//! of the value in one more (two or four if the tag says so), the name where the tag does not stand
//! for one, after two bytes with its length, and the value.

use bytes::{Buf, Bytes};
use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::names::NameId;

/// Clients do not get the line, unless settings say so when they are answered.
const HIDDEN: u16 = 1 << 15;
/// The value's length has four bytes.
const LONG: u16 = 1 << 14;
/// It has two.
const WIDE: u16 = 1 << 13;
/// Heads up to this size are put together without growing.
const USUAL: usize = 1024;
/// What counts the owners of a block that stands in one allocation with its count.
const OWNERS: usize = size_of::<usize>();

/// All lines of a head.
#[derive(Clone, Debug)]
pub(super) struct Lines(Bytes);

/// A line, by its place in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    name: Name<'a>,
    pub(super) hidden: bool,
    /// Where its tag stands.
    at: usize,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
enum Name<'a> {
    Known(&'static HeaderName),
    /// The table of names had no room for it.
    Inline(&'a [u8]),
}

impl Lines {
    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let line = Line::read(&self.0, at)?;
            at = line.end;
            Some(line)
        })
    }

    /// A line's value: a slice of the block, which costs a reference count and copies nothing.
    pub(super) fn value(&self, line: Line<'_>) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.slice(line.start..line.end)).ok()
    }

    /// The same as bytes.
    pub(super) fn bytes(&self, line: Line<'_>) -> &[u8] {
        self.0.get(line.start..line.end).unwrap_or_default()
    }

    /// The same lines, of which those that are `named` are hidden.
    pub(super) fn hiding(self, named: impl Fn(Line<'_>) -> bool) -> Self {
        let places: SmallVec<[usize; 4]> =
            self.iter().filter(|line| !line.hidden && named(*line)).map(|line| line.at).collect();
        if places.is_empty() {
            return self;
        }
        let mut block = self.0.to_vec();
        for place in places {
            if let Some(byte) = block.get_mut(place) {
                *byte |= HIDDEN.to_be_bytes()[0];
            }
        }
        Self(compact(&block))
    }

    /// Bytes on the heap: the block, and what counts its owners.
    pub(super) fn heap_bytes(&self) -> usize {
        match room_for(self.0.len()) {
            Some(room) => room + OWNERS,
            // `Bytes` has an allocation for that.
            None => self.0.len() + 3 * size_of::<usize>(),
        }
    }

    /// The block itself.
    pub(super) fn block(&self) -> &Bytes {
        &self.0
    }
}

impl<'a> Line<'a> {
    fn read(block: &'a [u8], at: usize) -> Option<Self> {
        let mut rest = block.get(at..)?;
        let tag = rest.try_get_u16().ok()?;
        let len = match tag & (LONG | WIDE) {
            0 => usize::from(rest.try_get_u8().ok()?),
            WIDE => usize::from(rest.try_get_u16().ok()?),
            _ => rest.try_get_u32().ok()? as usize,
        };
        let name = if let Some(known) = NameId::from_bits(tag & !(HIDDEN | LONG | WIDE)).name() {
            Name::Known(known)
        } else {
            let len = rest.try_get_u16().ok()?;
            Name::Inline(rest.split_off(..usize::from(len))?)
        };
        let start = block.len() - rest.len();
        Some(Self { name, hidden: tag & HIDDEN != 0, at, start, end: start + len })
    }

    /// Whether it is a line of the field `name`.
    pub(super) fn is_of(self, name: &HeaderName) -> bool {
        match self.name {
            Name::Known(known) => known == name,
            Name::Inline(text) => text == name.as_str().as_bytes(),
        }
    }

    /// The name's text.
    pub(super) fn name_text(self) -> &'a [u8] {
        match self.name {
            Name::Known(known) => known.as_str().as_bytes(),
            Name::Inline(text) => text,
        }
    }

    /// The name, where it is one of those that are known.
    pub(super) fn known_name(self) -> Option<&'static HeaderName> {
        match self.name {
            Name::Known(known) => Some(known),
            Name::Inline(_) => None,
        }
    }

    /// The name.
    pub(super) fn name(self) -> Option<HeaderName> {
        match self.name {
            Name::Known(known) => Some(known.clone()),
            Name::Inline(text) => HeaderName::from_bytes(text).ok(),
        }
    }
}

/// Puts lines together.
pub(super) struct Writer {
    block: Vec<u8>,
    count: u16,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { block: Vec::with_capacity(USUAL), count: 0 }
    }

    /// One more line. One that no message could carry is left out.
    pub(super) fn push(&mut self, name: &HeaderName, value: &[u8]) {
        let (Some(count), Ok(len)) = (self.count.checked_add(1), u32::try_from(value.len())) else {
            return;
        };
        let (id, name) = (NameId::of(name), name.as_str().as_bytes());
        let Ok(name_len) = u16::try_from(name.len()) else { return };
        self.count = count;
        if let Ok(len) = u8::try_from(len) {
            self.block.extend_from_slice(&id.bits().to_be_bytes());
            self.block.push(len);
        } else if let Ok(len) = u16::try_from(len) {
            self.block.extend_from_slice(&(id.bits() | WIDE).to_be_bytes());
            self.block.extend_from_slice(&len.to_be_bytes());
        } else {
            self.block.extend_from_slice(&(id.bits() | LONG).to_be_bytes());
            self.block.extend_from_slice(&len.to_be_bytes());
        }
        if id == NameId::INLINE {
            self.block.extend_from_slice(&name_len.to_be_bytes());
            self.block.extend_from_slice(name);
        }
        self.block.extend_from_slice(value);
    }

    /// All lines, and how many they are.
    pub(super) fn finish(self) -> (Lines, u16) {
        (Lines(compact(&self.block)), self.count)
    }
}

/// `lines` in one allocation with the count of their owners, as large as an allocator's steps are
/// anyway. By itself `Bytes` would have one more for the count as soon as there are two owners,
/// which is with the first answer. Few heads are longer.
fn compact(lines: &[u8]) -> Bytes {
    match room_for(lines.len()) {
        Some(24) => owned::<24>(lines),
        Some(40) => owned::<40>(lines),
        Some(56) => owned::<56>(lines),
        Some(72) => owned::<72>(lines),
        Some(88) => owned::<88>(lines),
        Some(104) => owned::<104>(lines),
        Some(120) => owned::<120>(lines),
        Some(152) => owned::<152>(lines),
        Some(184) => owned::<184>(lines),
        Some(216) => owned::<216>(lines),
        Some(248) => owned::<248>(lines),
        Some(312) => owned::<312>(lines),
        Some(376) => owned::<376>(lines),
        Some(440) => owned::<440>(lines),
        Some(504) => owned::<504>(lines),
        _ => Bytes::copy_from_slice(lines),
    }
}

/// The room in which `len` bytes stand with their count, if they do: with it, the steps of an
/// allocator, of which there are four to each doubling.
fn room_for(len: usize) -> Option<usize> {
    let room = match len {
        0..=24 => 24,
        25..=120 => (len + OWNERS).next_multiple_of(16) - OWNERS,
        121..=248 => (len + OWNERS).next_multiple_of(32) - OWNERS,
        249..=504 => (len + OWNERS).next_multiple_of(64) - OWNERS,
        _ => return None,
    };
    Some(room)
}

fn owned<const ROOM: usize>(lines: &[u8]) -> Bytes {
    let mut block = [0; ROOM];
    block[..lines.len()].copy_from_slice(lines);
    let mut block = Bytes::from_owner(block);
    block.truncate(lines.len());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 9110 has it, a field's value may be of any length.
    #[test]
    fn values_of_all_lengths_are_read_as_they_were_written() {
        let name = HeaderName::from_static("x-of-all-lengths");
        let lengths: Vec<usize> = (0..600).chain([65_534, 65_535, 65_536, 70_000]).collect();
        for length in lengths {
            let values = [vec![b'a'; length], Vec::new(), b"b".to_vec()];
            let mut writer = Writer::new();
            for value in &values {
                writer.push(&name, value);
            }
            let (lines, count) = writer.finish();
            assert_eq!((count, lines.iter().count()), (3, 3));
            let lines = lines.hiding(|line| line.end - line.start == 1);
            let read: Vec<_> = lines.iter().map(|line| lines.bytes(line).to_vec()).collect();
            assert_eq!(read, values);
            assert_eq!(
                lines.iter().filter(|line| line.hidden).count(),
                1 + usize::from(length == 1)
            );
            assert!(lines.iter().all(|line| line.is_of(&name)));
        }
    }

    #[test]
    fn every_block_has_room_and_none_has_much_too_much() {
        for length in 0..2000 {
            let text = vec![b'x'; length];
            assert_eq!(compact(&text), text);
            let heap = Lines(compact(&text)).heap_bytes();
            assert!(heap >= length + OWNERS && heap <= 40 + length * 5 / 4, "{length}: {heap}");
            // By one of the sizes that `compact` knows.
            let room = room_for(length).filter(|_| length > 24);
            assert_eq!(room.is_some(), (25..=504).contains(&length));
        }
    }
}
