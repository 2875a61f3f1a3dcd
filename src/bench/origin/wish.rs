//! What a request tells the bench's own origin to answer with.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// Says in a request what the bench's own origin is to answer with, so that it needs no table of all
/// objects: `size=1234, wait=20, status=404, silent, fields=:…:`, in bytes and milliseconds; the
/// fields are those of the answer, a line each (RFC 9651 §3.2). Caches pass it on like any field
/// that they do not know, and store responses without it.
pub(in crate::bench) static BENCH_ANSWER: HeaderName = HeaderName::from_static("bench-answer");

/// Bytes of fields that are sent along; with more, none are.
const MOST_FIELDS: usize = 4096;

/// What to answer with; what is not said is the origin's to choose.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::bench) struct Wish {
    /// Bytes of the whole body.
    pub(in crate::bench) size: Option<u64>,
    /// How long to wait first.
    pub(in crate::bench) wait: Option<Duration>,
    /// The status.
    pub(in crate::bench) status: Option<StatusCode>,
    /// Whether nothing is to be said of lifetimes but what is in the fields.
    pub(in crate::bench) is_silent: bool,
    /// Fields.
    pub(in crate::bench) fields: HeaderMap,
}

impl Wish {
    /// The value of [`BENCH_ANSWER`].
    pub(in crate::bench) fn value(&self) -> HeaderValue {
        let mut parts = Vec::new();
        if let Some(size) = self.size {
            // A structured integer has at most fifteen digits (RFC 9651 §3.3.1).
            parts.push(format!("size={}", size.min(999_999_999_999_999)));
        }
        if let Some(wait) = self.wait {
            parts.push(format!("wait={}", wait.as_millis().min(1_000_000)));
        }
        if let Some(status) = self.status.filter(|status| *status != StatusCode::OK) {
            parts.push(format!("status={}", status.as_u16()));
        }
        if self.is_silent {
            parts.push("silent".to_owned());
        }
        let mut lines = Vec::new();
        for (name, value) in &self.fields {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.push(b':');
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        if !lines.is_empty() && lines.len() <= MOST_FIELDS {
            parts.push(format!("fields=:{}:", STANDARD.encode(lines)));
        }
        // Invariant: these are visible ASCII characters.
        HeaderValue::try_from(parts.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// What a request with these fields says; nothing, where it is not understood.
    pub(super) fn of(request: &HeaderMap) -> Self {
        let value = request.get(&BENCH_ANSWER).map(HeaderValue::as_bytes).unwrap_or_default();
        let said: Dictionary = Parser::new(value).parse().unwrap_or_default();
        let item = |name: &str| match said.get(name) {
            Some(ListEntry::Item(item)) => Some(&item.bare_item),
            _ => None,
        };
        let number = |name: &str| match item(name) {
            Some(BareItem::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        };
        let status = number("status").and_then(|status| u16::try_from(status).ok());
        let fields = match item("fields") {
            Some(BareItem::ByteSequence(bytes)) => read_fields(bytes),
            _ => HeaderMap::new(),
        };
        Self {
            size: number("size"),
            wait: number("wait").map(Duration::from_millis),
            status: status.and_then(|status| StatusCode::from_u16(status).ok()),
            is_silent: matches!(item("silent"), Some(BareItem::Boolean(true))),
            fields,
        }
    }
}

fn read_fields(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (line.get(..colon), line.get(colon + 1..));
        let name = name.and_then(|name| HeaderName::from_bytes(name).ok());
        let value = value.and_then(|value| HeaderValue::from_bytes(value).ok());
        if let Some((name, value)) = name.zip(value) {
            fields.append(name, value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(value: &[u8]) -> Wish {
        let value = HeaderValue::from_bytes(value).unwrap();
        Wish::of(&HeaderMap::from_iter([(BENCH_ANSWER.clone(), value)]))
    }

    #[test]
    fn what_is_wished_arrives() {
        let fields = [("vary", "accept"), ("set-cookie", "a=b"), ("x", "\u{e9}")];
        let fields = fields.map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        for wish in [
            Wish::default(),
            Wish { size: Some(9), ..Wish::default() },
            Wish {
                size: Some(0),
                wait: Some(Duration::from_millis(3)),
                status: Some(StatusCode::NOT_FOUND),
                is_silent: true,
                fields: HeaderMap::from_iter(fields),
            },
        ] {
            assert_eq!(said(wish.value().as_bytes()), wish);
        }
        let long = HeaderValue::try_from("x".repeat(MOST_FIELDS)).unwrap();
        let long = HeaderMap::from_iter([(HeaderName::from_static("x"), long)]);
        assert_eq!(Wish { fields: long, ..Wish::default() }.value(), "");
    }

    #[test]
    fn what_is_not_understood_is_not_wished() {
        for text in ["size=-1, wait=-1", "size=\"x\"", "(((", "status=20, silent=?0", "fields=1"] {
            assert_eq!(said(text.as_bytes()), Wish::default(), "{text}");
        }
        assert_eq!(said(b"size=12, other").size, Some(12));
    }

    proptest! {
        #[test]
        fn no_lines_are_too_strange(lines in prop::collection::vec(any::<u8>(), 0..60)) {
            let value = format!("fields=:{}:", STANDARD.encode(lines));
            said(value.as_bytes());
        }
    }
}
