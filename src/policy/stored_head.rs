//! The head of a stored response: compact, immutable, with its facts parsed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::age::OVERFLOW;
use super::dates::format_date;
use super::directives::CacheControl;
use super::facts::{Facts, date_of};
use super::freshness::{FreshnessLifetime, StaleWindows};
use super::lines::{Line, Lines, Writer};
use super::overrides::Overrides;
use super::range::{ContentRange, parse_content_range};
use super::reading::Reading;
use super::request::RequestFacts;
use super::validators::{EntityTag, Validators};
use super::vary::{VaryKey, VaryOutcome};
use crate::clock::Timestamp;
use crate::headers::single;

/// Fields that an answer adds to the stored ones (`Age`, `Cache-Status`), so that their map has
/// room from the start.
const ADDED_FIELDS: usize = 2;

/// When the request for a response was sent and when its head came (RFC 9111 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseTimes {
    /// When the request was sent.
    pub request_at: Timestamp,
    /// When the response's head had come.
    pub response_at: Timestamp,
}

/// The head of a stored response: one block of bytes with all lines, and what the decisions need as
/// numbers. It shares nothing with the map it was built from.
#[derive(Clone, Debug)]
pub struct StoredHead {
    lines: Lines,
    /// How many lines there are.
    count: u16,
    vary: Option<Box<VaryKey>>,
    pub(super) facts: Facts,
    reading: Reading,
    transformable: bool,
    /// Whether there is an entity tag to validate by.
    tagged: bool,
    last_modified_strong: bool,
}

impl StoredHead {
    /// Builds a head from an origin's response, of which hop-by-hop fields are gone already.
    ///
    /// `Age` is left out (the answer's own is made of [`StoredHead::current_age`]), and so are
    /// the fields that a qualified `private` or `no-cache` names (RFC 9111 §5.2.2.4, §5.2.2.7).
    /// A missing `Date` is added (RFC 9110 §6.6.1). `request` is the one that was answered, for
    /// `Vary`.
    #[must_use]
    pub fn new(
        request: &RequestFacts<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        times: ResponseTimes,
        overrides: &Overrides,
    ) -> Self {
        let control = CacheControl::parse(headers, overrides);
        Self::saying(control, "", request, (status, headers), times, overrides)
    }

    /// The same of a response whose `control` was parsed before, by the same `overrides`, with the
    /// text of the key that it is likely to be stored under, as by [`StoredHead::keyed`].
    #[must_use]
    pub fn saying(
        control: CacheControl,
        key: &str,
        request: &RequestFacts<'_>,
        (status, headers): (StatusCode, &HeaderMap),
        times: ResponseTimes,
        overrides: &Overrides,
    ) -> Self {
        let is_stored = |name: &HeaderName| name != AGE && !control.withholds(name);
        let mut writer = Writer::new(key.as_bytes());
        for (name, value) in headers.iter().filter(|(name, _)| is_stored(name)) {
            writer.push(name, value.as_bytes());
        }
        if !headers.contains_key(DATE) {
            writer.push(&DATE, format_date(times.response_at).as_bytes());
        }
        let names = headers.keys().filter(|name| is_stored(name));
        let names = names.map(|name| name.as_str().as_bytes());
        let reading = Reading::new(names, request, overrides);
        let date = date_of(headers, &DATE, times.response_at);
        let vary = match VaryKey::parse(headers, request.headers, overrides) {
            VaryOutcome::None => None,
            VaryOutcome::Key(key) => Some(Box::new(key)),
            VaryOutcome::Star => Some(Box::new(VaryKey::never())),
        };
        let (lines, count) = writer.finish();
        let mut head = Self {
            lines,
            count,
            vary,
            facts: Facts::new(
                request,
                (status, headers),
                control.directives,
                (times, date),
                overrides,
            ),
            reading,
            transformable: super::compression::is_transformable(request, status, headers),
            tagged: false,
            last_modified_strong: false,
        };
        head.find_validators(headers, date);
        head
    }

    /// Whether its fields mean the same by `overrides` as by those that it was stored under.
    #[must_use]
    pub fn reads_alike(&self, overrides: &Overrides) -> bool {
        self.reading.is_todays(overrides)
    }

    pub(super) const fn reading(&self) -> Reading {
        self.reading
    }

