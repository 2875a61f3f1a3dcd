//! `[[test]]`: a request, the origin's answer, and what is expected.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::rule::{FIELD, METHOD, headers, method, not_a_pattern};
use crate::config::fault::{Checked, Fault};
use crate::config::raw::{Lines, Value};
use crate::config::schema::{Key, did_you_mean, fill, keys};
use crate::config::sketch;
use crate::config::units::{LONGEST, Refused};
use crate::context::Detail;
use crate::error;
use crate::error::ErrorKind;
use crate::rules::Text;
use crate::trial::{Ask, AskError, Case, Content, Expectation, Reply, Step, Want};

/// Requests of one test.
const MAX_STEPS: usize = 100;

/// The longest body of an answer, in bytes.
const MAX_BODY: u64 = 64 << 20;

/// One `[[test]]`, or a further request of it.
#[derive(Debug, Default)]
pub(in crate::config) struct Draft {
    name: Option<String>,
    after: Option<Duration>,
    request: Option<Ask>,
    response: Option<Reply>,
    expect: Vec<Placed>,
    then: Vec<Self>,
}

/// An expectation and where it stands.
#[derive(Debug)]
pub(in crate::config) struct Placed {
    key: String,
    /// Of the value, in bytes.
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) want: Want,
}

pub(in crate::config) const TEST: &[Key<Draft>] = keys! {
    "name" = Example("\"what is signed in is not shared\""), "What it shows, for the report." => |draft, value| {
        draft.name = Some(value.string()?.to_owned());
        Ok(())
    };
    "then" = Example("[{ after = \"61s\", expect = { hit = false } }]"), "More requests to the same cache, one after the other: tables with `after` (the time that passes before it), `request`, `response` and `expect`. Request and response are those before where they are left out." => |draft, value| {
        draft.then = value.list("write a list of tables", |value| {
            let mut step = Draft::default();
            let table = value.table("write a table: { after = \"61s\", expect = { hit = false } }")?;
            fill("test.then", &[AGAIN, STEP], table, value.around(), &mut step)?;
            Ok(step)
        })?;
        Ok(())
    };
    "request" = Required("\"GET https://shop.example/\""), "Method and absolute URL, or the URL alone for a GET, or a table as below." => |draft, value| {
        draft.request = Some(request(value)?);
        Ok(())
    };
};

/// What a further request may leave to the one before.
const AGAIN: &[Key<Draft>] = keys! {
    "request" = Example("\"GET https://shop.example/\""), "The request, if it is another than before." => |draft, value| {
        draft.request = Some(request(value)?);
        Ok(())
    };
};

pub(in crate::config) const STEP: &[Key<Draft>] = keys! {
    "response" = Example("{ status = 200, headers = { cache-control = \"max-age=60\" } }"), "What the origin answers if it is asked: a table as below, a status alone, or the word of a failure like `\"connect-failed\"` (docs/reasons.md). Left out: `200`, without fields and body." => |draft, value| {
        draft.response = Some(response(value)?);
        Ok(())
    };
    "after" = Example("\"61s\""), "The request is sent, this time passes, and it is sent again: what is expected is expected of the second." => |draft, value| {
        draft.after = Some(value.duration(Duration::ZERO..=LONGEST)?);
        Ok(())
    };
    "expect" = Example("{ stored = true, lifetime = \"60s\" }"), "What should come of it, as below." => |draft, value| {
        let table = value.table("write a table: { stored = true }")?;
        fill("test.expect", &[EXPECT], table, value.around(), &mut draft.expect)
    };
};

pub(in crate::config) const REQUEST: &[Key<RequestDraft>] = keys! {
    "method" = Default("\"GET\""), "The method." => |draft, value| {
        draft.method = Some(value.formed(|| sketch::text(METHOD), method)?);
        Ok(())
    };
    "url" = Required("\"https://shop.example/\""), "The absolute URL." => |draft, value| {
        draft.url = Some(value.parsed(|url| Ask::new("GET", url).map_err(|error| refused(&error)))?);
        Ok(())
    };
    "headers" = Default("{}"), "The other fields: texts, or lists of texts for several lines." => |draft, value| {
        draft.headers = fields(value)?;
        Ok(())
    };
    "client" = Default("\"192.0.2.1\""), "The client's address." => |draft, value| {
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| {
            Refused::new("this is not an address", "write it like \"192.0.2.7\"")
        });
        draft.client = Some(value.parsed(address)?);
        Ok(())
    };
};

