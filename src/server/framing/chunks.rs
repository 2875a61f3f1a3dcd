//! Chunked content (RFC 9112 §7.1).

use super::Step;

/// Digits of a chunk's size: as many as 64 bits have, of which others count in 63.
const MAX_DIGITS: u16 = 16;

/// Bytes of the extensions of one chunk. Nobody uses them; they are dropped.
const MAX_EXTENSION: u16 = 256;

/// Names that no trailer may have: a reader that takes trailers for fields of the head would read
/// another message (RFC 9110 §6.5.1).
const FRAMING: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];

/// Bytes of the longest of them.
const LONGEST: usize = 17;

/// Chunked content that is being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunks {
    part: Part,
    /// The size of the chunk, then how much of it is to come.
    size: u64,
    /// Digits of the size, or bytes of the extension.
    count: u16,
    name: Name,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Size,
    Extension(Quote),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer begins, or the last line.
    Line,
    Name,
    Value,
    ValueLf,
    LastLf,
}

/// Where in a quoted string an extension stands (RFC 9110 §5.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    Outside,
    Inside,
    Escaped,
}

/// The name of a trailer, in lower case, as far as it can matter.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Chunks {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Step<()> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.part == Part::Data {
                let rest = bytes.len() - at;
                let take = rest.min(usize::try_from(self.size).unwrap_or(usize::MAX));
                self.size -= take as u64;
                at += take;
                if self.size == 0 {
                    self.part = Part::DataCr;
                }
                continue;
            }
            let end = self.part == Part::LastLf;
            match self.next(byte) {
                Some(part) => self.part = part,
                None => return Step::Fault(at),
            }
            at += 1;
            if end {
                return Step::Done(at, ());
            }
        }
        Step::More
    }

    /// The part after `byte`; `None` where it may not stand here.
    fn next(&mut self, byte: u8) -> Option<Part> {
        match (self.part, byte) {
            (Part::Size, b'\r') if self.count > 0 => Some(Part::SizeLf),
            (Part::Size, b';') if self.count > 0 => {
                self.count = 0;
                Some(Part::Extension(Quote::Outside))
            }
            (Part::Size, _) => self.digit(byte),
            (Part::Extension(Quote::Outside), b'\r') => Some(Part::SizeLf),
            (Part::Extension(quote), _) => self.extension(quote, byte),
            (Part::SizeLf, b'\n') => {
                self.count = 0;
                Some(if self.size == 0 { Part::Line } else { Part::Data })
            }
            (Part::DataCr, b'\r') => Some(Part::DataLf),
            (Part::DataLf | Part::LastLf, b'\n') => Some(Part::Size),
            (Part::Line, b'\r') => Some(Part::LastLf),
            (Part::Line, _) => {
                self.name = Name::default();
                self.name_byte(byte)
            }
            (Part::Name, b':') => (!self.name.is_framing()).then_some(Part::Value),
            (Part::Name, _) => self.name_byte(byte),
            (Part::Value, b'\r') => Some(Part::ValueLf),
            (Part::Value, _) => is_text(byte).then_some(Part::Value),
            (Part::ValueLf, b'\n') => Some(Part::Line),
            _ => None,
        }
    }

    fn digit(&mut self, byte: u8) -> Option<Part> {
        let digit = char::from(byte).to_digit(16)?;
        self.count += 1;
        self.size = (self.size << 4) | u64::from(digit);
        let fits = self.count <= MAX_DIGITS && i64::try_from(self.size).is_ok();
        fits.then_some(Part::Size)
    }

    fn extension(&mut self, quote: Quote, byte: u8) -> Option<Part> {
        self.count += 1;
        let quote = match (quote, byte) {
            (Quote::Outside, b'"') | (Quote::Escaped, _) => Quote::Inside,
            (Quote::Inside, b'"') => Quote::Outside,
            (Quote::Inside, b'\\') => Quote::Escaped,
            (quote, _) => quote,
        };
        (is_text(byte) && self.count <= MAX_EXTENSION).then_some(Part::Extension(quote))
    }

    fn name_byte(&mut self, byte: u8) -> Option<Part> {
        self.name.push(byte);
        is_token(byte).then_some(Part::Name)
    }
}

impl Name {
    fn push(&mut self, byte: u8) {
        // As in a head, `_` is `-`.
        let byte = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn is_framing(&self) -> bool {
        self.bytes.get(..self.length).is_some_and(|name| FRAMING.contains(&name))
    }
}

/// What may stand in a field's value (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What may stand in a field's name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
