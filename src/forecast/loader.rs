//! From lines to a [`Trace`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, DATE, EXPIRES,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, ORIGIN, PRAGMA, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::format::{Broken, Entry, Fields, Format, detect};
use super::intern::Interner;
use super::source::Source;
use super::trace::{Asked, Asker, REFERENCE, Request, Response, Trace, UNKNOWN};
use crate::clock::Timestamp;
use crate::policy;

/// What the policy reads of requests.
const READ_BY_POLICY: [HeaderName; 7] =
    [AUTHORIZATION, COOKIE, RANGE, CACHE_CONTROL, PRAGMA, IF_NONE_MATCH, IF_MODIFIED_SINCE];

/// What responses usually vary on. More is kept where rules have all that is told kept.
const VARIED: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ORIGIN];

/// Fields of responses that hold dates.
const DATED: [HeaderName; 3] = [DATE, EXPIRES, LAST_MODIFIED];

/// Who asks, where that is not told: an address for documentation (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// In milliseconds.
const SECOND: i64 = 1000;

/// Bytes that are shown of a broken line.
const SHOWN: usize = 120;

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Lines, those that say nothing too.
    pub lines: u64,
    /// Those that are broken, by kind: how many, and the first of them.
    pub broken: BTreeMap<Broken, BrokenLines>,
    /// Whether there was more than was to be read.
    pub is_cut: bool,
    /// Why reading ended before the end, for each log where it did.
    pub failed: Vec<String>,
}

/// Broken lines of one kind.
#[derive(Clone, Debug, Default)]
pub struct BrokenLines {
    /// How many.
    pub count: u64,
    /// The number of the first, from 1.
    pub line: u64,
    /// The beginning of the first, escaped.
    pub text: String,
}

/// Why nothing of a log can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no known format fits the first lines: say which with --format")]
pub struct Unrecognised;

/// Reads logs into a trace.
#[derive(Debug)]
pub struct Loader {
    trace: Trace,
    reading: Reading,
    /// `http://localhost`: what logs leave out of URLs.
    base: String,
    /// Whether more of requests may matter than the policy reads: rules ask for it.
    details: bool,
    most: usize,
    askers: Interner,
    classes: Interner,
    responses: Interner,
    last: Option<Plain>,
    scratch: Vec<u8>,
}

/// What the last line came to that told of no fields: the next one is often like it.
#[derive(Debug)]
struct Plain {
    method: Vec<u8>,
    status: u16,
    /// Its numbers.
    asker: u32,
    response: u32,
}

impl Loader {
    /// Reads at most `most` requests. Where the log has no host, URLs begin with `base`: a scheme
    /// and a host. With `details`, all that is told of requests is kept.
    #[must_use]
    pub fn new(base: &str, details: bool, most: usize) -> Self {
        Self {
            trace: Trace::default(),
            reading: Reading::default(),
            base: base.trim_end_matches('/').to_owned(),
            details,
            most,
            askers: Interner::default(),
            classes: Interner::default(),
            responses: Interner::default(),
            last: None,
            scratch: Vec::new(),
        }
    }

    /// Reads all lines of `source`, by `format` or by what its first lines look like.
    ///
    /// # Errors
    /// [`Unrecognised`], where they look like nothing that is known.
    pub fn read(&mut self, source: Source, format: Option<&Format>) -> Result<(), Unrecognised> {
        let found;
        let format = match format {
            Some(format) => format,
            None if source.beginning().trim_ascii().is_empty() => return Ok(()),
            None => {
                found = detect(source.beginning()).ok_or(Unrecognised)?;
                &found
            }
        };
        self.trace.tells_lifetimes |= format.tells_lifetimes();
        let read = source.lines(|line| {
            self.reading.lines += 1;
            let entry = line.ok_or(Broken::TooLong).and_then(|line| format.read(line));
            match entry {
                Ok(Some(entry)) => {
                    if self.trace.requests.len() >= self.most {
                        self.reading.is_cut = true;
                        return false;
                    }
                    self.add(&entry).unwrap_or_else(|broken| self.note(broken, line));
                }
                Ok(None) => {}
                Err(broken) => self.note(broken, line),
            }
            true
        });
        if let Err(error) = read {
            self.reading.failed.push(error.to_string());
        }
        Ok(())
    }

    fn note(&mut self, broken: Broken, line: Option<&[u8]>) {
        let number = self.reading.lines;
        let known = self.reading.broken.entry(broken).or_insert_with(|| {
            let line = line.unwrap_or_default();
            let text = line.get(..SHOWN).unwrap_or(line).escape_ascii().to_string();
            BrokenLines { count: 0, line: number, text }
        });
        known.count += 1;
    }

