//! The demo's origin: a page for each thing that a cache can meet.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::paint::{Ink, Paint};
use crate::say;

type Body = UnsyncBoxBody<Bytes, Infallible>;

const BLOCK: usize = 64 * 1024;
const LARGE: usize = 64 * 1024 * 1024;
const MEDIUM: usize = 1024 * 1024;
const SSE_EVENTS: u32 = 60;

/// A page, for the list of what to try.
pub(super) struct Page {
    pub(super) path: &'static str,
    /// Flags for curl, with a space behind them.
    pub(super) flags: &'static str,
    pub(super) what: &'static str,
}

const fn page(path: &'static str, flags: &'static str, what: &'static str) -> Page {
    Page { path, flags, what }
}

/// What there is to try.
pub(super) const PAGES: &[Page] = &[
    page("/slow", "-i ", "takes 2s, then is fresh for 10s: the second time is at once"),
    page("/news", "-i ", "fresh for 2s, then served stale for 30s while one refresh runs"),
    page(
        "/flaky",
        "-i ",
        "fresh for 2s; after that the origin fails every other time, which stale-if-error hides",
    ),
    page("/private", "-i ", "no-store: always goes on to the origin"),
    page("/vary", "-i -H 'Accept-Language: de' ", "one stored response for each language"),
    page("/medium", "-s -D - -o /dev/null -r 0-99 ", "1 MiB; ranges are cut from the stored body"),
    page("/large", "-s -D - -o /dev/null ", "64 MiB: too large to store, streamed through"),
    page("/sse", "-i -N ", "an event a second, passed on as they come"),
    page("/missing", "-i ", "a 404 that is fresh for 5s"),
];

/// A running origin; it ends with the process.
pub(super) struct Origin {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Origin {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have reached it.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The same, for another thread.
    pub(super) fn counter(&self) -> impl Fn() -> u64 + Send + use<> {
        let requests = Arc::clone(&self.requests);
        move || requests.load(Ordering::Relaxed)
    }
}

/// Starts the origin on a free port, on a thread of its own.
pub(super) fn start() -> io::Result<Origin> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let requests = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counter = Arc::clone(&requests);
    thread::Builder::new().name("demo-origin".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Ok(listener) = TcpListener::from_std(listener) {
                accept(listener, counter).await;
            }
        });
    })?;
    Ok(Origin { address, requests })
}

async fn accept(listener: TcpListener, requests: Arc<AtomicU64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: wait for connections to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let requests = Arc::clone(&requests);
        let service = service_fn(move |request: Request<Incoming>| {
            let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                let path = request.uri().path();
                let mark = Paint::of_stdout().paint(Ink::Work, "origin  <-");
                say(format_args!("{mark}  {} {path} (its request {number})", request.method()));
                Ok::<_, Infallible>(answer(path, request.headers(), number).await)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        // A client that leaves midway is nobody's concern here.
        tokio::spawn(async { drop(connection.await) });
    }
}

async fn answer(path: &str, headers: &HeaderMap, number: u64) -> Response<Body> {
    match path {
        "/" => page_of("text/html; charset=utf-8", "max-age=60", index()),
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            text("max-age=10", format!("made slowly, as request {number} of the origin\n"))
        }
        "/news" => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let news = format!("news number {number}\n");
            text("max-age=2, stale-while-revalidate=30", news)
        }
        "/private" => text("no-store", format!("for you alone, request {number}\n")),
        "/vary" => by_language(headers),
        "/flaky" => flaky(number),
        "/medium" => {
            let response = sized(MEDIUM, "max-age=60");
            with(response, ETAG, HeaderValue::from_static("\"medium-1\""))
        }
        "/large" => sized(LARGE, "max-age=60"),
        "/sse" => events(),
        _ => failing(StatusCode::NOT_FOUND, "max-age=5", "there is no such page\n"),
    }
}