    pub(super) const fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.facts.status
    }

    /// The same head, of which the fields with these names are not among those for an answer.
    #[must_use]
    pub fn hiding<'a>(mut self, names: impl Iterator<Item = &'a HeaderName>) -> Self {
        for name in names {
            self.lines = self.lines.hiding(|line| line.is_of(name));
        }
        self
    }

    /// The head of another form of the same response: with `fields` in the place of its own. What is
    /// hidden stays so.
    pub(super) fn with_fields(&self, fields: &HeaderMap) -> Self {
        let mut writer = Writer::new(b"");
        for (name, value) in fields {
            writer.push(name, value.as_bytes());
        }
        let (lines, count) = writer.finish();
        let mut head = Self {
            lines,
            count,
            // Which requests it answers, the response itself says.
            vary: None,
            facts: self.facts.clone(),
            reading: self.reading,
            transformable: false,
            tagged: false,
            last_modified_strong: false,
        };
        head.find_validators(fields, date_of(fields, &DATE, self.facts.response_at));
        let hidden = self.lines.iter().filter(|line| line.hidden);
        let names: SmallVec<[HeaderName; 4]> = hidden.filter_map(Line::name).collect();
        head.hiding(names.iter())
    }

    /// Whether its body is all there, and nobody forbids to send it in another coding.
    #[must_use]
    pub const fn is_transformable(&self) -> bool {
        self.transformable
    }

    /// The same head, whose `Last-Modified` tells nothing of the bytes: those of another form of
    /// the response have the same date.
    #[must_use]
    pub fn without_strong_date(mut self) -> Self {
        self.last_modified_strong = false;
        self
    }

    /// The fields for an answer, without `Age`. Values are slices of the stored block: one
    /// reference count each, nothing is copied.
    #[must_use]
    pub fn answer_fields(&self) -> HeaderMap {
        self.fields_where(|line| !line.hidden)
    }

    /// All fields, those that are hidden from clients among them.
    #[must_use]
    pub fn header_map(&self) -> HeaderMap {
        self.fields_where(|_| true)
    }

    fn fields_where(&self, wanted: impl Fn(&Line<'_>) -> bool) -> HeaderMap {
        let room = usize::from(self.count) + ADDED_FIELDS;
        let mut headers = HeaderMap::try_with_capacity(room).unwrap_or_default();
        for line in self.lines.iter().filter(wanted) {
            let Some(value) = self.lines.value(line) else { continue };
            // Invariant: a block's fields came from one map, so they fit into one.
            let _ = match line.known_name() {
                Some(name) => headers.try_append(name, value),
                None => match line.name() {
                    Some(name) => headers.try_append(name, value),
                    None => continue,
                },
            };
        }
        headers
    }

    /// The first line of a field.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<HeaderValue> {
        self.get_all(name).next()
    }

    /// All lines of a field, in order.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = HeaderValue> {
        self.lines_of(name).filter_map(|line| self.lines.value(line))
    }

    /// The names of all lines, those that are hidden among them.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Line::name_text)
    }

    fn lines_of(&self, name: &HeaderName) -> impl Iterator<Item = Line<'_>> {
        self.lines.iter().filter(move |line| line.is_of(name))
    }

    /// The same head with the text of the key that it is stored under, which is no field: it stands
    /// in the block.
    #[must_use]
    pub fn keyed(self, key: &str) -> Self {
        Self { lines: self.lines.with_text(key.as_bytes()), ..self }
    }

    /// That text; empty where there is none.
    #[must_use]
    pub fn key(&self) -> &str {
        std::str::from_utf8(self.lines.text()).unwrap_or_default()
    }

    /// Whether it is `key`.
    #[must_use]
    pub fn is_keyed(&self, key: &str) -> bool {
        self.lines.text() == key.as_bytes()
    }

    /// Bytes on the heap: the block, and the key of `Vary`.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.lines.heap_bytes() + self.vary_bytes()
    }

    /// The same with the text of a key of `key` bytes.
    #[must_use]
    pub fn heap_bytes_keyed(&self, key: usize) -> usize {
        self.lines.heap_bytes_with(key) + self.vary_bytes()
    }

    fn vary_bytes(&self) -> usize {
        self.vary.as_ref().map_or(0, |key| size_of::<VaryKey>() + key.heap_bytes())
    }

    /// `current_age` (RFC 9111 §4.2.3).
    #[must_use]
    pub fn current_age(&self, now: Timestamp) -> Duration {
        self.facts.current_age(now)
    }

    /// How old it was when it came: `corrected_initial_age` (RFC 9111 §4.2.3).
    #[must_use]
    pub const fn initial_age(&self) -> Duration {
        self.facts.initial_age()
    }

    /// The current age as `Age` tells it: in whole seconds, rounded down, at most 2^31
    /// (RFC 9111 §1.2.2, §5.1).
    #[must_use]
    pub fn age_seconds(&self, now: Timestamp) -> u32 {
        u32::try_from(self.current_age(now).as_secs()).unwrap_or(OVERFLOW).min(OVERFLOW)
    }

    /// The freshness lifetime (RFC 9111 §4.2.1).
    #[must_use]
    pub fn freshness(&self, overrides: &Overrides) -> FreshnessLifetime {
        self.facts.lifetime(overrides)
    }

    /// How long past its lifetime it may be of use.
    #[must_use]
    pub fn stale_windows(&self, overrides: &Overrides) -> StaleWindows {
        self.facts.windows(overrides)
    }

    /// Remaining freshness in seconds, rounded down; negative when stale.
    #[must_use]
    pub fn ttl(&self, overrides: &Overrides, now: Timestamp) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let lifetime = millis(self.freshness(overrides).duration);
        lifetime.saturating_sub(millis(self.current_age(now))).div_euclid(1000)
    }

    /// When a tier may drop it: lifetime, stale windows and, with a validator, `keep` are over.
    /// For garbage collection only; freshness is [`super::reuse()`]'s.
    #[must_use]
    pub fn expires_from_store_at(&self, overrides: &Overrides) -> Timestamp {
        let facts = &self.facts;
        let stale = facts
            .revalidate_window(overrides)
            .max(facts.error_window(overrides))
            .max(facts.disconnected_window(overrides));
        let keep = if self.has_validators() { overrides.keep } else { Duration::ZERO };
        let useful = self.freshness(overrides).duration.saturating_add(stale).saturating_add(keep);
        facts.response_at.plus(useful.saturating_sub(facts.initial_age()))
    }

    /// Whether there is anything to validate by.
    #[must_use]
    pub fn has_validators(&self) -> bool {
        // The tag is looked for last: its line has to be found.
        let is_success = self.status().is_success();
        is_success && (self.facts.last_modified.is_some() || !self.validators().is_empty())
    }

    /// The validators (RFC 9110 §8.8).
    #[must_use]
    pub fn validators(&self) -> Validators<'_> {
        // None for other statuses than 2xx: a server makes no 304 in their place (RFC 9110
        // §13.2.1), so that one would speak of what has come since.
        if !self.status().is_success() {
            return Validators::default();
        }
        let tag = || self.lines_of(&ETAG).next().map(|line| self.lines.bytes(line));
        Validators {
            etag: self.tagged.then(tag).flatten().and_then(EntityTag::parse),
            last_modified: self.facts.last_modified,
            last_modified_strong: self.last_modified_strong,
        }
    }

    /// `Content-Length`, if it is one number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.single(&CONTENT_LENGTH).as_ref().and_then(parse_length)
    }

    /// `Content-Range`, if it is one of bytes (RFC 9110 §14.4).
    #[must_use]
    pub fn content_range(&self) -> Option<ContentRange> {
        self.single(&CONTENT_RANGE).as_ref().and_then(parse_content_range)
    }

    /// The value of a field that has one line.
    fn single(&self, name: &HeaderName) -> Option<HeaderValue> {
        let mut lines = self.get_all(name);
        lines.next().filter(|_| lines.next().is_none())
    }

    /// The length of the complete representation, where it is known: of a partial response from
    /// `Content-Range`, else `Content-Length`.
    #[must_use]
    pub fn complete_length(&self) -> Option<u64> {
        if self.is_partial() { self.content_range()?.complete } else { self.content_length() }
    }

    /// `Date`, or when the response came.
    #[must_use]
    pub const fn date(&self) -> Timestamp {
        self.facts.date
    }

    /// When the response's head came.
    #[must_use]
    pub const fn response_at(&self) -> Timestamp {
        self.facts.response_at
    }

    /// Which requests it answers (RFC 9111 §4.1); `None`: all.
    #[must_use]
    pub fn vary(&self) -> Option<&VaryKey> {
        self.vary.as_deref()
    }

    /// A 206.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.status() == StatusCode::PARTIAL_CONTENT
    }

    /// Whether a stale response may never be served unvalidated (RFC 9111 §4.2.4), as the origin
    /// says.
    #[must_use]
    pub const fn must_revalidate(&self) -> bool {
        self.facts.directives.bars_stale()
    }

    /// The same, as configuration has it.
    #[must_use]
    pub fn bars_stale(&self, overrides: &Overrides) -> bool {
        self.facts.bars_stale(overrides)
    }

    /// Notes what there is to validate by; `date` is what the fields say.
    fn find_validators(&mut self, headers: &HeaderMap, date: Option<Timestamp>) {
        let dates = self.facts.last_modified.zip(date);
        let second = Duration::from_secs(1);
        self.tagged = single(headers, &ETAG).is_some();
        self.last_modified_strong =
            dates.is_some_and(|(modified, date)| modified.plus(second) <= date);
    }

    /// All its lines, in one block. Two heads that share a block have the same fields, and hide the
    /// same.
    #[must_use]
    pub fn block(&self) -> &Bytes {
        self.lines.block()
    }
}

/// Digits only (RFC 9110 §8.6).
fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