    fn add(&mut self, entry: &Entry<'_>) -> Result<(), Broken> {
        let status = StatusCode::from_u16(entry.status).map_err(|_| Broken::Status)?;
        let (asker, response) = self.exchange(entry, status)?;
        let url = self.asked(entry);
        let bytes = entry.bytes.unwrap_or(0);
        let method = self.trace.askers.get(asker as usize).map(|asker| &asker.method);
        if let Some(known) = self.trace.asked.get_mut(url as usize) {
            known.validates |= status == StatusCode::NOT_MODIFIED;
            if status == StatusCode::PARTIAL_CONTENT {
                known.parts = known.parts.saturating_add(bytes);
            }
            if method == Some(&Method::GET) && is_whole(status) {
                known.size = known.size.max(Some(bytes));
                known.whole = Some(response);
            }
        }
        let millis = entry.millis.unwrap_or(UNKNOWN);
        let at = entry.at.as_millis();
        self.trace.requests.push(Request { at, bytes, asked: url, asker, response, millis });
        Ok(())
    }

    /// The numbers of how it was asked for, and of the answer.
    fn exchange(&mut self, entry: &Entry<'_>, status: StatusCode) -> Result<(u32, u32), Broken> {
        let is_plain = !self.details && entry.request.is_empty() && entry.response.is_empty();
        let last = self.last.as_ref().filter(|_| is_plain);
        let is_same = |last: &&Plain| last.status == entry.status && last.method == *entry.method;
        if let Some(Plain { asker, response, .. }) = last.filter(is_same) {
            return Ok((*asker, *response));
        }
        let asker = self.asker(entry)?;
        let response = self.response(status, &entry.response, entry.at);
        if is_plain {
            let (method, status) = (entry.method.to_vec(), entry.status);
            self.last = Some(Plain { method, status, asker, response });
        }
        Ok((asker, response))
    }

    /// The number of what is asked for: an absolute URL as it was written, or a key.
    fn asked(&mut self, entry: &Entry<'_>) -> u32 {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        if !entry.is_key && !is_absolute(&entry.target) {
            let (scheme, host) = self.base.split_once("://").unwrap_or(("http", &self.base));
            let scheme = match entry.secure {
                Some(true) => "https",
                Some(false) => "http",
                None => scheme,
            };
            text.extend_from_slice(scheme.as_bytes());
            text.extend_from_slice(b"://");
            text.extend_from_slice(entry.host.as_deref().unwrap_or(host.as_bytes()));
        }
        text.extend_from_slice(&entry.target);
        let (number, is_new) = self.trace.texts.intern(&text);
        if is_new {
            self.trace.asked.push(Asked { is_key: entry.is_key, ..Asked::default() });
        }
        self.scratch = text;
        number
    }

    fn asker(&mut self, entry: &Entry<'_>) -> Result<u32, Broken> {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        text.extend_from_slice(&entry.method);
        let read = |name: &HeaderName| READ_BY_POLICY.contains(name);
        write(&mut text, entry.request.iter().filter(|(name, _)| read(name)));
        let (class, _) = self.classes.intern(&text);
        let varied = |name: &HeaderName| VARIED.contains(name);
        if !self.details {
            write(&mut text, entry.request.iter().filter(|(name, _)| varied(name)));
        }
        let client = entry.client.unwrap_or(CLIENT);
        let has_copy = entry.status == StatusCode::NOT_MODIFIED.as_u16();
        // No field has this name.
        text.extend_from_slice(if has_copy { b"304\n" } else { b"" });
        if self.details {
            write(&mut text, entry.request.iter().filter(|(name, _)| !read(name)));
            text.extend_from_slice(client.to_string().as_bytes());
        }
        let (number, is_new) = self.askers.intern(&text);
        self.scratch = text;
        if is_new {
            let method = Method::from_bytes(&entry.method).map_err(|_| Broken::Request);
            // Every number has its asker, whatever its method is.
            let known = method.clone().unwrap_or_default();
            let fields =
                entry.request.iter().filter(|(name, _)| self.details || read(name) || varied(name));
            let headers = fields.cloned().collect();
            self.trace.askers.push(Asker { method: known, headers, client, has_copy, class });
            method?;
        }
        Ok(number)
    }

    fn response(&mut self, status: StatusCode, fields: &Fields, at: Timestamp) -> u32 {
        let is_dated = |(name, _): &(HeaderName, HeaderValue)| DATED.contains(name);
        if fields.iter().any(is_dated) {
            return self.intern_response(status, &rebased(fields, at));
        }
        self.intern_response(status, fields)
    }

    fn intern_response(&mut self, status: StatusCode, fields: &Fields) -> u32 {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        text.extend_from_slice(status.as_str().as_bytes());
        write(&mut text, fields.iter());
        let (number, is_new) = self.responses.intern(&text);
        self.scratch = text;
        if is_new {
            let headers: HeaderMap = fields.iter().cloned().collect();
            let tells = [CACHE_CONTROL, EXPIRES];
            self.trace.tells_lifetimes |= tells.iter().any(|name| headers.contains_key(name));
            self.trace.tells_vary |= headers.contains_key(VARY);
            self.trace.responses.push(Response { status, headers });
        }
        number
    }

    /// The trace, in order of time, and what was read.
    #[must_use]
    pub fn finish(mut self) -> (Trace, Reading) {
        let mut sizes: Vec<_> = self.trace.asked.iter().filter_map(|asked| asked.size).collect();
        let middle = sizes.len() / 2;
        let median = (!sizes.is_empty()).then(|| *sizes.select_nth_unstable(middle).1);
        self.trace.usual_size = median.unwrap_or(0);
        self.resolve_not_modified();
        let mut trace = self.trace;
        // Servers log a request at its end, with the time of its beginning.
        if !trace.requests.is_sorted_by_key(|request| request.at) {
            trace.requests.sort_by_key(|request| request.at);
        }
        spread(&mut trace.requests);
        (trace, self.reading)
    }

    /// A 304 was an answer to a client that had the rest. Without that, it would have been the
    /// whole response: the one that was logged, or else one with what the 304 says.
    fn resolve_not_modified(&mut self) {
        let mut whole = vec![None; self.trace.responses.len()];
        for (number, place) in whole.iter_mut().enumerate() {
            let Some(response) = self.trace.responses.get(number) else { continue };
            if response.status == StatusCode::NOT_MODIFIED {
                let fields = response.headers.iter();
                let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
                *place = Some(self.intern_response(StatusCode::OK, &fields));
            }
        }
        for request in &mut self.trace.requests {
            if let Some(Some(whole)) = whole.get(request.response as usize) {
                let known = self.trace.asked.get(request.asked as usize);
                request.response = known.and_then(|asked| asked.whole).unwrap_or(*whole);
            }
        }
    }
}

