//! The parts of an entry that a field of a line can fill.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::entry::{Entry, Fields};
use super::{Broken, moment, request_line};
use crate::clock::Timestamp;

/// What a field of a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing that matters.
    Ignored,
    Client,
    /// The user's name, which a request with `Authorization` has.
    User,
    Time,
    /// All of `GET / HTTP/1.1`.
    Request,
    Method,
    /// Path and query, or an absolute URL.
    Target,
    Path,
    Query,
    Status,
    /// Bytes of body.
    Bytes,
    /// The same, where nothing better is told.
    MoreOrLessBytes,
    Host,
    Scheme,
    /// How long it took: the second is to make milliseconds of it.
    Took(Unit),
    RequestField(HeaderName),
    ResponseField(HeaderName),
}

/// What a duration is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    pub(super) const fn in_millis(self) -> f64 {
        match self {
            Self::Seconds => 1000.0,
            Self::Millis => 1.0,
            Self::Micros => 1e-3,
            Self::Nanos => 1e-6,
        }
    }
}

/// An entry while its line is read.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) at: Option<Timestamp>,
    request_line: Option<Cow<'a, [u8]>>,
    pub(super) method: Option<Cow<'a, [u8]>>,
    pub(super) secure: Option<bool>,
    host: Option<Cow<'a, [u8]>>,
    target: Option<Cow<'a, [u8]>>,
    query: Option<Cow<'a, [u8]>>,
    status: Option<u16>,
    bytes: Option<u64>,
    more_or_less: Option<u64>,
    pub(super) millis: Option<u32>,
    client: Option<IpAddr>,
    request: Fields,
    response: Fields,
}

impl<'a> Draft<'a> {
    /// Takes in one field.
    pub(super) fn fill(&mut self, slot: &Slot, text: Cow<'a, [u8]>) -> Result<(), Broken> {
        let is_absent = matches!(&*text, b"-" | b"");
        match slot {
            Slot::Ignored => {}
            Slot::Time => self.at = Some(moment::any(&text).ok_or(Broken::Time)?),
            Slot::Request => self.request_line = Some(text),
            Slot::Status => self.status = Some(moment::status(&text).ok_or(Broken::Status)?),
            Slot::Bytes => self.bytes = Some(moment::size(&text).ok_or(Broken::Size)?),
            Slot::MoreOrLessBytes => self.more_or_less = moment::size(&text),
            _ if is_absent => {}
            Slot::Client => {
                let text = std::str::from_utf8(&text).ok();
                self.client = text.and_then(address);
            }
            Slot::User => {
                self.request.push((AUTHORIZATION, HeaderValue::from_static("Basic")));
            }
            Slot::Method => self.method = Some(text),
            Slot::Target | Slot::Path => self.target = Some(text),
            Slot::Query => self.query = Some(text),
            Slot::Host => self.host = Some(text),
            Slot::Scheme => self.secure = Some(text.eq_ignore_ascii_case(b"https")),
            Slot::Took(unit) => {
                self.millis = moment::duration(&text, unit.in_millis()).or(self.millis);
            }
            Slot::RequestField(name) => push(&mut self.request, name, &text),
            Slot::ResponseField(name) => push(&mut self.response, name, &text),
        }
        Ok(())
    }

    /// The entry, if there is enough of it.
    pub(super) fn finish(mut self) -> Result<Entry<'a>, Broken> {
        let (method, target) = match (self.method.take(), self.target.take(), &self.request_line) {
            (method, Some(target), _) => {
                let query = self.query.take().filter(|_| !target.contains(&b'?'));
                let target = match query {
                    Some(query) => {
                        let query = query.strip_prefix(b"?").unwrap_or(&query);
                        Cow::Owned([&*target, b"?", query].concat())
                    }
                    None => target,
                };
                (method.unwrap_or(Cow::Borrowed(b"GET")), target)
            }
            (_, None, Some(line)) => request_line::split(line)?,
            (_, None, None) => return Err(Broken::Request),
        };
        if !request_line::is_token(&method) {
            return Err(Broken::Request);
        }
        Ok(Entry {
            at: self.at.ok_or(Broken::Time)?,
            method,
            secure: self.secure,
            host: self.host,
            target,
            is_key: false,
            status: self.status.ok_or(Broken::Status)?,
            bytes: self.bytes.or(self.more_or_less),
            millis: self.millis,
            client: self.client,
            request: self.request,
            response: self.response,
        })
    }
}

fn push(fields: &mut Fields, name: &HeaderName, text: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        fields.push((name.clone(), value));
    }
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}
