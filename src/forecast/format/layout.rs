//! Fields at their places: one reader for every format string of nginx and Apache.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::Broken;
use super::entry::Entry;
use super::fields::{field_name, variable};
use super::slot::{Draft, Slot, Unit};

/// A format string, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// These bytes.
    Text(Vec<u8>),
    /// A field, up to the text after it.
    Field(Slot),
}

/// Why a format string can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Neither a known name nor a format string.
    #[error(
        "`{0}` is neither a format (common, combined, vhost, seawall, json, csv) nor a format \
         string of nginx ($status) or Apache (%>s)"
    )]
    Unknown(String),
    /// A directive that is none.
    #[error("`{0}` is not a directive of a LogFormat")]
    Directive(String),
    /// A time in a form that is not read.
    #[error(
        "`%{{{0}}}t`: a time is read as %t, %{{sec}}t, %{{msec}}t, %{{usec}}t or in the ISO form"
    )]
    Time(String),
    /// What is needed is not in it.
    #[error("the format does not say {0} of a request")]
    Lacks(&'static str),
    /// Two fields without anything between them.
    #[error("two fields stand side by side: where the first ends can't be told")]
    Adjacent,
}

const COMMON: &str = r#"%h %l %u %t "%r" %>s %b"#;
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;
const VHOST: &str = r#"%v %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;
const SEAWALL: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" host="$host" cache=$a detail=$b duration=$request_time first_byte=$c"#;

impl Layout {
    /// The Common Log Format.
    #[must_use]
    pub fn common() -> Self {
        Self::built_in(COMMON)
    }

    /// The Combined Log Format, which nginx and varnishncsa write where nothing else is said.
    #[must_use]
    pub fn combined() -> Self {
        Self::built_in(COMBINED)
    }

    /// Combined behind the virtual host.
    #[must_use]
    pub fn vhost() -> Self {
        Self::built_in(VHOST)
    }

    /// Seawall's own access log.
    #[must_use]
    pub fn seawall() -> Self {
        Self::built_in(SEAWALL)
    }

    fn built_in(text: &str) -> Self {
        // Invariant: those above can be parsed, as a test says.
        Self::parse(text).unwrap_or(Self(Vec::new()))
    }

    /// From a `log_format` of nginx or a `LogFormat` of Apache or varnishncsa, with the quotes
    /// around it and its escapes, or without.
    ///
    /// # Errors
    /// [`LayoutError`], where it is none or says too little.
    pub fn parse(text: &str) -> Result<Self, LayoutError> {
        let text = unquoted(text.trim());
        let pieces = match (text.contains('$'), text.contains('%')) {
            (true, _) => nginx(&text),
            (false, true) => apache(&text)?,
            (false, false) => return Err(LayoutError::Unknown(text.into_owned())),
        };
        Self(pieces.joined()).checked()
    }