/// Most logs tell whole seconds. Taken at their word, all requests of a second would come at once,
/// and whoever comes after a fetch of a millisecond would seem to have waited for it: they are
/// spread evenly over their second, in the log's order.
fn spread(requests: &mut [Request]) {
    if requests.iter().any(|request| request.at % SECOND != 0) {
        return;
    }
    for second in requests.chunk_by_mut(|one, next| one.at == next.at) {
        let all = i64::try_from(second.len()).unwrap_or(i64::MAX);
        for (place, request) in (0..).zip(second) {
            request.at += SECOND * place / all;
        }
    }
}

/// A response whose bytes are all of the representation.
fn is_whole(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::PARTIAL_CONTENT
        && status != StatusCode::NOT_MODIFIED
        && !status.is_server_error()
}

/// Dates as they would be in a response that came at [`REFERENCE`]: so that what is the same but for
/// when it came is the same.
fn rebased(fields: &Fields, at: Timestamp) -> Fields {
    let date_of = |name: &HeaderName| {
        let field = fields.iter().find(|(known, _)| known == name);
        field.and_then(|(_, value)| policy::parse_date(value.as_bytes(), at))
    };
    let came = date_of(&DATE).unwrap_or(at);
    let mut rebased = Fields::new();
    for (name, value) in fields {
        if *name == DATE {
            continue;
        }
        let date = date_of(name).filter(|_| DATED.contains(name)).map(|date| match *name {
            LAST_MODIFIED => REFERENCE.minus(roughly(came.since(date))),
            _ => REFERENCE.plus(date.since(came)).minus(came.since(date)),
        });
        let written = date.and_then(|date| HeaderValue::try_from(policy::format_date(date)).ok());
        let value = written.unwrap_or_else(|| value.clone());
        rebased.push((name.clone(), value));
    }
    rebased
}

/// Rounded down by at most a sixteenth: a guess from it need not be finer, and there are few.
fn roughly(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    let fine = seconds.checked_ilog2().unwrap_or(0).saturating_sub(4);
    Duration::from_secs(seconds >> fine << fine)
}

fn is_absolute(target: &[u8]) -> bool {
    let begins = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins(b"http://") || begins(b"https://")
}

/// Writes fields so that no two lists of them read the same.
fn write<'a>(text: &mut Vec<u8>, fields: impl Iterator<Item = &'a (HeaderName, HeaderValue)>) {
    for (name, value) in fields {
        text.push(b'\n');
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes());
    }
    text.push(b'\n');
}
