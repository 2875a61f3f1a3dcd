//! The requests of an access log or a trace, as they were logged.

use std::collections::HashMap;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, EXPECT, HOST, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, RANGE,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use seawall::forecast::{Logged, Trace};
use seawall::headers::is_hop_by_hop;

use super::{Ask, Notes, locate, path_of_name};
use crate::bench::origin::{Wish, tag};

/// How requests of a log are sent.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Sending {
    /// The path that paths and keys go below, without a slash at its end.
    pub(in crate::bench) base: String,
    /// The host that stands for one that the log does not tell.
    pub(in crate::bench) authority: Authority,
    /// Whether the bench has an origin of its own: then nothing can come to harm, and validators
    /// are of its making.
    pub(in crate::bench) has_origin: bool,
    /// Whether to send methods that are not safe to other origins too.
    pub(in crate::bench) any_method: bool,
    /// Whether the origin is to take as long as the log says.
    pub(in crate::bench) takes_its_time: bool,
}

/// A log, request by request; what can't be sent is noted and left out.
#[derive(Debug)]
pub(in crate::bench) struct Log {
    trace: Trace,
    next: usize,
    first: i64,
    /// Where the next part of each URL begins of which parts are asked for.
    parts: HashMap<u32, u64>,
    sending: Sending,
    notes: Notes,
}

impl Log {
    /// All requests of `trace`, in order of time.
    pub(in crate::bench) fn new(trace: Trace, sending: Sending, notes: Notes) -> Self {
        let first = trace.requests.first().map_or(0, |request| request.at);
        Self { trace, next: 0, first, parts: HashMap::new(), sending, notes }
    }
}

impl Iterator for Log {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        let Self { trace, next, first, parts, sending, notes } = self;
        loop {
            let logged = trace.logged(*next)?;
            *next += 1;
            let Some(mut ask) = sending.ask(&logged, trace.tells_lifetimes()) else {
                notes.left_out();
                continue;
            };
            let at = u64::try_from(logged.at.saturating_sub(*first)).unwrap_or(0);
            ask.at = Some(Duration::from_millis(at));
            if logged.status == StatusCode::PARTIAL_CONTENT && !ask.fields.contains_key(RANGE) {
                let begin = parts.entry(logged.number).or_default();
                ask.fields.extend(part(begin, &logged).map(|range| (RANGE, range)));
            }
            return Some(ask);
        }
    }
}

/// Which part a client got is seldom told, only its size: taken to be the one after the last that
/// was asked for of the same, as who downloads in parts asks, and the first again after the end.
fn part(begin: &mut u64, logged: &Logged<'_>) -> Option<HeaderValue> {
    if *begin >= logged.size {
        *begin = 0;
    }
    let first = *begin;
    *begin = first.checked_add(logged.bytes)?;
    let last = begin.checked_sub(1).filter(|last| *last >= first)?;
    HeaderValue::try_from(format!("bytes={first}-{last}")).ok()
}

impl Sending {
    /// The request, at no time; `None` where it can't be sent.
    fn ask(&self, logged: &Logged<'_>, tells_lifetimes: bool) -> Option<Ask> {
        let is_sendable = *logged.method != Method::CONNECT
            && (logged.method.is_safe() || self.has_origin || self.any_method);
        if !is_sendable {
            return None;
        }
        let (host, path) = self.place(logged)?;
        let (method, fields) = (logged.method.clone(), self.fields(logged));
        let wish = Some(self.wish(logged, tells_lifetimes));
        Some(Ask { at: None, method, host, path, fields, wish })
    }

