//! What the decisions need of a response, parsed once when it is stored.

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, EXPIRES, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, HeaderName, StatusCode};

use super::age::{age_value, delta_seconds};
use super::dates::parse_date;
use super::directives::ResponseDirectives;
use super::overrides::Overrides;
use super::request::RequestFacts;
use super::stored_head::ResponseTimes;
use crate::clock::Timestamp;
use crate::headers::{X_ACCEL_EXPIRES, single};

/// The inputs of freshness (RFC 9111 §4.2), as numbers: as small ones, since every stored response
/// has them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) status: StatusCode,
    pub(super) response_at: Timestamp,
    /// `corrected_initial_age` (RFC 9111 §4.2.3), in milliseconds so that nothing is rounded up.
    initial_age: u64,
    /// How long the head took to come, in milliseconds: 49 days at most.
    took: u32,
    /// Where within the configured jitter its lifetime ends, from 0 to 1: the same wherever this
    /// response is stored for this key.
    pub(super) spread: f32,
    /// `Date`, or when the response came (RFC 9110 §6.6.1).
    pub(super) date: Timestamp,
    expires: Option<Timestamp>,
    /// Whether `X-Accel-Expires` says so, which goes before all others.
    accelerated: bool,
    pub(super) last_modified: Option<Timestamp>,
    pub(super) directives: ResponseDirectives,
    /// Whether a lifetime may be made up where the origin gave none.
    pub(super) implicit: bool,
}

impl Facts {
    /// Of a response that came at these `times`, and says so itself by its `date`, if it does.
    pub(super) fn new(
        request: &RequestFacts<'_>,
        (status, headers): (StatusCode, &HeaderMap),
        directives: ResponseDirectives,
        (times, date): (ResponseTimes, Option<Timestamp>),
        overrides: &Overrides,
    ) -> Self {
        let now = times.response_at;
        let date = date.unwrap_or(now);
        let apparent_age = now.since(date);
        let response_delay = now.since(times.request_at);
        let age = Duration::from_secs(u64::from(age_value(headers))).saturating_add(response_delay);
        let accel = overrides.x_accel_expires.then(|| accel_of(headers, now)).flatten();
        Self {
            status,
            response_at: now,
            initial_age: millis(apparent_age.max(age)),
            took: u32::try_from(response_delay.as_millis()).unwrap_or(u32::MAX),
            spread: spread(request.seed, now),
            date,
            expires: accel.map(|lifetime| now.plus(lifetime)).or_else(|| expires_of(headers, now)),
            accelerated: accel.is_some(),
            last_modified: date_of(headers, &LAST_MODIFIED, now),
            directives,
            implicit: allows_implicit_lifetime(request, headers),
        }
    }

    /// `current_age` (RFC 9111 §4.2.3).
    pub(super) fn current_age(&self, now: Timestamp) -> Duration {
        self.initial_age().saturating_add(now.since(self.response_at))
    }

    /// `corrected_initial_age` (RFC 9111 §4.2.3).
    pub(super) const fn initial_age(&self) -> Duration {
        Duration::from_millis(self.initial_age)
    }

    pub(super) fn set_initial_age(&mut self, age: Duration) {
        self.initial_age = millis(age);
    }

    /// How long the head took to come.
    pub(super) fn took(&self) -> Duration {
        Duration::from_millis(u64::from(self.took))
    }

    /// `X-Accel-Expires`, as a lifetime counted from the receipt.
    pub(super) fn accel(&self) -> Option<Duration> {
        self.expires.filter(|_| self.accelerated).map(|at| at.since(self.response_at))
    }

    /// `Expires`; one that is no date lies in the past (RFC 9111 §5.3).
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.expires.filter(|_| !self.accelerated)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A fraction that a key and a time have in common wherever they meet.
fn spread(seed: u64, stored_at: Timestamp) -> f32 {
    // The finalizer of SplitMix64: every bit of the result depends on every bit of both.
    let mut bits = seed ^ stored_at.as_millis().cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 40) as f32 / (1_u32 << 24) as f32
}

/// A date that stands once.
pub(super) fn date_of(headers: &HeaderMap, name: &HeaderName, now: Timestamp) -> Option<Timestamp> {
    parse_date(single(headers, name)?.as_bytes(), now)
}

/// Whatever can't be read is expired: no date, or several lines (RFC 9111 §4.2.1, §5.3).
fn expires_of(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let expired = Timestamp::from_millis(i64::MIN);
    headers.contains_key(EXPIRES).then(|| date_of(headers, &EXPIRES, now).unwrap_or(expired))
}

/// Seconds from the receipt, or `@` and seconds since the epoch.
pub(super) fn accel_of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(&X_ACCEL_EXPIRES)?.as_bytes();
    match value.strip_prefix(b"@") {
        Some(at) => Some(Timestamp::from_secs(i64::from(delta_seconds(at)?)).since(now)),
        None => Some(Duration::from_secs(u64::from(delta_seconds(value)?))),
    }
}

/// Nothing is guessed about what may be meant for one visitor.
pub(super) fn allows_implicit_lifetime(request: &RequestFacts<'_>, headers: &HeaderMap) -> bool {
    !headers.contains_key(SET_COOKIE)
        && (request.keyed_cookies || !request.headers.contains_key(COOKIE))
        && !request.headers.contains_key(AUTHORIZATION)
}
