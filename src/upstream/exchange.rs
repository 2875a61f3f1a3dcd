//! One attempt: a request goes out on a connection, and the final response's head comes back.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, sleep_until};

use super::body::{Hold, OriginBody};
use super::connect::Meter;
use super::failure;
use super::http1::{Breadth, Http1};
use super::pool::{Http2, StreamGuard, Upstream};
use super::request::Plan;
use super::response;
use super::upload::{Upload, UploadBody};
use crate::context::Interims;
use crate::error::{ErrorKind, ProxyError};

/// Interim responses passed on for one request: more are not worth a client's reading.
const MOST_PASSED: u32 = 16;

/// A connection with a turn on it.
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2, StreamGuard),
}

impl Connection {
    /// Whether it had served a request before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.reused,
            Self::Http2(_, guard) => guard.reused,
        }
    }

    /// Whether an answer may have more fields than it takes, though not too many.
    pub(super) fn is_usual(&self) -> bool {
        matches!(self, Self::Http1(connection) if connection.breadth() == Breadth::Usual)
    }
}

/// What all attempts at one request share.
pub(super) struct Job {
    pub(super) upstream: Arc<Upstream>,
    pub(super) plan: Plan,
    pub(super) interim: Option<Interims>,
    /// When the whole exchange has to be over.
    pub(super) deadline: Option<Instant>,
}

impl Job {
    /// From `now` on the time for all of it runs.
    pub(super) fn begin(&mut self, now: Instant) {
        self.deadline = self.upstream.config.total_timeout.map(|limit| now + limit);
    }
}

/// A failed attempt.
pub(super) struct Failure {
    pub(super) error: ProxyError,
    /// Nothing was wrong but the connection: another attempt could succeed.
    pub(super) is_connections: bool,
    /// The request, if it was handed back.
    pub(super) unsent: Option<Box<Message>>,
    /// It was not processed: it was handed back, or the origin said so.
    pub(super) handed_back: bool,
    /// A byte of an answer came.
    pub(super) answered: bool,
}

impl Failure {
    fn verdict(error: impl Into<ProxyError>) -> Self {
        let error = error.into();
        Self { error, is_connections: false, unsent: None, handed_back: false, answered: true }
    }

    fn of(
        mut error: TrySendError<Request<UploadBody>>,
        upload: Option<&Upload>,
        answered: bool,
    ) -> Self {
        let unsent = error.take_message().map(|request| Box::new(request.into()));
        let error = error.into_error();
        let handed_back = unsent.is_some() || failure::is_refused(&error);
        let is_stream_reset = failure::is_stream_reset(&error);
        let error = failure::of_head(error, upload.and_then(Upload::failure));
        let is_lost = error.kind == ErrorKind::ConnectionLost && !is_stream_reset;
        let is_connections = handed_back || is_lost;
        Self { error, is_connections, unsent, handed_back, answered }
    }
}

/// A request with the head that it has on every connection.
pub(super) struct Message {
    pub(super) head: Parts,
    pub(super) body: UploadBody,
}

impl From<Request<UploadBody>> for Message {
    fn from(request: Request<UploadBody>) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body }
    }
}

/// Sends `message`, which it takes, on `connection`, `now`. What need not wait is done by plain
/// functions: each future within another is moved into that, and these are large.
pub(super) async fn over_http1(
    job: &Job,
    mut connection: Http1,
    message: &mut Option<Message>,
    now: Instant,
) -> Result<Response<Box<OriginBody>>, Failure> {
    let upload = message.as_ref().and_then(|message| message.body.upload().cloned());
    if upload.is_some() || job.plan.upgrade().is_some() {
        connection.run_alone();
    }
    let sending = begin_http1(job, &mut connection, message.take(), upload.as_ref());
    let mut sending = pin!(sending.map_err(Failure::verdict)?);
    let (driver, meter) = connection.parts();
    let answer = pin!(poll_fn(|cx| driver.poll(cx, |cx| sending.as_mut().poll(cx))));
    let wait = Wait { job, upload: upload.as_deref(), meter: Some(meter) };
    let received = wait.head(answer, now).await?.map_err(|error| {
        if meter.is_flooded() {
            return Failure::verdict(ErrorKind::BadResponse);
        }
        Failure::of(error, upload.as_deref(), meter.received())
    })?;
    finish_http1(job, connection, received, upload).map_err(Failure::verdict)
}

/// The same as a stream of a shared connection.
pub(super) async fn over_http2(
    job: &Job,
    mut connection: Http2,
    guard: StreamGuard,
    message: &mut Option<Message>,
    now: Instant,
) -> Result<Response<Box<OriginBody>>, Failure> {
    let upload = message.as_ref().and_then(|message| message.body.upload().cloned());
    let sending = begin_http2(job, &mut connection, message.take(), upload.as_deref());
    let sending = pin!(sending.map_err(Failure::verdict)?);
    let wait = Wait { job, upload: upload.as_deref(), meter: None };
    let received = wait.head(sending, now).await?;
    // Whether bytes of this stream's answer came can't be seen; its head did not.
    let received = received.map_err(|error| Failure::of(error, upload.as_deref(), false))?;
    finish_http2(job, guard, received, upload).map_err(Failure::verdict)
}

