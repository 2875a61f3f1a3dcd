//! The field lines of a stored head, one after the other in one block of bytes.
//!
//! Heads are read from their first line to their last, so nothing but the lines is needed: no table
//! of places, whose room every stored response would take. A line is a tag of two bytes, the length
//! of the value in one more (two or four if the tag says so), the name where the tag does not stand
//! for one, after two bytes with its length, and the value.
//!
//! Before the first line is room for a text that whoever keeps the head may want with it, after four
//! bytes with its length: in the store, the key. So it needs no block of its own.

use bytes::{Buf, Bytes};
use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::names::{Known, NameId};

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

/// What tells the length of the text before the lines.
const PREFIX: usize = size_of::<u32>();

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
    /// The text that stands with them; none is empty.
    pub(super) fn text(&self) -> &[u8] {
        let length = self.0.as_ref().try_get_u32().unwrap_or(0);
        self.0.get(PREFIX..).and_then(|rest| rest.get(..length as usize)).unwrap_or_default()
    }

    /// The same lines with `text`. What is too long to be a key's text becomes none.
    pub(super) fn with_text(self, text: &[u8]) -> Self {
        if self.text() == text {
            return self;
        }
        let lines = self.0.get(self.begin()..).unwrap_or_default();
        let (length, text) = prefixed(text);
        Self(compact(&[&length, text, lines]))
    }

    /// Where the first line stands.
    fn begin(&self) -> usize {
        PREFIX + self.text().len()
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        let mut at = self.begin();
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
        Self(compact(&[&block]))
    }

    /// Bytes on the heap: the block, and what counts its owners.
    pub(super) fn heap_bytes(&self) -> usize {
        heap_bytes(self.0.len())
    }

    /// The same with a text of so many bytes.
    pub(super) fn heap_bytes_with(&self, text: usize) -> usize {
        heap_bytes(self.0.len() - self.text().len() + text)
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
    known: Known,
    block: Vec<u8>,
    count: u16,
}

impl Writer {
    /// Begins with `text`, unless it is too long to be a key's.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut block = Vec::with_capacity(USUAL);
        let (length, text) = prefixed(text);
        block.extend_from_slice(&length);
        block.extend_from_slice(text);
        Self { known: Known::now(), block, count: 0 }
    }

    /// One more line. One that no message could carry is left out.
    pub(super) fn push(&mut self, name: &HeaderName, value: &[u8]) {
        let (Some(count), Ok(len)) = (self.count.checked_add(1), u32::try_from(value.len())) else {
            return;
        };
        let (id, name) = (self.known.id_of(name), name.as_str().as_bytes());
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
        (Lines(compact(&[&self.block])), self.count)
    }
}

/// A text, behind what tells its length.
fn prefixed(text: &[u8]) -> ([u8; PREFIX], &[u8]) {
    let (length, text) = u32::try_from(text.len()).map_or((0, &[][..]), |len| (len, text));
    (length.to_be_bytes(), text)
}

/// `parts`, one after the other, in one allocation with the count of their owners, as large as an allocator's steps are
/// anyway. By itself `Bytes` would have one more for the count as soon as there are two owners,
/// which is with the first answer. Few heads are longer.
fn compact(parts: &[&[u8]]) -> Bytes {
    let len = parts.iter().map(|part| part.len()).sum();
    match room_for(len) {
        Some(24) => owned::<24>(parts),
        Some(40) => owned::<40>(parts),
        Some(56) => owned::<56>(parts),
        Some(72) => owned::<72>(parts),
        Some(88) => owned::<88>(parts),
        Some(104) => owned::<104>(parts),
        Some(120) => owned::<120>(parts),
        Some(152) => owned::<152>(parts),
        Some(184) => owned::<184>(parts),
        Some(216) => owned::<216>(parts),
        Some(248) => owned::<248>(parts),
        Some(312) => owned::<312>(parts),
        Some(376) => owned::<376>(parts),
        Some(440) => owned::<440>(parts),
        Some(504) => owned::<504>(parts),
        _ => Bytes::from(parts.concat()),
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

/// Bytes that a block of `len` bytes takes with the count of its owners.
fn heap_bytes(len: usize) -> usize {
    match room_for(len) {
        Some(room) => room + OWNERS,
        // `Bytes` has an allocation for that.
        None => len + 3 * size_of::<usize>(),
    }
}

fn owned<const ROOM: usize>(parts: &[&[u8]]) -> Bytes {
    let (mut block, mut len) = ([0; ROOM], 0);
    for part in parts {
        block[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    let mut block = Bytes::from_owner(block);
    block.truncate(len);
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
            let mut writer = Writer::new(b"");
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
            assert_eq!(compact(&[&text[..length / 3], &text[length / 3..]]), text);
            let heap = heap_bytes(length);
            assert!(heap >= length + OWNERS && heap <= 40 + length * 5 / 4, "{length}: {heap}");
            // By one of the sizes that `compact` knows.
            let room = room_for(length).filter(|_| length > 24);
            assert_eq!(room.is_some(), (25..=504).contains(&length));
        }
    }

    #[test]
    fn a_text_stands_with_the_lines_and_is_none_of_them() {
        let name = HeaderName::from_static("x-a");
        let mut writer = Writer::new(b"");
        writer.push(&name, b"1");
        writer.push(&name, b"");
        let (plain, _) = writer.finish();
        assert_eq!(plain.text(), b"");
        for length in [0, 1, 40, 300, 70_000] {
            let text = vec![b'k'; length];
            let expected = plain.heap_bytes_with(length);
            let lines = plain.clone().with_text(b"another").with_text(&text);
            assert_eq!((lines.text(), lines.heap_bytes()), (&text[..], expected));
            let values: Vec<_> = lines.iter().map(|line| lines.bytes(line)).collect();
            assert_eq!(values, [&b"1"[..], b""]);
            let hidden = lines.clone().hiding(|line| lines.bytes(line) == b"1");
            assert_eq!(hidden.text(), text);
            assert_eq!(hidden.iter().filter(|line| line.hidden).count(), 1);
            // What has it already shares its block.
            let block = lines.block().as_ptr();
            assert_eq!(lines.with_text(&text).block().as_ptr(), block);
        }
    }
}
