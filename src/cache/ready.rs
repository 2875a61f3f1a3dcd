//! Heads that were sent lately, ready to be sent again.
//!
//! A stored head is compact: a map of its fields has to be built for each answer, which costs more
//! than all that decides it. Most hits are on few responses, so each thread keeps the maps of those
//! that it sends most. That changes nothing but the cost: what is kept is a function of the head.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AGE, CONTENT_LENGTH, HeaderValue, TRAILER};

use crate::headers::{CACHE_STATUS, number};
use crate::policy::StoredHead;

/// Maps that a thread keeps: a power of two.
const PLACES: usize = 256;

/// Bytes of a head that is kept at most: with all places taken a thread keeps some hundred
/// kilobytes, and a few megabytes where all heads are as large as this.
const MOST_BYTES: usize = 4096;

thread_local! {
    static HEADS: RefCell<Vec<Place>> =
        RefCell::new(std::iter::repeat_with(Place::default).take(PLACES).collect());
}

/// Where one of many heads is kept.
#[derive(Default)]
struct Place {
    kept: Option<Kept>,
    /// Which head was asked for last that is not kept: the second time in a row it is.
    asked: usize,
}

struct Kept {
    /// The head's own: as long as it is here, there is no other at its address.
    block: Bytes,
    all: bool,
    /// The `Age` among its fields, in seconds: all answers of a second have the same.
    age: u32,
    fields: HeaderMap,
}

/// The fields of an answer with a stored body: those of the head, of hidden ones only where `all`
/// are wanted; without the length, which is the body's, and without `Trailer`, since trailers are
/// not kept. `Age` is there, in seconds, and a place for `Cache-Status`, to be taken: a map that is
/// copied has room for what is in it, and no more.
pub(super) fn fields(head: &StoredHead, all: bool, age: u32) -> HeaderMap {
    let (block, id) = (head.block(), head.block().as_ptr().addr());
    let kept = HEADS.try_with(|heads| {
        let mut heads = heads.try_borrow_mut().ok()?;
        let place = heads.get_mut(place_of(id))?;
        match &mut place.kept {
            Some(kept) if kept.all == all && is_same(&kept.block, block) => {
                if kept.age != age {
                    kept.fields.insert(AGE, number(age));
                    kept.age = age;
                }
                Some(kept.fields.clone())
            }
            _ if place.asked == id && block.len() <= MOST_BYTES => {
                let fields = built(head, all, age);
                place.kept = Some(Kept { block: block.clone(), all, age, fields: fields.clone() });
                Some(fields)
            }
            _ => {
                place.asked = id;
                None
            }
        }
    });
    kept.ok().flatten().unwrap_or_else(|| built(head, all, age))
}

/// Whether these are the very same bytes, not just equal ones.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

/// The place of what is at an address.
fn place_of(address: usize) -> usize {
    // Fibonacci hashing: neighbours in memory are far apart.
    let mixed = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - PLACES.ilog2())) as usize
}

fn built(head: &StoredHead, all: bool, age: u32) -> HeaderMap {
    let mut fields = if all { head.header_map() } else { head.answer_fields() };
    fields.remove(CONTENT_LENGTH);
    fields.remove(TRAILER);
    fields.insert(AGE, number(age));
    fields.entry(&CACHE_STATUS).or_insert(HeaderValue::from_static(""));
    fields
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, HeaderName};
    use http::{Method, StatusCode};

    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::testing::headers;
    use crate::policy::{Overrides, RequestFacts, ResponseTimes};

    static TAG: HeaderName = HeaderName::from_static("cache-tag");

    fn stored(extra: &str) -> StoredHead {
        let fields = [("content-length", "3"), ("trailer", "x"), ("cache-tag", "t"), ("x", extra)];
        let request = HeaderMap::new();
        let facts = RequestFacts::new(&Method::GET, &request, false);
        let at = Timestamp::from_secs(0);
        let times = ResponseTimes { request_at: at, response_at: at };
        let overrides = Overrides::default();
        StoredHead::new(&facts, StatusCode::OK, &headers(&fields), times, &overrides)
    }

    /// How many heads this thread keeps.
    fn kept() -> usize {
        HEADS.with_borrow(|heads| heads.iter().filter(|place| place.kept.is_some()).count())
    }

    #[test]
    fn what_is_kept_is_what_would_be_built() {
        let heads: Vec<_> = (0..2 * PLACES).map(|number| stored(&number.to_string())).collect();
        for (all, age) in [(false, 0), (true, 0), (true, 1), (false, 1), (false, 2), (false, 1)] {
            for head in &heads {
                for _ in 0..3 {
                    let fields = fields(head, all, age);
                    assert_eq!(fields, built(head, all, age));
                    assert_eq!(fields[AGE], age.to_string());
                    assert!(!fields.contains_key(CONTENT_LENGTH) && !fields.contains_key(TRAILER));
                }
            }
        }
        assert!(kept() > PLACES / 2);
    }

    #[test]
    fn what_one_head_hides_another_copy_of_it_may_show() {
        let shown = stored("1");
        let hiding = shown.clone().hiding([&TAG].into_iter());
        for _ in 0..3 {
            assert!(fields(&shown, false, 0).contains_key(&TAG));
            assert!(!fields(&hiding, false, 0).contains_key(&TAG));
            assert!(fields(&hiding, true, 0).contains_key(&TAG));
        }
    }

    #[test]
    fn one_that_is_gone_is_taken_for_no_other() {
        for number in 0..2000 {
            let head = stored(&number.to_string());
            for _ in 0..3 {
                assert_eq!(fields(&head, false, 0)["x"], number.to_string());
            }
        }
    }

    #[test]
    fn a_huge_head_and_one_that_is_asked_for_once_are_not_kept() {
        let (huge, other) = (stored(&"x".repeat(MOST_BYTES)), stored("1"));
        let before = kept();
        (0..3).for_each(|_| drop(fields(&huge, false, 0)));
        let _ = fields(&other, false, 0);
        assert_eq!(kept(), before);
        let mut changed = fields(&other, false, 0);
        assert_eq!(kept(), before + 1);
        // Each has its own.
        changed.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        assert!(!fields(&other, false, 0).contains_key(CACHE_CONTROL));
    }
}
