//! Lists, dictionaries and tags: targeted fields, `Vary`, entity tags, preconditions.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use seawall::clock::Timestamp;
use seawall::headers::{CDN_CACHE_CONTROL, SEAWALL_CACHE_CONTROL, members, strip_hop_by_hop};
use seawall::policy::precondition::{self, Precondition};
use seawall::policy::{
    CacheControl, HeadVerdict, Overrides, RequestFacts, ResponseTimes, Source, StoredHead, VaryKey,
    VaryOutcome, conditional_headers, judge_head, select, validated_by,
};

use super::input::{Input, overrides};

/// Numbers: when the response came (ms), its status.
pub fn run(data: &[u8]) {
    let input = Input::read(data);
    for value in input.response.values().chain(input.request.values()) {
        lists(value.as_bytes());
    }
    hop_by_hop(&input.request);
    for overrides in overrides() {
        targeted(&input.response, &overrides);
        vary(&input, &overrides);
        validation(&input, &overrides);
    }
}

fn lists(value: &[u8]) {
    let mut after = 0;
    for member in members(value) {
        assert!(!member.is_empty() && member.trim_ascii() == member);
        let start = member.as_ptr().addr() - value.as_ptr().addr();
        assert!(start >= after, "members stand in order and apart");
        after = start + member.len();
    }
}

fn hop_by_hop(request: &HeaderMap) {
    let mut stripped = request.clone();
    strip_hop_by_hop(&mut stripped);
    for name in ["connection", "te", "transfer-encoding", "upgrade", "keep-alive"] {
        assert!(!stripped.contains_key(name), "{name}");
    }
    for name in ["authorization", "cookie", "host", "content-length", "range"] {
        assert_eq!(stripped.get(name), request.get(name), "a nomination can't take {name}");
    }
}

/// RFC 9213 §2.1: a targeted field is a Dictionary as a whole, or it does not count.
fn targeted(response: &HeaderMap, overrides: &Overrides) {
    let control = CacheControl::parse(response, overrides);
    let directives = &control.directives;
    for (source, name) in [
        (Source::SeawallCacheControl, &SEAWALL_CACHE_CONTROL),
        (Source::CdnCacheControl, &CDN_CACHE_CONTROL),
    ] {
        if directives.source == source {
            let mut lines = response.get_all(name).iter().peekable();
            assert!(lines.peek().is_some() && lines.all(|line| line.as_bytes().is_ascii()));
        }
    }
    let seconds = [
        directives.max_age(),
        directives.s_maxage(),
        directives.stale_while_revalidate(),
        directives.stale_if_error(),
    ];
    assert!(seconds.into_iter().flatten().all(|seconds| seconds <= 1 << 31), "{seconds:?}");
    assert!(control.withheld_fields.len() <= 1000, "bounded");
}

fn vary(input: &Input, overrides: &Overrides) {
    if let VaryOutcome::Key(key) = VaryKey::parse(&input.response, &input.request, overrides) {
        assert!(key.matches(&input.request), "a variant answers the request that it was made for");
        // What the key names decides, and nothing else.
        let mut other = input.request.clone();
        other.insert(HeaderName::from_static("x-unnamed"), "1".parse().expect("a value"));
        let named = key.names().any(|name| name == "x-unnamed");
        assert!(named || key.matches(&other));
        assert_eq!(key.fingerprint_for(&input.request), key.fingerprint_for(&input.request));
    }
}

fn validation(input: &Input, overrides: &Overrides) {
    let now = Timestamp::from_millis(input.number(0));
    let times = ResponseTimes { request_at: now, response_at: now };
    let request = RequestFacts::new(&Method::GET, &input.request, false);
    let stored = StoredHead::new(&request, StatusCode::OK, &input.response, times, overrides);
    if let Some(chosen) = select([&stored].into_iter(), &input.request, overrides) {
        assert_eq!(chosen, 0);
    }
    let condition = precondition::evaluate(&Method::GET, &input.request, &stored, overrides);
    if !["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]
        .iter()
        .any(|name| input.request.contains_key(*name))
    {
        assert_eq!(condition, Precondition::Proceed);
    }
    // What validates it is what it was stored with (RFC 9111 §4.3.1, §4.3.3).
    let mut conditional = input.request.clone();
    conditional_headers(&stored, &mut conditional);
    assert_eq!(conditional.contains_key("if-none-match"), stored.validators().etag.is_some());
    let _ = validated_by(&stored, &input.response);
    if judge_head(&stored, StatusCode::OK, &input.response) == HeadVerdict::Same {
        let _ = stored.with_update(&input.response, times, overrides, &request);
    }
}