pub(in crate::config) const RESPONSE: &[Key<ResponseDraft>] = keys! {
    "status" = Default("200"), "The status." => |draft, value| {
        draft.status = status(value)?;
        Ok(())
    };
    "headers" = Default("{}"), "The fields, as in the request. `Date` and `Content-Length` are added where they are left out." => |draft, value| {
        draft.headers = fields(value)?;
        Ok(())
    };
    "body" = Default("\"\""), "The body." => |draft, value| {
        draft.content = Content::Text(Bytes::from(value.text()?.to_owned()));
        Ok(())
    };
    "size" = Example("\"5MiB\""), "Instead of `body`, where only its size matters; 64MiB at most." => |draft, value| {
        draft.content = Content::Zeros(value.memory(0..=MAX_BODY)?);
        Ok(())
    };
};

pub(in crate::config) const EXPECT: &[Key<Vec<Placed>>] = keys! {
    "stored" = Example("true"), "Whether a response is stored for the request afterwards." => |all, value| {
        push(all, "stored", value, Want::Stored(value.boolean()?))
    };
    "reason" = Example("\"private\""), "The word that explains what happened (docs/reasons.md). A fresh hit has none." => |all, value| {
        push(all, "reason", value, Want::Reason(value.formed(|| sketch::words(Detail::all().map(Detail::word)), reason)?))
    };
    "rules" = Example("[\"images\"]"), "The rules that match, all of them and in the file's order: by their names, or `\"line 7\"`." => |all, value| {
        let names = value.list("write a list: [\"images\"]", |value| value.string().map(str::to_owned));
        push(all, "rules", value, Want::Rules(names?))
    };
    "key" = Example("\"https://shop.example/?b=1\""), "What the response is stored under: scheme, host, path and what counts of the query; where a rule keys fields or cookies, a list with each of them behind: `[\"https://shop.example/\", \"accept-language=de\", \"cookie=currency=EUR\"]`, and the name alone for one that is absent." => |all, value| {
        let key = value.one_or_more(|value| value.string().map(str::to_owned))?;
        push(all, "key", value, Want::Key(key))
    };
    "tags" = Example("[\"product:7\"]"), "The tags of what is stored, all of them in any order." => |all, value| {
        let mut tags = value.list("write a list: [\"product:7\"]", |value| value.string().map(str::to_owned))?;
        tags.sort_unstable();
        push(all, "tags", value, Want::Tags(tags))
    };
    "lifetime" = Example("\"60s\""), "How long what is stored is fresh, in all." => |all, value| {
        let lifetime = value.duration(Duration::ZERO..=LONGEST)?;
        push(all, "lifetime", value, Want::Lifetime(lifetime.as_secs()))
    };
    "hit" = Example("true"), "Whether it is answered from memory, without waiting for the origin." => |all, value| {
        push(all, "hit", value, Want::Hit(value.boolean()?))
    };
    "stale" = Example("false"), "Whether what is stored is served past its lifetime, whether or not the origin was asked." => |all, value| {
        push(all, "stale", value, Want::Stale(value.boolean()?))
    };
    "variants" = Example("1"), "How many variants are stored under the key afterwards." => |all, value| {
        push(all, "variants", value, Want::Variants(value.count(0..=10_000)?))
    };
    "status" = Example("200"), "The client's status." => |all, value| {
        push(all, "status", value, Want::Status(status(value)?.as_u16()))
    };
    "cache_status" = Example("\"*; hit; ttl=*\""), "A glob over this node's part of `Cache-Status`." => |all, value| {
        let glob = |text: &str| Text::glob(text).map_err(|error| not_a_pattern(&error));
        push(all, "cache_status", value, Want::CacheStatus(value.parsed(glob)?))
    };
    "headers" = Example("{ x-a = \"b\", set-cookie = false }"), "The client's fields, as in `[rule.match]`." => |all, value| {
        each_header(all, "headers", value, Want::Header)
    };
    "body" = Example("\"hello\""), "The client's body." => |all, value| {
        push(all, "body", value, Want::Body(value.text()?.to_owned()))
    };
    "origin" = Example("{ requests = 1, target = \"/?b=1\" }"), "What the origin is asked, as below." => |all, value| {
        let table = value.table("write a table: { requests = 1 }")?;
        fill("test.expect.origin", &[ORIGIN], table, value.around(), all)
    };
};

