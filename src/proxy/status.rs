//! `Cache-Status` (RFC 9211).

use std::cell::RefCell;

use http::header::Entry;
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::context::Outcome;
use crate::headers::CACHE_STATUS;

/// Every response has this field: it is put together on the stack, and allocated once, as long as
/// it is.
type Text = SmallVec<[u8; 128]>;

/// Values that a thread keeps: a power of two.
const PLACES: usize = 128;

thread_local! {
    /// What was said lately. What is asked for much is asked for again within the second, and then
    /// all that is told of it is the same.
    static SAID: RefCell<Vec<Option<Said>>> = RefCell::new(vec![None; PLACES]);
}

#[derive(Clone)]
struct Said {
    /// Bytes of the name that the value begins with.
    name: usize,
    outcome: Outcome,
    value: HeaderValue,
}

impl Said {
    fn is(&self, name: &str, outcome: &Outcome) -> bool {
        self.outcome == *outcome
            && self.name == name.len()
            && self.value.as_bytes().starts_with(name.as_bytes())
    }
}

/// Adds what the cache of this `name` did, behind what caches nearer to the origin say of
/// themselves (RFC 9211 §2). An empty line of it alone is a place that was kept for this.
pub fn add(headers: &mut HeaderMap, name: &str, outcome: &Outcome) {
    let Some(value) = value(name, outcome) else { return };
    match headers.entry(&CACHE_STATUS) {
        Entry::Vacant(place) => drop(place.insert(value)),
        Entry::Occupied(mut kept) if kept.get().is_empty() && kept.iter().count() == 1 => {
            drop(kept.insert(value));
        }
        Entry::Occupied(mut others) => others.append(value),
    }
}

/// The field's value; `None` where the name can't stand in one.
fn value(name: &str, outcome: &Outcome) -> Option<HeaderValue> {
    let make = || HeaderValue::from_bytes(&text(name, outcome)).ok();
    let said = SAID.try_with(|said| {
        let mut said = said.try_borrow_mut().ok()?;
        let place = said.get_mut(place_of(outcome))?;
        if let Some(said) = place.as_ref().filter(|said| said.is(name, outcome)) {
            return Some(said.value.clone());
        }
        let value = make()?;
        *place = Some(Said { name: name.len(), outcome: *outcome, value: value.clone() });
        Some(value)
    });
    said.ok().flatten().or_else(make)
}

/// Hits differ by what is left of their freshness, and misses from hits.
fn place_of(outcome: &Outcome) -> usize {
    let ttl = outcome.ttl.unwrap_or_default().cast_unsigned();
    (ttl.wrapping_mul(2) | u64::from(outcome.hit)) as usize % PLACES
}

fn text(name: &str, outcome: &Outcome) -> Text {
    let mut text = Text::from_slice(name.as_bytes());
    let mut say = |words: &str| text.extend_from_slice(words.as_bytes());
    let mut digits = itoa::Buffer::new();
    if outcome.hit {
        say("; hit");
    }
    if let Some(forwarded) = outcome.forwarded {
        say("; fwd=");
        say(forwarded.token());
    }
    if let Some(status) = outcome.forward_status {
        say("; fwd-status=");
        say(status.as_str());
    }
    if let Some(ttl) = outcome.ttl {
        say("; ttl=");
        say(digits.format(ttl));
    }
    if outcome.stored {
        say("; stored");
    }
    if outcome.collapsed {
        say("; collapsed");
    }
    if let Some(detail) = outcome.detail {
        say("; detail=");
        say(detail.word());
    }
    text
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::context::{Detail, Forwarded};
    use crate::policy::Reason;

    fn added(outcome: &Outcome) -> String {
        let mut headers = HeaderMap::new();
        add(&mut headers, "seawall", outcome);
        headers["cache-status"].to_str().expect("ascii").to_owned()
    }

    #[test]
    fn every_parameter_has_its_place() {
        let hit = Outcome { hit: true, ttl: Some(7), ..Outcome::default() };
        assert_eq!(added(&hit), "seawall; hit; ttl=7");
        let miss = Outcome {
            forwarded: Some(Forwarded::Stale),
            forward_status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
            detail: Some(Detail::Reason(Reason::Stale)),
            ..Outcome::default()
        };
        assert_eq!(
            added(&miss),
            "seawall; fwd=stale; fwd-status=304; stored; collapsed; detail=stale"
        );
    }

    #[test]
    fn what_was_said_before_is_taken_for_nothing_else() {
        let hit = Outcome { hit: true, ttl: Some(1), ..Outcome::default() };
        let later = 1 + i64::try_from(PLACES).expect("few");
        let far = Outcome { ttl: Some(later), ..hit };
        let detail = Some(Detail::Reason(Reason::Compressed));
        for _ in 0..3 {
            assert_eq!(added(&hit), "seawall; hit; ttl=1");
            assert_eq!(added(&far), format!("seawall; hit; ttl={later}"));
            assert_eq!(added(&Outcome { detail, ..hit }), "seawall; hit; ttl=1; detail=compressed");
            assert_eq!(added(&Outcome { upstream: Some(1), ..hit }), "seawall; hit; ttl=1");
            assert_eq!(added(&Outcome { hit: false, ..hit }), "seawall; ttl=1");
            for name in ["sea", "seawall", "wall"] {
                assert_eq!(value(name, &hit).expect("a value"), format!("{name}; hit; ttl=1"));
            }
            assert_eq!(value("\n", &hit), None);
        }
    }

    #[test]
    fn other_caches_words_stay_in_front() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-status", HeaderValue::from_static("inner; hit"));
        add(&mut headers, "seawall", &Outcome { hit: true, ..Outcome::default() });
        let all: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(all, ["inner; hit", "seawall; hit"]);
    }

    #[test]
    fn a_place_that_was_kept_is_taken_and_an_empty_word_of_others_stays_in_front() {
        let mut headers = HeaderMap::new();
        headers.insert(&CACHE_STATUS, HeaderValue::from_static(""));
        let hit = Outcome { hit: true, ..Outcome::default() };
        add(&mut headers, "seawall", &hit);
        let all = |headers: &HeaderMap| {
            let lines = headers.get_all(&CACHE_STATUS).iter();
            lines.map(|line| line.to_str().expect("ascii").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(all(&headers), ["seawall; hit"]);
        headers.insert(&CACHE_STATUS, HeaderValue::from_static(""));
        headers.append(&CACHE_STATUS, HeaderValue::from_static("inner; hit"));
        add(&mut headers, "seawall", &hit);
        assert_eq!(all(&headers), ["", "inner; hit", "seawall; hit"]);
    }
}
