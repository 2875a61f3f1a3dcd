//! The head of a stored response: compact, immutable, with its facts parsed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::age::OVERFLOW;
use super::dates::format_date;
use super::facts::{Facts, date_of};
use super::freshness::{FreshnessLifetime, StaleWindows};
use super::names::NameId;
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

/// The head of a stored response: one block of bytes with all values, a small table of fields,
/// and what the decisions need as numbers. It shares nothing with the map it was built from.
#[derive(Clone, Debug)]
pub struct StoredHead {
    block: Bytes,
    fields: Fields,
    vary: Option<Box<VaryKey>>,
    validators: Validators,
    content_length: Option<u64>,
    /// Few heads have one.
    content_range: Option<Box<ContentRange>>,
    pub(super) facts: Facts,
    reading: Reading,
    transformable: bool,
}

/// Most heads fit, so that the table is read with what stands beside it.
type Fields = SmallVec<[Field; 8]>;

/// One field line. An inline name stands before its value, after two bytes with its length.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: NameId,
    /// Clients do not get it, unless settings say so when they are answered.
    hidden: bool,
    offset: u32,
    value_len: u32,
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
        let mut facts = Facts::new(request, status, headers, times, overrides);
        let mut writer = Writer::new(headers);
        for (name, value) in headers {
            if name != AGE && !facts.directives.names(name) {
                writer.push(name, value.as_bytes());
            }
        }
        if !headers.contains_key(DATE) {
            writer.push(&DATE, format_date(times.response_at).as_bytes());
        }
        // These are stripped, and nothing asks for them again.
        facts.directives.withheld_fields = Vec::new();
        let vary = match VaryKey::parse(headers, request.headers, overrides) {
            VaryOutcome::None => None,
            VaryOutcome::Key(key) => Some(Box::new(key)),
            VaryOutcome::Star => Some(Box::new(VaryKey::never())),
        };
        let (block, fields) = writer.finish();
        let mut head = Self {
            block,
            fields,
            vary,
            validators: Validators::default(),
            content_length: single(headers, &CONTENT_LENGTH).and_then(parse_length),
            content_range: single(headers, &CONTENT_RANGE)
                .and_then(parse_content_range)
                .map(Box::new),
            facts,
            reading: Reading::default(),
            transformable: super::compression::is_transformable(request, status, headers),
        };
        head.reading = Reading::new(&head, request, overrides);
        head.validators = head.find_validators(headers);
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
            for index in 0..self.fields.len() {
                let is_named = self.is_named(self.fields[index], name);
                self.fields[index].hidden |= is_named;
            }
        }
        self
    }

    /// The head of another form of the same response: with `fields` in the place of its own, and a
    /// body of `length` bytes. What is hidden stays so.
    pub(super) fn with_fields(&self, fields: &HeaderMap, length: u64) -> Self {
        let mut writer = Writer::new(fields);
        for (name, value) in fields {
            writer.push(name, value.as_bytes());
        }
        let (block, table) = writer.finish();
        let mut head = Self {
            block,
            fields: table,
            // Which requests it answers, the response itself says.
            vary: None,
            validators: Validators::default(),
            content_length: Some(length),
            content_range: None,
            facts: self.facts.clone(),
            reading: self.reading,
            transformable: false,
        };
        head.validators = head.find_validators(fields);
        let hidden = self.fields.iter().filter(|field| field.hidden);
        let names: SmallVec<[HeaderName; 4]> =
            hidden.filter_map(|field| self.name(*field)).collect();
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
        self.validators.last_modified_strong = false;
        self
    }

    /// The fields for an answer, without `Age`. Values are slices of the stored block: one
    /// reference count each, nothing is copied.
    #[must_use]
    pub fn answer_fields(&self) -> HeaderMap {
        self.fields_where(|field| !field.hidden)
    }

    /// All fields, those that are hidden from clients among them.
    #[must_use]
    pub fn header_map(&self) -> HeaderMap {
        self.fields_where(|_| true)
    }

    fn fields_where(&self, wanted: impl Fn(&Field) -> bool) -> HeaderMap {
        let room = self.fields.len() + ADDED_FIELDS;
        let mut headers = HeaderMap::try_with_capacity(room).unwrap_or_default();
        for field in self.fields.iter().filter(|field| wanted(field)) {
            let Some(value) = self.value(*field) else { continue };
            // Invariant: a block's fields came from one map, so they fit into one.
            let _ = match field.name.name() {
                Some(name) => headers.try_append(name, value),
                None => match self.inline_name(*field) {
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
        let fields = self.fields.iter().filter(|field| self.is_named(**field, name));
        fields.filter_map(|field| self.value(*field))
    }

    fn is_named(&self, field: Field, name: &HeaderName) -> bool {
        match field.name.name() {
            Some(known) => known == name,
            None => self.inline_name_bytes(field) == Some(name.as_str().as_bytes()),
        }
    }

    /// Bytes on the heap: block, table, and the key of `Vary`. The entity tag is a slice of the
    /// block.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // What `Bytes` allocates to count references.
        const SHARED: usize = 3 * size_of::<usize>();
        let vary = self.vary.as_ref().map_or(0, |key| size_of::<VaryKey>() + key.heap_bytes());
        let fields = if self.fields.spilled() { self.fields.len() * size_of::<Field>() } else { 0 };
        let range = self.content_range.as_ref().map_or(0, |_| size_of::<ContentRange>());
        self.block.len() + SHARED + fields + vary + range
    }

    /// `current_age` (RFC 9111 §4.2.3).
    #[must_use]
    pub fn current_age(&self, now: Timestamp) -> Duration {
        self.facts.current_age(now)
    }

    /// How old it was when it came: `corrected_initial_age` (RFC 9111 §4.2.3).
    #[must_use]
    pub const fn initial_age(&self) -> Duration {
        self.facts.initial_age
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
        let keep = if self.validators.is_empty() { Duration::ZERO } else { overrides.keep };
        let useful = self.freshness(overrides).duration.saturating_add(stale).saturating_add(keep);
        facts.response_at.plus(useful.saturating_sub(facts.initial_age))
    }

    /// The validators (RFC 9110 §8.8).
    #[must_use]
    pub const fn validators(&self) -> &Validators {
        &self.validators
    }

    /// `Content-Length`, if it is one number.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// `Content-Range`, if it is one of bytes (RFC 9110 §14.4).
    #[must_use]
    pub fn content_range(&self) -> Option<ContentRange> {
        self.content_range.as_deref().copied()
    }

    /// The length of the complete representation, where it is known: of a partial response from
    /// `Content-Range`, else `Content-Length`.
    #[must_use]
    pub fn complete_length(&self) -> Option<u64> {
        if self.is_partial() { self.content_range()?.complete } else { self.content_length }
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

    /// None for other statuses than 2xx: a server makes no 304 in their place (RFC 9110 §13.2.1), so
    /// that one would speak of what has come since.
    fn find_validators(&self, headers: &HeaderMap) -> Validators {
        if !self.status().is_success() {
            return Validators::default();
        }
        let last_modified = self.facts.last_modified;
        let date = date_of(headers, &DATE, self.facts.response_at);
        let second = Duration::from_secs(1);
        Validators {
            etag: single(headers, &ETAG).and_then(|_| self.slice(&ETAG)).and_then(EntityTag::parse),
            last_modified,
            last_modified_strong: last_modified
                .zip(date)
                .is_some_and(|(modified, date)| modified.plus(second) <= date),
        }
    }

    /// Whether it has a line of a field.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.get_all(name).next().is_some()
    }

    fn slice(&self, name: &HeaderName) -> Option<Bytes> {
        let field = self.fields.iter().find(|field| field.name.name() == Some(name))?;
        self.bytes(*field)
    }

    fn value(&self, field: Field) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.bytes(field)?).ok()
    }

    fn bytes(&self, field: Field) -> Option<Bytes> {
        let start = match field.name.name() {
            Some(_) => field.offset as usize,
            None => field.offset as usize + 2 + self.inline_name_bytes(field)?.len(),
        };
        Some(self.block.slice(start..start + field.value_len as usize))
    }

    fn name(&self, field: Field) -> Option<HeaderName> {
        field.name.name().cloned().or_else(|| self.inline_name(field))
    }

    fn inline_name(&self, field: Field) -> Option<HeaderName> {
        HeaderName::from_bytes(self.inline_name_bytes(field)?).ok()
    }

    fn inline_name_bytes(&self, field: Field) -> Option<&[u8]> {
        let (len, rest) = self.block.get(field.offset as usize..)?.split_first_chunk()?;
        rest.get(..usize::from(u16::from_be_bytes(*len)))
    }
}