pub(in crate::config) const ORIGIN: &[Key<Vec<Placed>>] = keys! {
    "requests" = Example("1"), "How often it is asked: 0 for a hit." => |all, value| {
        push(all, "origin.requests", value, Want::OriginRequests(value.count(0..=1000)?))
    };
    "upstream" = Example("\"origin\""), "Which upstream is asked." => |all, value| {
        push(all, "origin.upstream", value, Want::OriginUpstream(value.string()?.to_owned()))
    };
    "method" = Example("\"GET\""), "The method." => |all, value| {
        push(all, "origin.method", value, Want::OriginMethod(value.formed(|| sketch::text(METHOD), method)?.to_string()))
    };
    "target" = Example("\"/?b=1\""), "Path and query." => |all, value| {
        push(all, "origin.target", value, Want::OriginTarget(value.string()?.to_owned()))
    };
    "headers" = Example("{ cookie = false }"), "The fields, as in `[rule.match]`." => |all, value| {
        each_header(all, "origin.headers", value, Want::OriginHeader)
    };
};

#[expect(clippy::unnecessary_wraps, reason = "the shape of a key's reader")]
fn push(all: &mut Vec<Placed>, key: &str, value: &Value<'_>, want: Want) -> Checked<()> {
    all.push(Placed { key: key.to_owned(), span: value.span(), want });
    Ok(())
}

fn each_header(
    all: &mut Vec<Placed>,
    key: &str,
    value: &Value<'_>,
    want: fn(HeaderName, crate::rules::Presence) -> Want,
) -> Checked<()> {
    for (name, presence) in headers(value)? {
        let (key, span) = (format!("{key}.{name}"), value.key_span(name.as_str()));
        all.push(Placed { key, span, want: want(name, presence) });
    }
    Ok(())
}

/// A request as a table.
#[derive(Debug, Default)]
pub(in crate::config) struct RequestDraft {
    method: Option<http::Method>,
    url: Option<Ask>,
    headers: HeaderMap,
    client: Option<IpAddr>,
}

/// A response as a table.
#[derive(Debug)]
pub(in crate::config) struct ResponseDraft {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

fn request(value: &Value<'_>) -> Checked<Ask> {
    let Ok(table) = value.table("") else {
        return value.parsed(|text| Ask::parse(text).map_err(|error| refused(&error)));
    };
    let mut draft = RequestDraft::default();
    fill("test.request", &[REQUEST], table, value.around(), &mut draft)?;
    let Some(mut ask) = draft.url else {
        return Err(value
            .fault("this request has no URL")
            .help("write url = \"https://…\"")
            .into());
    };
    ask.method = draft.method.unwrap_or(ask.method);
    ask.client = draft.client.unwrap_or(ask.client);
    ask.headers = draft.headers;
    if ask.headers.contains_key(http::header::HOST) {
        let fault = Fault::at(value.key_span("headers"), "the URL says the host");
        return Err(fault.help("leave `host` out").into());
    }
    Ok(ask)
}

fn refused(error: &AskError) -> Refused {
    Refused::new(error.to_string(), "write it like \"GET https://shop.example/a?b=1\"")
}

fn response(value: &Value<'_>) -> Checked<Reply> {
    if let Ok(table) = value.table("") {
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        let mut draft = ResponseDraft { status, headers, content: Content::default() };
        fill("test.response", &[RESPONSE], table, value.around(), &mut draft)?;
        if value.has_key("body") && value.has_key("size") {
            let fault = Fault::at(value.key_span("size"), "body and size say two things");
            return Err(fault.help("keep one of them").into());
        }
        let ResponseDraft { status, headers, content } = draft;
        return Ok(Reply::Response { status, headers, content });
    }
    if !value.is_string() {
        return status(value).map(Reply::of);
    }
    value.formed(answers, |text| match text.parse::<u16>() {
        Ok(code) => plain(code).map(Reply::of).ok_or_else(|| no_status(text)),
        Err(_) => failure(text).map(Reply::Failure),
    })
}

/// What a test's response may say in one word.
fn answers() -> serde_json::Value {
    let status = sketch::text("^[2-5][0-9]{2}$");
    serde_json::json!({ "anyOf": [sketch::words(failures().map(|kind| kind.word())), status] })
}

fn failures() -> impl Iterator<Item = &'static ErrorKind> + Clone {
    ErrorKind::ALL.iter().filter(|kind| kind.fault() == error::Fault::Origin)
}

fn failure(word: &str) -> Result<ErrorKind, Refused> {
    let mut known = failures();
    let words: Vec<_> = known.clone().map(|kind| kind.word()).collect();
    known.find(|kind| kind.word() == word).copied().ok_or_else(|| {
        let help = did_you_mean(word, &words);
        Refused::new(
            format!("\"{word}\" is no status and no failure of an origin"),
            help.unwrap_or_else(|| format!("write 200, or a failure: {}", words.join(", "))),
        )
    })
}