    fn checked(self) -> Result<Self, LayoutError> {
        let has = |slots: &[Slot]| self.slots().any(|slot| slots.contains(slot));
        if !has(&[Slot::Time]) {
            return Err(LayoutError::Lacks("the time"));
        }
        if !has(&[Slot::Request, Slot::Target, Slot::Path]) {
            return Err(LayoutError::Lacks("the URL"));
        }
        if !has(&[Slot::Status]) {
            return Err(LayoutError::Lacks("the status"));
        }
        // `$scheme://$host$request_uri`: a path begins with a slash, which tells them apart.
        let told = |first: &Slot, second: &Slot| {
            matches!((first, second), (Slot::Host, Slot::Target | Slot::Path))
        };
        let adjacent = self.0.windows(2).any(|pair| match pair {
            [Piece::Field(first), Piece::Field(second)] => !told(first, second),
            _ => false,
        });
        if adjacent { Err(LayoutError::Adjacent) } else { Ok(self) }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(slot) => Some(slot),
            Piece::Text(_) => None,
        })
    }

    /// Whether a response's lifetime would be told.
    pub(super) fn tells_lifetimes(&self) -> bool {
        let control = http::header::CACHE_CONTROL;
        self.slots().any(|slot| *slot == Slot::ResponseField(control.clone()))
    }

    /// Reads a line. What stands behind the last field is ignored if a space is before it: many
    /// add fields at the end.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Result<Entry<'a>, Broken> {
        let mut draft = Draft::default();
        let mut rest = line;
        let mut pieces = self.0.iter().peekable();
        let mut in_quotes = false;
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Text(text) => {
                    rest = rest.strip_prefix(text.as_slice()).ok_or(Broken::Form)?;
                    in_quotes = text.ends_with(b"\"");
                }
                Piece::Field(slot) => {
                    let end = match pieces.peek() {
                        Some(Piece::Text(next)) => end(rest, next, in_quotes),
                        Some(Piece::Field(_)) => memchr(b'/', rest),
                        None => Some(memchr(b' ', rest).unwrap_or(rest.len())),
                    };
                    let (field, after) =
                        rest.split_at_checked(end.ok_or(Broken::Form)?).ok_or(Broken::Form)?;
                    draft.fill(slot, unescaped(field))?;
                    rest = after;
                }
            }
        }
        if rest.first().is_none_or(u8::is_ascii_whitespace) {
            draft.finish()
        } else {
            Err(Broken::Form)
        }
    }
}

/// Where a field ends that `next` stands behind. A quote with a backslash before it is part of it.
fn end(rest: &[u8], next: &[u8], in_quotes: bool) -> Option<usize> {
    let [first, ..] = next else { return None };
    if !(in_quotes && *first == b'"') {
        return memmem::find(rest, next);
    }
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest.get(at) == Some(&b'\\') {
            at += 2;
        } else if rest.get(at..)?.starts_with(next) {
            return Some(at);
        } else {
            at += 1;
        }
    }
}

/// `\x22`, `\"`, `\\`, as nginx, Apache and Seawall write what does not stand for itself.
fn unescaped(field: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr(b'\\', field) else { return Cow::Borrowed(field) };
    let mut text = field.get(..first).unwrap_or_default().to_vec();
    let mut rest = field.get(first..).unwrap_or_default();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        match rest {
            [b'x', high, low, after @ ..]
                if let (Some(high), Some(low)) = (hex(high), hex(low)) =>
            {
                text.push((high * 16 + low) as u8);
                rest = after;
            }
            [escaped, after @ ..] => {
                text.push(*escaped);
                rest = after;
            }
            [] => text.push(b'\\'),
        }
    }
    Cow::Owned(text)
}

/// A format string without the quotes that it stands in, and without the escapes that it needs
/// there.
fn unquoted(text: &str) -> Cow<'_, str> {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let bare = inner('\'').or_else(|| inner('"').filter(|inner| inner.contains("\\\"")));
    let bare = bare.unwrap_or(text);
    if bare.contains("\\\"") || bare.contains("\\t") {
        return Cow::Owned(bare.replace("\\\"", "\"").replace("\\t", "\t"));
    }
    Cow::Borrowed(bare)
}

/// Collects pieces; texts side by side are one.
#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn text(&mut self, more: &[u8]) {
        if more.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.extend_from_slice(more),
            _ => self.0.push(Piece::Text(more.to_vec())),
        }
    }

    fn field(&mut self, slot: Slot) {
        self.0.push(Piece::Field(slot));
    }

    /// A path with its query right behind it, as `%U%q` and `$uri$is_args$args` have them, is one
    /// field.
    fn joined(self) -> Vec<Piece> {
        let (path, query) = (Piece::Field(Slot::Path), Piece::Field(Slot::Query));
        let mark = Piece::Field(Slot::Ignored);
        let mut joined = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((first, after)) = rest.split_first() {
            let (piece, left) = match after {
                [second, left @ ..] if *first == path && *second == query => {
                    (Piece::Field(Slot::Target), left)
                }
                [second, third, left @ ..]
                    if *first == path && *second == mark && *third == query =>
                {
                    (Piece::Field(Slot::Target), left)
                }
                left => (first.clone(), left),
            };
            joined.push(piece);
            rest = left;
        }
        joined
    }
}