/// Fills a block and its table.
struct Writer {
    block: Vec<u8>,
    fields: Fields,
}

impl Writer {
    /// With exact room, so that the block is one allocation.
    fn new(headers: &HeaderMap) -> Self {
        let values: usize = headers.values().map(HeaderValue::len).sum();
        Self { block: Vec::with_capacity(values), fields: Fields::with_capacity(headers.len() + 1) }
    }

    /// A field that would end above 4 GiB is left out; no message is that large.
    fn push(&mut self, name: &HeaderName, value: &[u8]) {
        let id = NameId::of(name);
        let (Ok(offset), Ok(value_len)) = (self.block.len().try_into(), value.len().try_into())
        else {
            return;
        };
        if id == NameId::INLINE {
            let name = name.as_str().as_bytes();
            let Ok(len) = u16::try_from(name.len()) else { return };
            self.block.extend_from_slice(&len.to_be_bytes());
            self.block.extend_from_slice(name);
        }
        self.block.extend_from_slice(value);
        self.fields.push(Field { name: id, hidden: false, offset, value_len });
    }

    fn finish(mut self) -> (Bytes, Fields) {
        self.fields.shrink_to_fit();
        (Bytes::from(self.block.into_boxed_slice()), self.fields)
    }
}

/// Digits only (RFC 9110 §8.6).
fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