/// What becomes of a request that was handed to the HTTP library.
trait Sending: Future<Output = Result<Response<Incoming>, TrySendError<Request<UploadBody>>>> {}

impl<F> Sending for F where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<UploadBody>>>>
{
}

fn begin_http1(
    job: &Job,
    connection: &mut Http1,
    message: Option<Message>,
    upload: Option<&Arc<Upload>>,
) -> Result<impl Sending + use<>, ErrorKind> {
    let Message { mut head, body } = message.ok_or(ErrorKind::Internal)?;
    job.plan.http1(&mut head);
    let mut request = Request::from_parts(head, body);
    let (meter, interim) = (Arc::clone(connection.meter()), job.interim.clone());
    listen_to_interim(&mut request, meter, interim, upload.cloned());
    Ok(connection.send(request, upload.is_some()))
}

fn begin_http2(
    job: &Job,
    connection: &mut Http2,
    message: Option<Message>,
    upload: Option<&Upload>,
) -> Result<impl Sending + use<>, ProxyError> {
    let Message { mut head, body } = message.ok_or(ErrorKind::Internal)?;
    if let Some(upload) = upload {
        // hyper does not tell of `100 Continue` on HTTP/2: nothing to wait for.
        upload.proceed();
    }
    job.plan.http2(&mut head)?;
    Ok(connection.sender.try_send_request(Request::from_parts(head, body)))
}

fn finish_http2(
    job: &Job,
    guard: StreamGuard,
    received: Response<Incoming>,
    upload: Option<Arc<Upload>>,
) -> Result<Response<Box<OriginBody>>, ErrorKind> {
    let (head, incoming) = check(job, received)?;
    let hold = Hold::Http2 { _stream: guard };
    let body = OriginBody::new(job, incoming, head.status, hold, upload);
    Ok(Response::from_parts(head, body))
}

fn finish_http1(
    job: &Job,
    connection: Http1,
    received: Response<Incoming>,
    upload: Option<Arc<Upload>>,
) -> Result<Response<Box<OriginBody>>, ErrorKind> {
    let (head, incoming) = check(job, received)?;
    if let Some(upload) = &upload {
        if response::refuses_content(head.status) { upload.deny() } else { upload.proceed() }
    }
    let hold = if head.status == StatusCode::SWITCHING_PROTOCOLS {
        connection.let_go();
        Hold::Nothing
    } else {
        let keep = response::keep_for(&head, job.upstream.config.idle_timeout);
        Hold::Http1 { upstream: Arc::clone(&job.upstream), connection, keep }
    };
    let body = OriginBody::new(job, incoming, head.status, hold, upload);
    Ok(Response::from_parts(head, body))
}

fn check(
    job: &Job,
    received: Response<Incoming>,
) -> Result<(http::response::Parts, Incoming), ErrorKind> {
    let (mut head, incoming) = received.into_parts();
    response::check_status(&head, job.plan.upgrade())?;
    response::check_framing(&mut head, job.upstream.config.unknown_transfer_coding)?;
    Ok((head, incoming))
}

/// Counts interim responses, opens the gate of the upload on 100, and passes others on.
fn listen_to_interim(
    request: &mut Request<UploadBody>,
    meter: Arc<Meter>,
    sink: Option<Interims>,
    upload: Option<Arc<Upload>>,
) {
    hyper::ext::on_informational(request, move |interim| {
        let count = meter.count_interim();
        if interim.status() == StatusCode::CONTINUE {
            if let Some(upload) = &upload {
                upload.proceed();
            }
        } else if let Some(sink) = &sink
            && count <= MOST_PASSED
        {
            sink.send(interim.status(), interim.headers());
        }
    });
}

/// Waits for a response's head within the bounds of `job`.
struct Wait<'a> {
    job: &'a Job,
    upload: Option<&'a Upload>,
    meter: Option<&'a Meter>,
}

impl Wait<'_> {
    /// The outcome of `sending`, if it comes in time from `now` on. What the origin sends before its
    /// final head is complete does not extend the wait; a request body that moves does.
    async fn head<F: Future>(
        &self,
        mut sending: Pin<&mut F>,
        now: Instant,
    ) -> Result<F::Output, Failure> {
        let limit = self.job.upstream.config.first_byte_timeout;
        let mut first_byte = now + limit;
        let until = |first_byte: Instant| {
            self.job.deadline.map_or(first_byte, |deadline| deadline.min(first_byte))
        };
        let mut timer = pin!(sleep_until(until(first_byte)));
        loop {
            tokio::select! {
                biased;
                received = &mut sending => return Ok(received),
                () = &mut timer => {}
            }
            let now = Instant::now();
            if self.job.deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Failure::verdict(ErrorKind::TotalTimeout));
            }
            first_byte = self.first_byte_deadline(limit, now).unwrap_or(first_byte);
            if first_byte <= now {
                return Err(Failure::verdict(ErrorKind::FirstByteTimeout));
            }
            timer.as_mut().reset(until(first_byte));
        }
    }

    /// When the wait for the first byte ends if nothing moves any more; `None` without content.
    fn first_byte_deadline(&self, limit: Duration, now: Instant) -> Option<Instant> {
        let since = self.upload?.waiting_since().unwrap_or(now);
        let written = self.meter.map(Meter::written_at);
        Some(written.map_or(since, |written| since.max(written)) + limit)
    }
}
