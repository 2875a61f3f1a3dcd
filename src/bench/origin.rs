//! The bench's own origin: it answers what the workload says, and counts what gets through.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use tokio::net::TcpListener;

/// Says in a request what the bench's own origin is to answer with, so that it needs no table of all
/// objects: `size=1234, wait=20`, in bytes and milliseconds (RFC 9651 §3.2). Caches pass it on like
/// any field that they do not know, and store responses without it.
pub(super) static BENCH_ANSWER: HeaderName = HeaderName::from_static("bench-answer");

/// Bytes written at a time; all bodies share this memory.
const BLOCK: usize = 64 * 1024;

/// The longest wait that a request may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What it answers where a request does not say, and with.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    /// `Cache-Control` of every answer; an empty one is not sent.
    pub(super) cache_control: HeaderValue,
    /// How long it waits before it answers.
    pub(super) latency: Duration,
    /// Bytes of body.
    pub(super) size: u64,
    /// Bytes of body at most, whatever a request says.
    pub(super) most: u64,
}

/// What has come through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Through {
    /// Requests.
    pub(super) requests: u64,
    /// Of them, those that a 304 answered.
    pub(super) not_modified: u64,
    /// Bytes of bodies that were sent.
    pub(super) bytes: u64,
}

impl Through {
    /// What has come since `before`.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            not_modified: self.not_modified.saturating_sub(before.not_modified),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    not_modified: AtomicU64,
    bytes: AtomicU64,
}

/// A running origin; it ends with the process.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Origin {
    /// Listens on `listen`, on a thread of its own.
    ///
    /// # Errors
    /// Where it can't.
    pub(super) fn start(listen: SocketAddr, manners: Manners) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counters = Arc::new(Counters::default());
        let (shared, manners) = (Arc::clone(&counters), Arc::new(manners));
        thread::Builder::new().name("bench-origin".to_owned()).spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    accept(&listener, &manners, &shared).await;
                }
            });
        })?;
        Ok(Self { address, counters })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come through so far.
    pub(super) fn through(&self) -> Through {
        Through {
            requests: self.counters.requests.load(Ordering::Relaxed),
            not_modified: self.counters.not_modified.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
        }
    }
}

