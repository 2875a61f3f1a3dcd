//! The head of a request, as far as framing needs it.

use memchr::{memchr, memchr_iter};

use super::Step;

/// Empty lines that are taken before a request (RFC 9112 §2.2: "at least one").
const MAX_EMPTY_LINES: u8 = 4;

/// Bytes kept of a line that comes in pieces: more than any field has that frames a message.
const KEPT: usize = 64;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// This many bytes.
    Length(u64),
    Chunked,
}

/// A complete head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) content: Content,
    /// It has an `Upgrade` field.
    pub(super) upgrade: bool,
}

/// A head that is being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    unfinished: Unfinished,
    empty_lines: u8,
    /// The request line has been read.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// The line that the last bytes ended in.
#[derive(Debug, Default)]
struct Unfinished {
    /// The beginning of it, [`KEPT`] at most.
    kept: Vec<u8>,
    /// More of it has come than was kept.
    cut: bool,
    /// The last byte of it.
    last: u8,
}

/// It can't be read in one way only.
struct Ambiguous;

impl Head {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Step<Request> {
        let mut at = 0;
        for feed in memchr_iter(b'\n', bytes) {
            match self.end_line(&bytes[at..feed]) {
                Ok(None) => at = feed + 1,
                Ok(Some(request)) => return Step::Done(feed + 1, request),
                // Whatever else stands in the line's place, its LF is not to be seen.
                Err(Ambiguous) => return Step::Fault(feed),
            }
        }
        match self.keep(&bytes[at..]) {
            Ok(()) => Step::More,
            Err(Ambiguous) => Step::Fault(at),
        }
    }

    /// A line ends; `piece` is what came of it since the last read, without the LF.
    fn end_line(&mut self, piece: &[u8]) -> Result<Option<Request>, Ambiguous> {
        if self.unfinished.kept.is_empty() {
            let line = piece.strip_suffix(b"\r").ok_or(Ambiguous)?;
            return self.line(line, false);
        }
        self.keep(piece)?;
        let Unfinished { kept, cut, last } = std::mem::take(&mut self.unfinished);
        if last != b'\r' {
            return Err(Ambiguous);
        }
        self.line(if cut { &kept } else { kept.strip_suffix(b"\r").unwrap_or(&kept) }, cut)
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Ambiguous> {
        let Some(&last) = piece.last() else { return Ok(()) };
        if !self.begun {
            check_target(piece)?;
        }
        let line = &mut self.unfinished;
        line.last = last;
        let room = piece.len().min(KEPT - line.kept.len());
        line.kept.extend_from_slice(&piece[..room]);
        line.cut |= room < piece.len();
        Ok(())
    }

    /// One line without its end; `cut` if there is more of it.
    fn line(&mut self, line: &[u8], cut: bool) -> Result<Option<Request>, Ambiguous> {
        match (line.is_empty(), self.begun) {
            (true, true) => return self.request().map(Some),
            (true, false) => {
                self.empty_lines += 1;
                if self.empty_lines > MAX_EMPTY_LINES {
                    return Err(Ambiguous);
                }
            }
            (false, false) => {
                check_target(line)?;
                self.begun = true;
            }
            (false, true) => self.field(line, cut)?,
        }
        Ok(None)
    }

    fn field(&mut self, line: &[u8], cut: bool) -> Result<(), Ambiguous> {
        // Most fields are none of these, and one byte tells.
        if !matches!(line[0] | 0x20, b'c' | b't' | b'u') {
            return Ok(());
        }
        // Without a colon it is no field, and hyper refuses it.
        let Some(colon) = memchr(b':', line) else { return Ok(()) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if is_lookalike(name) {
            return Err(Ambiguous);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = if cut { None } else { parse_length(trim(value)) };
            let is_first = self.length.is_none();
            self.length = Some(length.filter(|_| is_first).ok_or(Ambiguous)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || cut || !trim(value).eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }

    /// RFC 9112 §6.1: what says both how long it is and that it is chunked may be an attempt to
    /// smuggle a request.
    fn request(&self) -> Result<Request, Ambiguous> {
        let content = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Ambiguous),
            (None, true) => Content::Chunked,
            (length, false) => Content::Length(length.unwrap_or(0)),
        };
        Ok(Request { content, upgrade: self.upgrade })
    }
}

/// RFC 9112 §3.2: a fragment is no part of a request's target, and readers differ in where they
/// take it to begin.
fn check_target(request_line: &[u8]) -> Result<(), Ambiguous> {
    memchr(b'#', request_line).map_or(Ok(()), |_| Err(Ambiguous))
}

/// Whether a gateway to CGI, which takes `_` for `-`, would take this name for one that frames.
fn is_lookalike(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content_length") || name.eq_ignore_ascii_case(b"transfer_encoding")
}

/// OWS (RFC 9110 §5.6.3) and no other space.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// RFC 9110 §8.6: digits and nothing else, and no more than
/// fits the signed numbers that others count in. A list of equal lengths could be read as one, but no
/// client in use sends one.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length: i64 = std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()?;
    u64::try_from(length).ok()
}