fn reason(word: &str) -> Result<Detail, Refused> {
    let words: Vec<_> = Detail::all().map(Detail::word).collect();
    Detail::all().find(|detail| detail.word() == word).ok_or_else(|| {
        let help = did_you_mean(word, &words);
        Refused::new(
            format!("\"{word}\" is not a reason word"),
            help.unwrap_or_else(|| "docs/reasons.md has them all".to_owned()),
        )
    })
}

fn status(value: &Value<'_>) -> Checked<StatusCode> {
    let code = value.integer(200..=599)? as u16;
    plain(code).ok_or_else(|| value.fault("this is no status").into())
}

fn plain(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code).ok().filter(|_| (200..=599).contains(&code))
}

fn no_status(text: &str) -> Refused {
    Refused::new(format!("\"{text}\" is no status"), "write a number from 200 to 599")
}

fn fields(value: &Value<'_>) -> Checked<HeaderMap> {
    let instead = "write a table: { accept = \"text/html\" }";
    let lines = value.entries(instead, FIELD, |name, value| {
        let Ok(field) = HeaderName::from_bytes(name.text.as_bytes()) else {
            let fault = name.fault(format!("`{}` is not a field name", name.text));
            return Err(fault.help("write its name").into());
        };
        let line = |value: Value<'_>| {
            let read = HeaderValue::try_from(value.text()?);
            let help = "leave out control characters, line ends too";
            read.map_err(|_| value.fault("no field has such a value").help(help).into())
        };
        Ok((field, value.one_or_more(line)?))
    })?;
    let mut map = HeaderMap::new();
    for (name, values) in lines {
        for value in values {
            map.append(&name, value);
        }
    }
    Ok(map)
}

/// What only the whole of a test shows.
pub(in crate::config) fn contradictions(value: &Value<'_>, draft: &Draft) -> Vec<Fault> {
    let mut faults = Vec::new();
    if draft.request.is_none() {
        let help = "write request = \"GET https://shop.example/\"";
        faults.push(Fault::at(value.span(), "this test asks for nothing").help(help));
    }
    if draft.expectations().next().is_none() {
        let help = "write what should come of it, like expect = { stored = true }";
        faults.push(Fault::at(value.span(), "this test expects nothing").help(help));
    }
    if draft.then.len() > MAX_STEPS {
        let title = format!("this test has more than {MAX_STEPS} requests");
        faults.push(Fault::at(value.key_span("then"), title).help("make two tests of it"));
    }
    faults
}

impl Draft {
    /// All that is expected, of all requests.
    pub(in crate::config) fn expectations(&self) -> impl Iterator<Item = &Placed> {
        self.expect.iter().chain(self.then.iter().flat_map(|step| &step.expect))
    }

    /// The test; `None` without a request, which is a fault already.
    pub(in crate::config) fn finish(self, lines: &Lines<'_>, value: &Value<'_>) -> Option<Case> {
        let written = |placed: Placed| Expectation {
            line: lines.number(placed.span.start),
            written: lines.text(placed.span).to_owned(),
            key: placed.key,
            want: placed.want,
        };
        let in_order = |mut expected: Vec<Placed>| -> Vec<_> {
            expected.sort_by_key(|placed| placed.span.start);
            expected.into_iter().map(written).collect()
        };
        let mut ask = Arc::new(self.request?);
        let mut reply = Arc::new(self.response.unwrap_or_default());
        let mut steps = Vec::new();
        if self.after.is_some() {
            let (ask, reply) = (Arc::clone(&ask), Arc::clone(&reply));
            steps.push(Step { after: Duration::ZERO, ask, reply, expect: Vec::new() });
        }
        steps.push(Step {
            after: self.after.unwrap_or_default(),
            ask: Arc::clone(&ask),
            reply: Arc::clone(&reply),
            expect: in_order(self.expect),
        });
        for step in self.then {
            ask = step.request.map_or(ask, Arc::new);
            reply = step.response.map_or(reply, Arc::new);
            steps.push(Step {
                after: step.after.unwrap_or_default(),
                ask: Arc::clone(&ask),
                reply: Arc::clone(&reply),
                expect: in_order(step.expect),
            });
        }
        Some(Case { name: self.name, line: lines.number(value.span().start), steps })
    }
}
