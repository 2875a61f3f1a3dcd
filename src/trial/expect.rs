//! What is expected of a request, and how it differs from what came of it.

use http::{HeaderMap, HeaderName};

use super::report::Difference;
use super::seen::Seen;
use crate::context::Detail;
use crate::rules::{Presence, Text};

/// One thing that is expected.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Its key, as in the file: `origin.requests`.
    pub key: String,
    /// The line where it stands, from 1.
    pub line: usize,
    /// Its value, as in the file.
    pub written: String,
    /// What it means.
    pub want: Want,
}

/// What can be expected.
#[derive(Clone, Debug)]
pub enum Want {
    /// Whether a response is stored for the request afterwards.
    Stored(bool),
    /// The reason word.
    Reason(Detail),
    /// The rules that count, by name or line.
    Rules(Vec<String>),
    /// The key: the URL, and each part that is keyed beside it, as `name=value` or, of what is
    /// absent, `name`.
    Key(Vec<String>),
    /// The tags of what is stored, in the order of their bytes.
    Tags(Vec<String>),
    /// The lifetime of what is stored, in seconds.
    Lifetime(u64),
    /// Whether it is answered from memory.
    Hit(bool),
    /// Whether a stored response is served past its lifetime.
    Stale(bool),
    /// How many variants of the key are stored afterwards.
    Variants(usize),
    /// The status.
    Status(u16),
    /// Our own member of `Cache-Status`.
    CacheStatus(Text),
    /// A field that the client gets.
    Header(HeaderName, Presence),
    /// The body that the client gets.
    Body(String),
    /// How often the origin is asked.
    OriginRequests(usize),
    /// The upstream, by its name.
    OriginUpstream(String),
    /// The method that the origin is asked with.
    OriginMethod(String),
    /// Path and query that the origin is asked for.
    OriginTarget(String),
    /// A field that the origin gets.
    OriginHeader(HeaderName, Presence),
}

impl Expectation {
    /// How `seen` differs from it, if it does.
    pub(super) fn missed(&self, seen: &Seen, upstreams: &[String]) -> Option<Difference> {
        let got = self.want.missed(seen, upstreams)?;
        Some(Difference {
            key: self.key.clone(),
            line: self.line,
            expected: self.written.clone(),
            got,
        })
    }
}

impl Want {
    /// What there is instead, written as in the file.
    fn missed(&self, seen: &Seen, upstreams: &[String]) -> Option<String> {
        let sent = seen.sent.last();
        match self {
            Self::Stored(want) => differs(&seen.stored.is_some(), want),
            Self::Hit(want) => differs(&seen.is_hit(), want),
            Self::Stale(want) => differs(&seen.is_stale(), want),
            Self::Variants(want) => differs(&seen.variants, want),
            Self::Status(want) => differs(&seen.status.as_u16(), want),
            Self::OriginRequests(want) => differs(&seen.sent.len(), want),
            Self::Reason(want) => (seen.reason() != Some(*want)).then(|| {
                let word = seen.reason().map(Detail::word);
                word.map_or_else(|| "none: it was a fresh hit".to_owned(), quoted)
            }),
            Self::Rules(want) => (seen.rules() != *want).then(|| format!("{:?}", seen.rules())),
            Self::Key(want) => match &seen.routed {
                Some(routed) => {
                    let key = routed.keyed.key();
                    let got: Vec<_> = key.as_str().split('\n').collect();
                    (got != *want).then(|| match got.as_slice() {
                        [url] => quoted(url),
                        several => format!("{several:?}"),
                    })
                }
                None => Some("no route, no key".to_owned()),
            },
            Self::Tags(want) => match &seen.stored {
                Some(stored) => {
                    let labels = stored.stamp.labels();
                    let tags = labels.iter().flat_map(|labels| labels.tags());
                    let got: Vec<_> = tags.map(String::from_utf8_lossy).collect();
                    (got != *want).then(|| format!("{got:?}"))
                }
                None => Some("nothing is stored".to_owned()),
            },
            Self::Lifetime(want) => {
                let lifetime = seen.lifetime().map(|lifetime| lifetime.duration);
                let got = lifetime.map(|lifetime| lifetime.as_secs());
                (got != Some(*want)).then(|| match lifetime {
                    Some(lifetime) => quoted(&humantime::format_duration(lifetime).to_string()),
                    None => "nothing is stored".to_owned(),
                })
            }
            Self::CacheStatus(want) => {
                let text = seen.cache_status().unwrap_or_default();
                (!want.matches(text.as_bytes())).then(|| quoted(text))
            }
            Self::Header(name, want) => field(&seen.headers, name, want),
            Self::Body(want) => {
                let text = String::from_utf8_lossy(&seen.body);
                (text != *want).then(|| quoted(&text))
            }
            Self::OriginUpstream(want) => match sent {
                Some(sent) => {
                    missing_or(upstreams.get(sent.upstream).cloned(), want, "no such upstream")
                }
                None => Some(NOT_ASKED.to_owned()),
            },
            Self::OriginMethod(want) => {
                missing_or(sent.map(|sent| sent.method.to_string()), want, NOT_ASKED)
            }
            Self::OriginTarget(want) => {
                missing_or(sent.map(|sent| sent.target.clone()), want, NOT_ASKED)
            }
            Self::OriginHeader(name, want) => match sent {
                Some(sent) => field(&sent.headers, name, want),
                None => Some(NOT_ASKED.to_owned()),
            },
        }
    }
}

const NOT_ASKED: &str = "the origin was not asked";

fn differs<T: PartialEq + ToString>(got: &T, want: &T) -> Option<String> {
    (got != want).then(|| got.to_string())
}

fn missing_or(got: Option<String>, want: &str, missing: &str) -> Option<String> {
    match got {
        Some(got) => (got != want).then(|| quoted(&got)),
        None => Some(missing.to_owned()),
    }
}

fn field(headers: &HeaderMap, name: &HeaderName, want: &Presence) -> Option<String> {
    if want.holds_in(headers, name) {
        return None;
    }
    let lines = headers.get_all(name).iter();
    let mut lines: Vec<_> =
        lines.map(|value| quoted(&String::from_utf8_lossy(value.as_bytes()))).collect();
    Some(match lines.len() {
        0 => "false: it is not there".to_owned(),
        1 => lines.remove(0),
        _ => format!("[{}]", lines.join(", ")),
    })
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