    /// What the bench's own origin is to answer with: what the logged one did.
    fn wish(&self, logged: &Logged<'_>, tells_lifetimes: bool) -> Wish {
        let told = logged.undated_answer();
        let own = told.iter().filter(|(name, _)| !is_foreign(name));
        let took = logged.took.filter(|_| self.takes_its_time);
        Wish {
            size: Some(logged.size),
            wait: took.map(|millis| Duration::from_millis(millis.into())),
            status: Some(logged.status),
            is_silent: tells_lifetimes,
            fields: own.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// Where it is sent. A host that the log tells stands alone; what has none is below the base.
    fn place(&self, logged: &Logged<'_>) -> Option<(Option<Authority>, PathAndQuery)> {
        let text = std::str::from_utf8(logged.target).ok();
        if logged.is_key {
            let located = text.and_then(|text| locate(&self.base, text));
            return match located {
                Some(located) => Some(located),
                None => Some((None, path_of_name(&self.base, logged.target)?)),
            };
        }
        let text = text?;
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let below = rest.strip_prefix(self.authority.as_str()).filter(|it| it.starts_with('/'));
        locate(&self.base, below.unwrap_or(text))
    }

    /// What the log tells of a request's fields, and what follows from the answer to it.
    fn fields(&self, logged: &Logged<'_>) -> HeaderMap {
        let told = logged.fields.iter().filter(|(name, _)| !is_of_connection(name));
        let mut fields: HeaderMap =
            told.map(|(name, value)| (name.clone(), value.clone())).collect();
        if self.has_origin {
            fields.remove(IF_NONE_MATCH);
            fields.remove(IF_MODIFIED_SINCE);
            if logged.has_copy {
                let known = logged.answer.get(ETAG).cloned();
                fields.insert(IF_NONE_MATCH, known.unwrap_or_else(|| tag(logged.size)));
            }
        }
        // A name alone is logged, no password: that there was one is what counts.
        if fields.get(AUTHORIZATION).is_some_and(|value| value == "Basic") {
            fields.insert(AUTHORIZATION, HeaderValue::from_static("Basic Og=="));
        }
        fields
    }
}

/// What belongs to a connection or a host, which are others here.
fn is_of_connection(name: &http::HeaderName) -> bool {
    is_hop_by_hop(name) || [HOST, CONTENT_LENGTH, EXPECT].contains(name)
}

/// What of an answer is the origin's own here.
fn is_foreign(name: &http::HeaderName) -> bool {
    is_hop_by_hop(name) || [CONTENT_LENGTH, CONTENT_RANGE].contains(name)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use seawall::forecast::format::Format;
    use seawall::forecast::{Loader, Source};

    use super::*;

    fn sending(has_origin: bool) -> Sending {
        Sending {
            base: "/base".to_owned(),
            authority: "h.example:81".parse().unwrap(),
            has_origin,
            any_method: false,
            takes_its_time: true,
        }
    }

    fn asks(format: &str, text: &str, has_origin: bool) -> (Vec<Ask>, u64) {
        let mut loader = Loader::new("http://h.example:81", true, usize::MAX);
        let source = Source::new(Cursor::new(text.as_bytes().to_vec()), None).unwrap();
        loader.read(source, Some(&Format::named(format).unwrap())).unwrap();
        let (trace, _) = loader.finish();
        let notes = Notes::default();
        let asks = Log::new(trace, sending(has_origin), notes.clone()).collect();
        (asks, notes.read().left_out)
    }

    #[test]
    fn a_trace_has_names_paths_or_urls() {
        let text = "0,3593,2367\n1.5,/a,b?c,7\n2, a b ,0\n3,http://h.example/x,9\n4,..,1\n";
        let (asks, left_out) = asks("csv", text, false);
        let found: Vec<_> =
            asks.iter().map(|ask| (ask.at.unwrap().as_millis(), ask.path.as_str())).collect();
        let expected = [
            (0, "/base/3593"),
            (1_500, "/base/a,b?c"),
            (2_000, "/base/%20a%20b%20"),
            (3_000, "/x"),
        ];
        assert_eq!(found, expected);
        assert_eq!(asks[3].host.as_ref().unwrap(), "h.example");
        assert_eq!(asks[1].wish.as_ref().unwrap().size, Some(7));
        assert_eq!(left_out, 1, "a path of two dots is another one");
    }

    #[test]
    fn a_log_says_methods_statuses_and_what_clients_had() {
        let line = |request: &str, status: u16, bytes: &str| {
            let time = "[14/Nov/2023:22:13:20 +0000]";
            format!("192.0.2.1 - - {time} \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"x/1\"\n")
        };
        let text = [
            line("GET /a", 200, "50"),
            line("GET /a", 304, "-"),
            line("GET /a", 206, "20"),
            line("HEAD /b", 404, "-"),
            line("GET /a", 206, "40"),
            line("GET /a", 206, "5"),
            line("POST /c", 302, "-"),
            line("GET http://other.example/d", 200, "5"),
        ]
        .concat();
        let (all, left_out) = asks("combined", &text, true);
        assert_eq!((all.len(), left_out), (8, 0));
        let fields = |number: usize, name: &str| all[number].fields.get(name).cloned();
        assert_eq!(fields(0, "if-none-match"), None);
        assert_eq!(fields(1, "if-none-match").unwrap(), "\"50\"");
        let ranges = [2, 4, 5].map(|number| fields(number, "range").unwrap());
        assert_eq!(ranges, ["bytes=0-19", "bytes=20-59", "bytes=0-4"]);
        assert_eq!(fields(3, "user-agent").unwrap(), "x/1");
        let wish = |number: usize| all[number].wish.clone().unwrap();
        assert_eq!((wish(1).status.unwrap().as_u16(), wish(1).size), (200, Some(50)));
        assert_eq!(wish(3).status, Some(StatusCode::NOT_FOUND));
        assert!(!wish(0).is_silent, "no log of this form tells lifetimes");
        assert_eq!(all[0].host, None);
        assert_eq!(all[0].path, "/base/a");
        assert_eq!((all[6].method.as_str(), all[7].path.as_str()), ("POST", "/d"));
        assert_eq!(all[7].host.as_ref().unwrap(), "other.example");
        // Nobody else's site is written to.
        let (safe, left_out) = asks("combined", &text, false);
        assert_eq!((safe.len(), left_out), (7, 1));
        assert!(!safe[1].fields.contains_key(IF_NONE_MATCH), "whose tags are not known");
    }

    #[test]
    fn what_the_log_tells_of_answers_is_asked_for() {
        let text = r#"{"ts":1700000000,"uri":"/a","status":200,"size":9,"duration":0.25,"resp_headers":{"Cache-Control":["max-age=60"],"Etag":["\"x\""],"Content-Length":["9"]},"request":{"headers":{"Connection":["close"],"Cookie":["a=b"]}}}
{"ts":1700000001,"uri":"/a","status":304,"size":0}
{"ts":1700000002,"uri":"/b","status":200,"size":1,"resp_headers":{"Expires":["Tue, 14 Nov 2023 22:14:22 GMT"]}}"#;
        let (asks, _) = asks("json", text, true);
        let wish = asks[0].wish.clone().unwrap();
        assert_eq!(wish.fields["cache-control"], "max-age=60");
        assert!(wish.is_silent && !wish.fields.contains_key(CONTENT_LENGTH));
        assert_eq!(wish.wait, Some(Duration::from_millis(250)));
        assert_eq!(asks[0].fields["cookie"], "a=b");
        assert!(!asks[0].fields.contains_key("connection"));
        assert_eq!(asks[1].fields[IF_NONE_MATCH], "\"x\"");
        assert_eq!(asks[2].wish.clone().unwrap().fields["cache-control"], "max-age=60");
    }
}