async fn accept(listener: &TcpListener, manners: &Arc<Manners>, counters: &Arc<Counters>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: wait for connections to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // What can't be set makes it slower, not wrong.
        let _ = stream.set_nodelay(true);
        let (manners, counters) = (Arc::clone(manners), Arc::clone(counters));
        let service = service_fn(move |request: Request<Incoming>| {
            let (manners, counters) = (Arc::clone(&manners), Arc::clone(&counters));
            async move {
                counters.requests.fetch_add(1, Ordering::Relaxed);
                let (size, wait) = wanted(request.headers(), &manners);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                Ok::<_, Infallible>(answer(&request, size, &manners, &counters))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        // A cache that leaves midway is nobody's concern here.
        tokio::spawn(async { drop(connection.await) });
    }
}

/// The value of [`BENCH_ANSWER`].
pub(super) fn wish(size: u64, wait: Option<Duration>) -> HeaderValue {
    // A structured integer has at most fifteen digits (RFC 9651 §3.3.1).
    let size = size.min(999_999_999_999_999);
    let text = match wait {
        Some(wait) => format!("size={size}, wait={}", wait.as_millis().min(1_000_000)),
        None => format!("size={size}"),
    };
    // Invariant: these are visible ASCII characters.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Bytes of body and the wait before them, as the request says within bounds.
fn wanted(fields: &HeaderMap, manners: &Manners) -> (u64, Duration) {
    let value = fields.get(&BENCH_ANSWER).map(HeaderValue::as_bytes).unwrap_or_default();
    let said: Dictionary = Parser::new(value).parse().unwrap_or_default();
    let number = |name: &str| match said.get(name) {
        Some(ListEntry::Item(item)) => match item.bare_item {
            BareItem::Integer(number) => u64::try_from(i64::from(number)).ok(),
            _ => None,
        },
        _ => None,
    };
    let size = number("size").unwrap_or(manners.size).min(manners.most);
    let wait = number("wait").map_or(manners.latency, Duration::from_millis);
    (size, wait.min(LONGEST_WAIT))
}

fn answer(
    request: &Request<Incoming>,
    size: u64,
    manners: &Manners,
    counters: &Counters,
) -> Response<Body> {
    let etag = format!("\"{size}\"");
    let is_known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| *known == *etag);
    let mut response = if is_known {
        counters.not_modified.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else if request.method() == Method::HEAD {
        Response::new(Empty::new().boxed_unsync())
    } else {
        counters.bytes.fetch_add(size, Ordering::Relaxed);
        Response::new(StreamBody::new(blocks(size)).boxed_unsync())
    };
    let fields = response.headers_mut();
    if !is_known {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(size));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    if !manners.cache_control.is_empty() {
        fields.insert(CACHE_CONTROL, manners.cache_control.clone());
    }
    if let Ok(etag) = HeaderValue::try_from(etag) {
        fields.insert(ETAG, etag);
    }
    response
}

/// `size` bytes that share their memory.
fn blocks(size: u64) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    static ZEROS: [u8; BLOCK] = [b'~'; BLOCK];
    stream::unfold(size, |left| async move {
        let length = left.min(BLOCK as u64);
        let block = Bytes::from_static(ZEROS.get(..length as usize)?);
        (length > 0).then_some((Ok(Frame::data(block)), left - length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manners() -> Manners {
        Manners {
            cache_control: HeaderValue::from_static("max-age=60"),
            latency: Duration::from_millis(7),
            size: 5,
            most: 1_000,
        }
    }

    #[test]
    fn a_request_says_what_it_wants_within_bounds() {
        let ms = Duration::from_millis;
        for (said, size, wait) in [
            ("size=12, wait=20", 12, ms(20)),
            ("wait=0", 5, Duration::ZERO),
            ("size=5000", 1_000, ms(7)),
            ("size=-1, wait=-1", 5, ms(7)),
            ("wait=999999999", 5, LONGEST_WAIT),
            ("size=\"x\"", 5, ms(7)),
            ("(((", 5, ms(7)),
        ] {
            let value = HeaderValue::from_static(said);
            let fields = HeaderMap::from_iter([(BENCH_ANSWER.clone(), value)]);
            assert_eq!(wanted(&fields, &manners()), (size, wait), "{said}");
        }
        assert_eq!(wanted(&HeaderMap::new(), &manners()), (5, ms(7)));
        let fields = HeaderMap::from_iter([(BENCH_ANSWER.clone(), wish(9, Some(ms(3))))]);
        assert_eq!(wanted(&fields, &manners()), (9, ms(3)));
    }

    #[tokio::test]
    async fn a_body_has_the_size_that_is_wanted() {
        for size in [0, 1, BLOCK as u64, BLOCK as u64 + 1, 1_000_000] {
            let body = StreamBody::new(blocks(size)).collect().await.unwrap();
            assert_eq!(body.to_bytes().len() as u64, size);
        }
    }

    #[test]
    fn it_counts_what_comes_over_a_socket() {
        use std::io::{Read, Write};
        let origin = Origin::start(([127, 0, 0, 1], 0).into(), manners()).unwrap();
        let mut stream = std::net::TcpStream::connect(origin.address()).unwrap();
        for (fields, expected) in [
            ("Bench-Answer: size=3, wait=0", "\r\n\r\n~~~"),
            ("If-None-Match: \"5\"", "304 Not Modified"),
        ] {
            write!(stream, "GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").unwrap();
            let mut read = Vec::new();
            while !String::from_utf8_lossy(&read).contains(expected) {
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).unwrap();
                assert!(length > 0, "{}", String::from_utf8_lossy(&read));
                read.extend_from_slice(&buffer[..length]);
            }
            let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
            assert!(head.contains("cache-control: max-age=60"), "{head}");
        }
        let through = Through { requests: 2, not_modified: 1, bytes: 3 };
        assert_eq!(origin.through(), through);
        assert_eq!(origin.through().since(through), Through::default());
    }
}
