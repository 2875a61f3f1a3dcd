//! The field lines of a stored head, one after the other in one block of bytes.
//!
//! Heads are read from their first line to their last, so nothing but the lines is needed: no table
//! of places, whose room every stored response would take. A line is a tag of two bytes, the length
//! of the value in two more (four if the tag says so), the name where the tag does not stand for
//! one, after two bytes with its length, and the value.

use bytes::{Buf, Bytes};
use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::names::NameId;

/// Clients do not get the line, unless settings say so when they are answered.
const HIDDEN: u16 = 1 << 15;
/// The value's length has four bytes.
const LONG: u16 = 1 << 14;
/// The number of lines stands before all of them.
const COUNT: usize = size_of::<u16>();
/// Heads up to this size are put together without growing, and their block is made at once and
/// exactly as large as it has to be.
const USUAL: usize = 1024;

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
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.get(..COUNT).map_or(0, |mut count| usize::from(count.get_u16()))
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        let mut at = COUNT;
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
        let mut block = Vec::from(self.0);
        for place in places {
            if let Some(byte) = block.get_mut(place) {
                *byte |= HIDDEN.to_be_bytes()[0];
            }
        }
        Self(block.into())
    }

    /// Bytes on the heap: the block, and what `Bytes` allocates to count references.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.len() + 3 * size_of::<usize>()
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
        let len = if tag & LONG == 0 {
            usize::from(rest.try_get_u16().ok()?)
        } else {
            rest.try_get_u32().ok()? as usize
        };
        let name = if let Some(known) = NameId::from_bits(tag & !(HIDDEN | LONG)).name() {
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
        let mut block = Vec::with_capacity(USUAL);
        block.extend_from_slice(&[0; COUNT]);
        Self { block, count: 0 }
    }

    /// One more line. One that no message could carry is left out.
    pub(super) fn push(&mut self, name: &HeaderName, value: &[u8]) {
        let (Some(count), Ok(len)) = (self.count.checked_add(1), u32::try_from(value.len())) else {
            return;
        };
        let (id, name) = (NameId::of(name), name.as_str().as_bytes());
        let Ok(name_len) = u16::try_from(name.len()) else { return };
        self.count = count;
        if let Ok(len) = u16::try_from(len) {
            self.block.extend_from_slice(&id.bits().to_be_bytes());
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

    pub(super) fn finish(mut self) -> Lines {
        self.block[..COUNT].copy_from_slice(&self.count.to_be_bytes());
        Lines(Bytes::copy_from_slice(&self.block))
    }
}
