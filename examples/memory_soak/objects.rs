//! What is stored, and what the process takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use seawall::body::Blocks;
use seawall::clock::Timestamp;
use seawall::key::{CacheKey, Target};
use seawall::policy::{Overrides, RequestFacts, ResponseTimes, StoredHead};
use seawall::store::{Content, Insertion, Memory, Stamp, StoredResponse};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_000_000);

/// An object to be stored.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    pub(crate) number: usize,
    /// Bytes of its body.
    pub(crate) size: usize,
    /// Which of the responses that one key has.
    pub(crate) variant: usize,
}

pub(crate) fn key(number: usize) -> CacheKey {
    let url = format!("http://www.example.com/assets/{number}.css");
    Target::parse(&url).expect("a URL").key()
}

/// Stores an object; `None` where there was no room for it while it came.
pub(crate) fn put(store: &Memory, object: Object) -> Option<Insertion> {
    let fields = [
        ("content-type", "text/css; charset=utf-8"),
        ("cache-control", "public, max-age=3600"),
        ("etag", "\"5f2b-61c8d3a7\""),
        ("last-modified", "Tue, 01 Jan 2019 00:00:00 GMT"),
        ("server", "nginx"),
        ("vary", "accept-language"),
        ("x-request-id", "8b1a9953c4611296"),
    ];
    let value = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let fields: HeaderMap = fields.map(value).into_iter().collect();
    let language = HeaderValue::from_str(&format!("x-{}", object.variant)).expect("a value");
    let request = HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, language)]);
    let facts = RequestFacts::new(&Method::GET, &request, false);
    let times = ResponseTimes { request_at: NOW, response_at: NOW };
    let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
    let (key, stamp) = (key(object.number), Stamp::new(store.sequence(), None));
    let charge = store.charge(StoredResponse::cost(&head, &stamp, key.as_str().len()))?;
    let body_charge = store.charge(object.size)?;
    let body = Bytes::from(vec![b'x'; object.size]);
    let content = Content::Whole(Arc::new(Blocks::new([body], Some(body_charge))));
    let useless_at = NOW.plus(Duration::from_secs(3600));
    let response = StoredResponse::new(&key, head, content, stamp, useless_at, charge);
    Some(store.insert(&key, &Arc::new(response), NOW))
}

/// This process's resident memory in bytes.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a page count") * 4096
}
