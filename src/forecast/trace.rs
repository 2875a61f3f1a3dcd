//! What a log says, kept so that it can be replayed many times: 32 bytes a request, and what
//! requests have in common once.

use http::header::{CACHE_CONTROL, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::intern::Interner;
use crate::clock::Timestamp;
use crate::policy;

/// When every response is taken to have come: what is decided of one depends on how long ago that
/// was, not on when. Thu, 01 Jan 2026 00:00:00 GMT.
pub(super) const REFERENCE: Timestamp = Timestamp::from_secs(1_767_225_600);

/// Stands for a duration that is not known.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// A request, by the numbers of what it shares with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// Bytes of body that the client got.
    pub bytes: u64,
    /// What was asked for.
    pub(super) asked: u32,
    /// How it was asked for.
    pub(super) asker: u32,
    /// What the origin would answer.
    pub(super) response: u32,
    /// How long it took, in milliseconds.
    pub(super) millis: u32,
}

impl Request {
    /// How long it took, in milliseconds, if that is known.
    #[must_use]
    pub fn took(&self) -> Option<u32> {
        (self.millis != UNKNOWN).then_some(self.millis)
    }
}

/// What is known of what was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// The largest whole body that was logged.
    pub(super) size: Option<u64>,
    /// All parts that were logged, together.
    pub(super) parts: u64,
    /// The last whole response that was logged.
    pub(super) whole: Option<u32>,
    /// Whether it was ever answered 304: the origin gives it a validator.
    pub(super) validates: bool,
    /// Whether it is the name of an object rather than a URL.
    pub(super) is_key: bool,
}

/// A response's head, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// A request's method and those of its fields that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) client: std::net::IpAddr,
    /// Whether it had the representation already, and was told so by a 304.
    pub(super) has_copy: bool,
    /// The number of what the policy reads of it.
    pub(super) class: u32,
}

/// A log, ready to be replayed.
#[derive(Debug, Default)]
pub struct Trace {
    /// The requests, in order of time.
    pub requests: Vec<Request>,
    pub(super) texts: Interner,
    pub(super) asked: Vec<Asked>,
    pub(super) responses: Vec<Response>,
    pub(super) askers: Vec<Asker>,
    /// Stands for sizes that are not known.
    pub(super) usual_size: u64,
    /// Whether what the origin says of lifetimes would be in it.
    pub(super) tells_lifetimes: bool,
    /// Whether `Vary` is.
    pub(super) tells_vary: bool,
}

impl Trace {
    /// Different URLs, or keys.
    #[must_use]
    pub fn urls(&self) -> usize {
        self.asked.len()
    }

    /// Bytes of all of them together.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        (0..self.asked.len() as u32).map(|asked| self.size(asked)).sum()
    }

    /// From the first request to the last, in milliseconds.
    #[must_use]
    pub fn span(&self) -> i64 {
        let ends = self.requests.first().zip(self.requests.last());
        ends.map_or(0, |(first, last)| last.at.saturating_sub(first.at))
    }

    /// URLs of which no body was logged: their size is taken to be the median of the others.
    #[must_use]
    pub fn sizes_unknown(&self) -> usize {
        let is_unknown = |asked: &&Asked| asked.size.is_none() && asked.parts == 0;
        self.asked.iter().filter(is_unknown).count()
    }

    /// Whether the log says how long requests took.
    #[must_use]
    pub fn tells_durations(&self) -> bool {
        self.requests.iter().any(|request| request.took().is_some())
    }

    /// Bytes in memory.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.requests.capacity() * size_of::<Request>()
            + self.texts.heap_bytes()
            + self.asked.capacity() * size_of::<Asked>()
    }

    /// The URL, or the key, with a number.
    pub(super) fn text(&self, asked: u32) -> &[u8] {
        self.texts.get(asked)
    }

    /// Bytes of the whole body.
    pub(super) fn size(&self, asked: u32) -> u64 {
        let Some(asked) = self.asked.get(asked as usize) else { return self.usual_size };
        // Where there are only parts, clients have most likely asked for one after the other.
        let parts = Some(asked.parts).filter(|parts| *parts > 0);
        asked.size.or(parts).unwrap_or(self.usual_size)
    }
}

impl Trace {
    /// The media type that the last whole response for it had, if that was told.
    pub(super) fn media_type(&self, asked: u32) -> Option<&str> {
        let whole = self.asked.get(asked as usize)?.whole?;
        let value = self.responses.get(whole as usize)?.headers.get(http::header::CONTENT_TYPE)?;
        Some(value.to_str().ok()?.split(';').next()?.trim())
    }
}

/// A request of a log, for whoever wants to send it again.
#[derive(Clone, Debug)]
pub struct Logged<'a> {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// Its method.
    pub method: &'a Method,
    /// An absolute URL as it was written; any text where `is_key`.
    pub target: &'a [u8],
    /// The target's number, counted from 0.
    pub number: u32,
    /// Whether the target is the name of an object rather than a URL.
    pub is_key: bool,
    /// Its fields, as far as they were kept.
    pub fields: &'a HeaderMap,
    /// Whether its client had the representation already, and was told so by a 304.
    pub has_copy: bool,
    /// Bytes of body that its client got.
    pub bytes: u64,
    /// How long it took, in milliseconds, if that is known.
    pub took: Option<u32>,
    /// What the origin would answer: the status,
    pub status: StatusCode,
    /// bytes of the whole body,
    pub size: u64,
    /// and the fields that are known.
    pub answer: &'a HeaderMap,
}

impl Trace {
    /// The request with this number, in order of time.
    #[must_use]
    pub fn logged(&self, index: usize) -> Option<Logged<'_>> {
        let request = self.requests.get(index)?;
        let asker = self.askers.get(request.asker as usize)?;
        let response = self.responses.get(request.response as usize)?;
        Some(Logged {
            at: request.at,
            method: &asker.method,
            target: self.text(request.asked),
            number: request.asked,
            is_key: self.asked.get(request.asked as usize)?.is_key,
            fields: &asker.headers,
            has_copy: asker.has_copy,
            bytes: request.bytes,
            took: request.took(),
            status: response.status,
            size: self.size(request.asked),
            answer: &response.headers,
        })
    }

    /// Whether what the origin says of lifetimes would be in the log: where there is nothing, it
    /// said nothing.
    #[must_use]
    pub const fn tells_lifetimes(&self) -> bool {
        self.tells_lifetimes
    }
}

impl Logged<'_> {
    /// The answer's fields without dates, which meant something when it came: a lifetime by
    /// `Expires` becomes one of seconds (RFC 9111 §4.2.1).
    #[must_use]
    pub fn undated_answer(&self) -> HeaderMap {
        let mut fields = self.answer.clone();
        let date = fields.remove(EXPIRES);
        for name in [DATE, LAST_MODIFIED] {
            fields.remove(name);
        }
        if let Some(date) = date.filter(|_| !fields.contains_key(CACHE_CONTROL)) {
            let expires = policy::parse_date(date.as_bytes(), REFERENCE);
            let seconds = expires.map_or(0, |at| at.since(REFERENCE).as_secs());
            fields.insert(CACHE_CONTROL, max_age(seconds));
        }
        fields
    }
}

fn max_age(seconds: u64) -> HeaderValue {
    let text = format!("max-age={seconds}");
    // Invariant: these are visible ASCII characters.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}