/// nginx: `$name` and `${name}`.
fn nginx(text: &str) -> Pieces {
    let mut pieces = Pieces::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        pieces.text(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            rest.split_at(end.unwrap_or(rest.len()))
        });
        rest = after;
        if name.is_empty() {
            pieces.text(b"$");
            continue;
        }
        pieces.field(variable(name).unwrap_or(Slot::Ignored));
    }
    pieces.text(rest.as_bytes());
    pieces
}

/// Apache and varnishncsa: `%h`, `%>s`, `%{Name}i`, `%!200,304{Referer}i`.
fn apache(text: &str) -> Result<Pieces, LayoutError> {
    let mut pieces = Pieces::default();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        pieces.text(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let start = rest;
        rest = rest.trim_start_matches(|c: char| "<>!,".contains(c) || c.is_ascii_digit());
        let (argument, after) = match rest.strip_prefix('{') {
            Some(inner) => {
                let none = || LayoutError::Directive(format!("%{start}"));
                let (argument, after) = inner.split_once('}').ok_or_else(none)?;
                (Some(argument), after)
            }
            None => (None, rest),
        };
        let mut letters = after.chars();
        let letter = letters.next();
        rest = letters.as_str();
        if letter == Some('^') {
            // `%^FU`: request bytes of some kind.
            rest = rest.get(2..).unwrap_or_default();
        }
        directive(letter, argument, &mut pieces)?;
    }
    pieces.text(rest.as_bytes());
    Ok(pieces)
}

fn directive(
    letter: Option<char>,
    argument: Option<&str>,
    pieces: &mut Pieces,
) -> Result<(), LayoutError> {
    let named = |argument: Option<&str>| argument.and_then(field_name);
    let slot = match letter {
        Some('%') => {
            pieces.text(b"%");
            return Ok(());
        }
        Some('t') => return time(argument.unwrap_or_default(), pieces),
        Some('h' | 'a') => Slot::Client,
        Some('u') => Slot::User,
        Some('r') => Slot::Request,
        Some('m') => Slot::Method,
        Some('U') => Slot::Path,
        Some('q') => Slot::Query,
        Some('s') => Slot::Status,
        Some('b' | 'B') => Slot::Bytes,
        Some('O') => Slot::MoreOrLessBytes,
        Some('D') => Slot::Took(Unit::Micros),
        Some('T') => Slot::Took(match argument {
            Some("ms") => Unit::Millis,
            Some("us") => Unit::Micros,
            _ => Unit::Seconds,
        }),
        Some('v' | 'V') => Slot::Host,
        Some('i') => match named(argument) {
            Some(name) if name == http::header::HOST => Slot::Host,
            Some(name) => Slot::RequestField(name),
            None => Slot::Ignored,
        },
        Some('o') => named(argument).map_or(Slot::Ignored, Slot::ResponseField),
        Some(letter) if letter.is_ascii_alphabetic() || letter == '^' => Slot::Ignored,
        other => {
            let letter = other.map(String::from).unwrap_or_default();
            return Err(LayoutError::Directive(format!("%{letter}")));
        }
    };
    pieces.field(slot);
    Ok(())
}

fn time(argument: &str, pieces: &mut Pieces) -> Result<(), LayoutError> {
    let form = argument.trim_start_matches("begin:").trim_start_matches("end:");
    let is_plain = form.is_empty();
    if is_plain {
        pieces.text(b"[");
    }
    let is_read = ["", "sec", "msec", "usec", "%s", "%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%T %z"];
    if !is_read.contains(&form) && !form.starts_with("%Y-%m-%dT") && !form.starts_with("%FT") {
        return Err(LayoutError::Time(argument.to_owned()));
    }
    pieces.field(Slot::Time);
    if is_plain {
        pieces.text(b"]");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