fn index() -> String {
    let mut html = "<!doctype html><title>Seawall demo</title><h1>Seawall demo</h1><ul>".to_owned();
    for Page { path, what, .. } in PAGES {
        let _ = write!(html, "<li><a href=\"{path}\">{path}</a>: {what}");
    }
    html.push_str("</ul>\n");
    html
}

fn by_language(headers: &HeaderMap) -> Response<Body> {
    let language = headers.get(ACCEPT_LANGUAGE).map_or(b"".as_slice(), HeaderValue::as_bytes);
    let greeting = match language {
        [b'd', b'e', ..] => "Guten Tag\n",
        [b'f', b'r', ..] => "Bonjour\n",
        _ => "Good day\n",
    };
    with(text("max-age=60", greeting), VARY, HeaderValue::from_static("Accept-Language"))
}

fn flaky(number: u64) -> Response<Body> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    if TURN.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
        return failing(StatusCode::SERVICE_UNAVAILABLE, "no-store", "out of order\n");
    }
    text("max-age=2, stale-if-error=60", format!("it works, as request {number}\n"))
}

/// `length` bytes, streamed in blocks that share their memory.
fn sized(length: usize, cache_control: &'static str) -> Response<Body> {
    let block = Bytes::from(vec![b'~'; BLOCK]);
    let blocks = stream::repeat(block).take(length / BLOCK);
    let body = StreamBody::new(blocks.map(|block| Ok(Frame::data(block)))).boxed_unsync();
    let response = respond(StatusCode::OK, "application/octet-stream", cache_control, body);
    with(response, CONTENT_LENGTH, HeaderValue::from(length))
}

fn events() -> Response<Body> {
    let events = stream::iter(1..=SSE_EVENTS).then(|number| async move {
        if number > 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(Frame::data(Bytes::from(format!("data: event {number}\n\n"))))
    });
    let body = StreamBody::new(events).boxed_unsync();
    respond(StatusCode::OK, "text/event-stream", "no-store", body)
}

fn text(cache_control: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    page_of("text/plain; charset=utf-8", cache_control, body)
}

fn page_of(
    kind: &'static str,
    cache_control: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    respond(StatusCode::OK, kind, cache_control, Full::new(body.into()).boxed_unsync())
}

fn failing(status: StatusCode, cache_control: &'static str, body: &'static str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", cache_control, Full::from(body).boxed_unsync())
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    cache_control: &'static str,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let response = with(response, CONTENT_TYPE, HeaderValue::from_static(kind));
    with(response, CACHE_CONTROL, HeaderValue::from_static(cache_control))
}

fn with(mut response: Response<Body>, name: HeaderName, value: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(name, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test(start_paused = true)]
    async fn every_page_answers() {
        for page in PAGES {
            let response = answer(page.path, &HeaderMap::new(), 1).await;
            assert!(response.headers().contains_key(CACHE_CONTROL), "{}", page.path);
            let announced = response.headers().get(CONTENT_LENGTH).cloned();
            let length = body(response).await.len();
            assert!(length > 0, "{}", page.path);
            assert!(announced.is_none_or(|announced| announced == HeaderValue::from(length)));
        }
        assert!(body(answer("/", &HeaderMap::new(), 1).await).await.starts_with(b"<!doctype"));
    }

    #[tokio::test]
    async fn languages_vary() {
        let german = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("de-AT"))]);
        assert_eq!(body(by_language(&german)).await, "Guten Tag\n");
        assert_eq!(body(by_language(&HeaderMap::new())).await, "Good day\n");
    }

    #[test]
    fn it_answers_over_a_socket() {
        use std::io::{Read, Write};
        let origin = start().unwrap();
        let mut stream = std::net::TcpStream::connect(origin.address()).unwrap();
        stream.write_all(b"GET /private HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.contains("for you alone, request 1"), "{response}");
        assert_eq!(origin.requests(), 1);
    }
}
