//! Responses to clients out of what is stored, or is being stored.

use std::sync::Arc;

use http::header::{ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::response::Parts as ResponseHead;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::compress::{self, Choice, Form};
use super::fill::Fill;
use super::lookup::{Ask, Plan};
use super::{Filling, Job, multipart, ready};
use crate::body::{Blocks, BlocksBody, Body};
use crate::clock::Timestamp;
use crate::context::{Detail, Outcome, Response, ResponseParts};
use crate::headers::{Present, number};
use crate::policy::{
    ByteRange, PartialAnswer, Precondition, RangeAnswer, Reason, Reuse, StaleGrant, StoredHead,
    Validity, precondition, range, reuse,
};
use crate::store::{Content, Parts, StoredResponse};

/// The outcome of answering from memory.
pub(super) fn hit_outcome(
    stored: &StoredResponse,
    grant: Option<StaleGrant>,
    job: &Job,
    now: Timestamp,
) -> Outcome {
    let shared = job.shares.is_some().then_some(Reason::NoVarySearch);
    Outcome {
        hit: true,
        ttl: Some(stored.head.ttl(&job.config.policy, now)),
        detail: grant.map(StaleGrant::reason).or(shared).map(Detail::Reason),
        upstream: Some(job.upstream),
        ..Outcome::default()
    }
}

/// A response from a stored one: its head with `Age`, and as much of its body as the request
/// asks for.
pub(super) fn answer(
    stored: &StoredResponse,
    job: &Job,
    outcome: Outcome,
    now: Timestamp,
) -> Response {
    answer_in(&compress::choose_of(stored, job), stored, job, outcome, now)
}

/// The same in a form that was chosen before.
pub(super) fn answer_in(
    choice: &Choice<'_>,
    stored: &StoredResponse,
    job: &Job,
    outcome: Outcome,
    now: Timestamp,
) -> Response {
    answer_from((&stored.head, &stored.content), &choice.form, job, outcome, now)
}

/// The same from its pieces, for a response that has just been brought up to date.
pub(super) fn answer_from(
    (head, content): (&StoredHead, &Content),
    form: &Form<'_>,
    job: &Job,
    outcome: Outcome,
    now: Timestamp,
) -> Response {
    match form {
        Form::AsStored => as_it_is(head, content, job, outcome, now),
        Form::Known(head) => as_it_is(head, content, job, outcome, now),
        Form::Coded(copy) => {
            let content = Content::Whole(Arc::clone(&copy.blocks));
            let told = Some(Detail::Reason(Reason::Compressed));
            let outcome = Outcome { detail: outcome.detail.or(told), ..outcome };
            as_it_is(&copy.head, &content, job, outcome, now)
        }
    }
}

fn as_it_is(
    head: &StoredHead,
    content: &Content,
    job: &Job,
    outcome: Outcome,
    now: Timestamp,
) -> Response {
    let mut headers = ready::fields(head, job.config.tags.expose, head.age_seconds(now));
    compress::vary(head, job, &mut headers);
    let (status, body) = match evaluate(job, head) {
        Precondition::NotModified => return not_modified(headers, outcome),
        Precondition::Failed => return precondition_failed(headers, outcome),
        Precondition::Proceed => match content {
            Content::Whole(blocks) => whole(head, blocks, job, &mut headers),
            Content::Parts(parts) => part(head, parts, job, &mut headers),
            // Invariant: whoever uses it as it came has asked `compress::is_at_hand`.
            Content::Coded => (StatusCode::INTERNAL_SERVER_ERROR, Body::Empty),
        },
    };
    respond(status, headers, body, job, outcome)
}

/// A response that follows a fill from its first byte, if it may be used for this request, which
/// `came` some time ago.
pub(super) fn from_fill(
    fill: &Arc<Fill<Filling>>,
    job: &Job,
    plan: &Plan,
    came: Timestamp,
    now: Timestamp,
) -> Option<Response> {
    let head = &fill.head().head;
    let policy = &job.config.policy;
    let verdict = reuse(head, &job.facts(), &job.directives(), policy, Validity::Valid, came);
    if !matches!(verdict, Reuse::Fresh) || !covers(head, job) {
        return None;
    }
    let outcome = Outcome {
        forwarded: Some(plan.forwarded),
        forward_status: Some(head.status()),
        ttl: Some(head.ttl(policy, now)),
        collapsed: true,
        detail: Some(Detail::Reason(Reason::Collapsed)),
        upstream: Some(job.upstream),
        ..Outcome::default()
    };
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = head.status();
    parts.headers = head_fields(head, job, now);
    if let Some(length) = fill.length() {
        parts.headers.insert(CONTENT_LENGTH, number(length));
    }
    filling(fill, parts, job, plan, outcome)
}

/// Whether the body on its way is what the request asks for: all of it, or that very part.
fn covers(head: &StoredHead, job: &Job) -> bool {
    head.content_range().is_none_or(|held| {
        let asked = range::evaluate_partial(job.headers(), head, &[held.range()], held.complete);
        asked == PartialAnswer::Covers(held.range())
    })
}

/// A response with `head` whose body is a fill's; `None` where the fill takes no readers.
pub(super) fn filling(
    fill: &Arc<Fill<Filling>>,
    mut head: ResponseHead,
    job: &Job,
    plan: &Plan,
    outcome: Outcome,
) -> Option<Response> {
    let stored_head = &fill.head().head;
    compress::vary(stored_head, job, &mut head.headers);
    if compress::tell_of_known(stored_head, job, &mut head.headers) {
        return Some(not_modified(head.headers, outcome));
    }
    if let Some(response) = precondition(stored_head, &head, job, plan.ask, outcome) {
        return Some(response);
    }
    let wanted = match fill.length() {
        Some(length) if head.status == StatusCode::OK => {
            range::evaluate(job.method(), job.headers(), stored_head, length)
        }
        _ => RangeAnswer::Whole,
    };
    let (status, reader) = match wanted {
        RangeAnswer::Single(range) => {
            head.headers.insert(CONTENT_RANGE, content_range(range, fill.length()));
            head.headers.insert(CONTENT_LENGTH, number(range.end - range.start));
            (StatusCode::PARTIAL_CONTENT, fill.reader(range.start, Some(range.end))?)
        }
        // The origin was not asked for that part, so that it has not decided to send all of it.
        RangeAnswer::Unsatisfiable if plan.fills => {
            beyond_the_end(&mut head.headers, fill.length().unwrap_or(0));
            return Some(bodiless(StatusCode::RANGE_NOT_SATISFIABLE, head.headers, outcome));
        }
        // Several ranges, or one that can't be: simpler and allowed to send all of it.
        _ => (head.status, fill.reader(0, None)?),
    };
    head.status = status;
    let http = http::Response::from_parts(head, Body::stream(reader));
    Some(ResponseParts::boxed(http, outcome))
}

/// A stored head's fields for a client, with `Age` (RFC 9111 §5.1). Whether tags are among them,
/// today's settings say.
pub(super) fn head_fields(head: &StoredHead, job: &Job, now: Timestamp) -> HeaderMap {
    let mut headers = if job.config.tags.expose { head.header_map() } else { head.answer_fields() };
    headers.insert(AGE, number(head.age_seconds(now)));
    headers
}

/// Whether the request has preconditions at all.
pub(super) fn is_conditional(job: &Job) -> bool {
    job.request.present.any(Present::CONDITIONS)
}

/// The answer to the client's preconditions where they do not hold for a response from the origin,
/// judged by the head as it would be stored.
pub(super) fn precondition(
    judged: &StoredHead,
    head: &ResponseHead,
    job: &Job,
    asked: Ask,
    outcome: Outcome,
) -> Option<Response> {
    // `If-Match` and its kin are the origin's to judge (RFC 9111 §4.3.2), where it was told.
    let told = matches!(asked, Ask::AsIs | Ask::All);
    match evaluate(job, judged) {
        Precondition::NotModified => Some(not_modified(head.headers.clone(), outcome)),
        Precondition::Failed if !told => Some(precondition_failed(head.headers.clone(), outcome)),
        Precondition::Failed | Precondition::Proceed => None,
    }
}

/// What the request's preconditions come to for `head`.
pub(super) fn evaluate(job: &Job, head: &StoredHead) -> Precondition {
    if !is_conditional(job) {
        return Precondition::Proceed;
    }
    precondition::evaluate(job.method(), job.headers(), head, &job.config.policy)
}

pub(super) fn not_modified(mut headers: HeaderMap, outcome: Outcome) -> Response {
    precondition::not_modified_headers(&mut headers);
    bodiless(StatusCode::NOT_MODIFIED, headers, outcome)
}

fn precondition_failed(mut headers: HeaderMap, outcome: Outcome) -> Response {
    precondition::not_modified_headers(&mut headers);
    bodiless(StatusCode::PRECONDITION_FAILED, headers, outcome)
}

fn bodiless(status: StatusCode, headers: HeaderMap, outcome: Outcome) -> Response {
    let mut http = http::Response::new(Body::Empty);
    *http.status_mut() = status;
    *http.headers_mut() = headers;
    ResponseParts::boxed(http, outcome)
}

fn respond(
    status: StatusCode,
    mut headers: HeaderMap,
    body: Body,
    job: &Job,
    outcome: Outcome,
) -> Response {
    use http_body::Body as _;
    let mut body = body;
    if *job.method() == Method::HEAD {
        // RFC 9110 §8.6: a 204 has no length, not even none.
        if status != StatusCode::NO_CONTENT
            && let Some(length) = body.size_hint().exact()
        {
            headers.insert(CONTENT_LENGTH, number(length));
        }
        body = Body::Empty;
    }
    // Else hyper writes the true length from the body.
    let mut http = http::Response::new(body);
    *http.status_mut() = status;
    *http.headers_mut() = headers;
    ResponseParts::boxed(http, outcome)
}

fn whole(
    head: &StoredHead,
    blocks: &Arc<Blocks>,
    job: &Job,
    headers: &mut HeaderMap,
) -> (StatusCode, Body) {
    let status = head.status();
    let length = blocks.len();
    if !job.request.present.any(Present::RANGES) {
        return (status, Body::whole(Arc::clone(blocks)));
    }
    match range::evaluate(job.method(), job.headers(), head, length) {
        RangeAnswer::Whole => (status, Body::whole(Arc::clone(blocks))),
        RangeAnswer::Single(range) => {
            headers.insert(CONTENT_RANGE, content_range(range, Some(length)));
            let body = BlocksBody::range(Arc::clone(blocks), range.start, range.end);
            (StatusCode::PARTIAL_CONTENT, Body::Blocks(body))
        }
        RangeAnswer::Multi(ranges) => {
            let content_type = headers.get(CONTENT_TYPE).cloned();
            let (content_type, body) = multipart::body(blocks, &ranges, content_type.as_ref());
            headers.insert(CONTENT_TYPE, content_type);
            (StatusCode::PARTIAL_CONTENT, body)
        }
        RangeAnswer::Unsatisfiable => {
            beyond_the_end(headers, length);
            (StatusCode::RANGE_NOT_SATISFIABLE, Body::Empty)
        }
    }
}

fn part(
    head: &StoredHead,
    parts: &Parts,
    job: &Job,
    headers: &mut HeaderMap,
) -> (StatusCode, Body) {
    let ranges = parts.ranges();
    let answer = range::evaluate_partial(job.headers(), head, &ranges, parts.complete);
    let PartialAnswer::Covers(range) = answer else {
        // Invariant: whoever uses a partial response has asked `lookup::covers`.
        return (StatusCode::INTERNAL_SERVER_ERROR, Body::Empty);
    };
    let Some(part) = parts.holding(range) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, Body::Empty);
    };
    headers.insert(CONTENT_RANGE, content_range(range, parts.complete));
    let (start, end) = (range.start - part.start, range.end - part.start);
    let body = BlocksBody::range(Arc::clone(&part.blocks), start, end);
    (StatusCode::PARTIAL_CONTENT, Body::Blocks(body))
}

/// `Content-Range` of one range (RFC 9110 §14.4).
pub(super) fn content_range(range: ByteRange, complete: Option<u64>) -> HeaderValue {
    let (first, last) = (range.start, range.end.saturating_sub(1));
    let value = match complete {
        Some(complete) => format!("bytes {first}-{last}/{complete}"),
        None => format!("bytes {first}-{last}/*"),
    };
    // Digits and punctuation only.
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// The fields of a 416 (RFC 9110 §15.5.17).
fn beyond_the_end(headers: &mut HeaderMap, length: u64) {
    headers.insert(CONTENT_RANGE, unsatisfied(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
}

fn unsatisfied(complete: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{complete}"))
        .unwrap_or(HeaderValue::from_static("bytes */*"))
}
