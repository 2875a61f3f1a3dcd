//! A stored head as plain values: what has to be written down elsewhere so that the same head can
//! be had from it again.
//!
//! Only what can't be worked out is written. The reader parses the fields by the same functions as
//! if they came from an origin, so that a record is input like any other.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::overrides::Overrides;
use super::reading::Reading;
use super::request::RequestFacts;
use super::storability::Storability;
use super::stored_head::{ResponseTimes, StoredHead};
use crate::clock::Timestamp;

/// What a [`StoredHead`] can be restored from.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadRecord {
    /// The status.
    pub status: StatusCode,
    /// All fields but `Age`.
    pub fields: HeaderMap,
    /// When the response's head came.
    pub response_at: Timestamp,
    /// `corrected_initial_age` (RFC 9111 §4.2.3).
    pub initial_age: Duration,
    /// What `Vary` nominates, with the values of the request that was answered; `None`: it had no
    /// such field.
    pub nominated: Vec<(HeaderName, Option<Box<[u8]>>)>,
    /// Whether a lifetime may be made up where the origin gave none.
    pub implicit: bool,
    /// The settings that its reading depended on.
    pub reading: u8,
}

/// Oldest age that a record may claim: a thousand years is as good as for ever.
const OLDEST: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

impl StoredHead {
    /// What this head can be restored from; `None` where it answers no request.
    #[must_use]
    pub fn record(&self) -> Option<HeadRecord> {
        let nominated = self.vary().map(|vary| {
            let fields = vary.nominated();
            fields.map(|(name, value)| (name.clone(), value.map(Into::into))).collect()
        });
        if nominated.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        Some(HeadRecord {
            status: self.status(),
            fields: self.header_map(),
            response_at: self.response_at(),
            initial_age: self.initial_age(),
            nominated: nominated.unwrap_or_default(),
            implicit: self.facts.implicit,
            reading: self.reading().settings(),
        })
    }

    /// The head that `record` was made of, read by `overrides`. `None` where it could not have been
    /// stored by them: its reading has changed, or what it says forbids it.
    #[must_use]
    pub fn restore(record: &HeadRecord, overrides: &Overrides) -> Option<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &record.nominated {
            if let Some(value) = value {
                headers.append(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        let request = RequestFacts::new(&Method::GET, &headers, false);
        let at = record.response_at;
        let times = ResponseTimes { request_at: at, response_at: at };
        let mut head = Self::new(&request, record.status, &record.fields, times, overrides);
        head.facts.set_initial_age(record.initial_age.min(OLDEST));
        head.facts.implicit &= record.implicit;
        head.set_reading(Reading::recorded(&head, &request, record.reading));
        let storable = head.storable(&request, overrides) == Storability::Store;
        (storable && head.reads_alike(overrides)).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use http::header::AGE;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{NOW, NOW_DATE, get, headers, secs};

    fn head(
        request: &[(&str, &str)],
        fields: &[(&str, &str)],
        overrides: &Overrides,
    ) -> StoredHead {
        let times = ResponseTimes { request_at: NOW, response_at: NOW.plus(secs(1)) };
        let request = headers(request);
        StoredHead::new(&get(&request), StatusCode::OK, &headers(fields), times, overrides)
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    #[test]
    fn a_head_is_restored_with_its_age_fields_and_variant() {
        let plain = Overrides::default();
        let fields = [FRESH, ("age", "7"), ("date", NOW_DATE), ("vary", "a, b"), ("etag", "\"x\"")];
        let stored = head(&[("a", "1,  2"), ("cookie", "c=1")], &fields, &plain);
        let restored = StoredHead::restore(&stored.record().unwrap(), &plain).unwrap();
        assert_eq!(restored.header_map(), stored.header_map());
        assert!(!restored.header_map().contains_key(AGE));
        let later = NOW.plus(secs(30));
        assert_eq!(restored.current_age(later), stored.current_age(later));
        assert_eq!(restored.vary(), stored.vary());
        assert_eq!(restored.validators(), stored.validators());
        assert_eq!(restored.expires_from_store_at(&plain), stored.expires_from_store_at(&plain));
        assert_eq!(restored.record(), stored.record());
    }

    #[test]
    fn nothing_is_made_up_for_what_was_fetched_for_one_visitor() {
        let guess = Overrides { default_lifetime: secs(60), ..Overrides::default() };
        let record = head(&[("cookie", "a=b")], &[("etag", "\"x\"")], &guess).record().unwrap();
        let lifetime = StoredHead::restore(&record, &guess).unwrap().freshness(&guess).duration;
        assert_eq!(lifetime, Duration::ZERO);
    }

    #[test]
    fn what_may_not_be_stored_is_not_restored() {
        let plain = Overrides::default();
        let mut record = head(&[], &[FRESH], &plain).record().unwrap();
        assert!(StoredHead::restore(&record, &plain).is_some());
        for (name, value) in [
            ("cache-control", "private, max-age=60"),
            ("cache-control", "no-store"),
            ("set-cookie", "a=b"),
            ("vary", "*"),
            ("vary", "cookie"),
        ] {
            let fields = std::mem::replace(&mut record.fields, headers(&[FRESH, (name, value)]));
            assert!(StoredHead::restore(&record, &plain).is_none(), "{name}: {value}");
            record.fields = fields;
        }
    }

    #[test]
    fn what_was_stored_under_other_settings_is_not_restored() {
        let lax = Overrides { store_set_cookie: true, ..Overrides::default() };
        let record = head(&[], &[FRESH, ("set-cookie", "a=b")], &lax).record().unwrap();
        assert!(StoredHead::restore(&record, &lax).is_some());
        assert!(StoredHead::restore(&record, &Overrides::default()).is_none());
        let untargeted = Overrides { targeted: false, ..Overrides::default() };
        let fields = [FRESH, ("cdn-cache-control", "max-age=9")];
        let record = head(&[], &fields, &untargeted).record().unwrap();
        assert!(StoredHead::restore(&record, &untargeted).is_some());
        assert!(StoredHead::restore(&record, &Overrides::default()).is_none());
    }

    proptest! {
        #[test]
        fn any_record_restores_to_itself_or_to_nothing(
            fields in prop::collection::vec(("[a-c]|vary|age|date|cache-control|set-cookie", "[ -~]{0,12}"), 0..6),
            nominated in prop::collection::vec(("[a-c]|cookie|accept-encoding", prop::option::of("[ -~]{0,8}")), 0..4),
            age in any::<u32>(),
            reading in any::<u8>(),
        ) {
            let mut record = head(&[], &[FRESH], &Overrides::default()).record().unwrap();
            for (name, value) in &fields {
                record.fields.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            record.nominated = nominated.iter().map(|(name, value)| {
                let value = value.as_ref().map(|value| value.as_bytes().into());
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
            }).collect();
            record.initial_age = Duration::from_secs(u64::from(age));
            record.reading = reading;
            if let Some(restored) = StoredHead::restore(&record, &Overrides::default()) {
                let again = restored.record().unwrap();
                let restored_again = StoredHead::restore(&again, &Overrides::default()).unwrap();
                prop_assert_eq!(restored_again.record().unwrap(), again);
            }
        }
    }
}
