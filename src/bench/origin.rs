//! The bench's own origin: it answers what the workload says, and counts what gets through.

mod wish;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
pub(super) use wish::{BENCH_ANSWER, Wish};

/// Bytes written at a time; all bodies share this memory.
const BLOCK: usize = 64 * 1024;

/// The longest wait that a request may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What it answers where a request does not say, and with.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    /// `Cache-Control` of answers that are given none; an empty one is not sent.
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
                let wish = Wish::of(request.headers());
                let wait = wish.wait.unwrap_or(manners.latency).min(LONGEST_WAIT);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                Ok::<_, Infallible>(answer(&request, wish, &manners, &counters))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        // A cache that leaves midway is nobody's concern here.
        tokio::spawn(async { drop(connection.await) });
    }
}

/// The entity tag of a body of `size` bytes.
pub(super) fn tag(size: u64) -> HeaderValue {
    let text = format!("\"{size}\"");
    // Invariant: these are visible ASCII characters.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn answer(
    request: &Request<Incoming>,
    wish: Wish,
    manners: &Manners,
    counters: &Counters,
) -> Response<Body> {
    let whole = wish.size.unwrap_or(manners.size).min(manners.most);
    let mut fields = wish.fields;
    if !wish.is_silent && !manners.cache_control.is_empty() {
        fields.entry(CACHE_CONTROL).or_insert_with(|| manners.cache_control.clone());
    }
    fields.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    let tag = fields.entry(ETAG).or_insert_with(|| tag(whole)).clone();
    let asked = request.headers();
    let is_known = asked.get(IF_NONE_MATCH).is_some_and(|known| *known == tag);
    // Informational, partial and unchanged is what an answer becomes, not what it is.
    let status = wish.status.filter(|status| {
        !status.is_informational()
            && ![StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED].contains(status)
    });
    let status = status.unwrap_or(StatusCode::OK);
    let (mut status, mut sent) = (status, 0..whole);
    if status == StatusCode::OK && is_known {
        counters.not_modified.fetch_add(1, Ordering::Relaxed);
        (status, sent) = (StatusCode::NOT_MODIFIED, 0..0);
    } else if status == StatusCode::OK
        && let Some(part) = part(request, whole, &tag)
        && let Ok(range) =
            HeaderValue::try_from(format!("bytes {}-{}/{whole}", part.start, part.end - 1))
    {
        fields.insert(CONTENT_RANGE, range);
        (status, sent) = (StatusCode::PARTIAL_CONTENT, part);
    }
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5.
    let is_empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT)
        || status == StatusCode::NOT_MODIFIED;
    let length = if is_empty { 0 } else { sent.end - sent.start };
    if !is_empty {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let body = if is_empty || request.method() == Method::HEAD {
        Empty::new().boxed_unsync()
    } else {
        counters.bytes.fetch_add(length, Ordering::Relaxed);
        StreamBody::new(blocks(length)).boxed_unsync()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// The part that is asked for, if it is a single one and all of it is there (RFC 9110 §14.2).
fn part(request: &Request<impl Sized>, whole: u64, tag: &HeaderValue) -> Option<Range<u64>> {
    let fields: &HeaderMap = request.headers();
    if request.method() != Method::GET || fields.get(IF_RANGE).is_some_and(|known| known != tag) {
        return None;
    }
    let (first, last) =
        fields.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let last_byte = whole.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", suffix) => (whole.saturating_sub(suffix.parse::<u64>().ok()?), last_byte),
        (first, "") => (first.parse().ok()?, last_byte),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.min(last_byte)),
    };
    (first <= last).then(|| first..last + 1)
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
    fn a_part_is_what_is_asked_for_of_what_there_is() {
        let tag = tag(100);
        for (range, expected) in [
            ("bytes=0-9", Some(0..10)),
            ("bytes=90-", Some(90..100)),
            ("bytes=-5", Some(95..100)),
            ("bytes=-500", Some(0..100)),
            ("bytes=50-500", Some(50..100)),
            ("bytes=100-", None),
            ("bytes=9-0", None),
            ("bytes=0-1,5-6", None),
            ("bytes=-", None),
            ("lines=0-1", None),
        ] {
            let request = |tag: &str| {
                Request::get("/").header(RANGE, range).header(IF_RANGE, tag).body(()).unwrap()
            };
            assert_eq!(part(&request("\"100\""), 100, &tag), expected, "{range}");
            assert_eq!(part(&request("\"other\""), 100, &tag), None, "{range}");
        }
        assert_eq!(
            part(&Request::get("/").header(RANGE, "bytes=0-").body(()).unwrap(), 0, &tag),
            None
        );
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
        for (fields, head, body) in [
            ("Bench-Answer: size=3, wait=0", "cache-control: max-age=60", "~~~"),
            ("Bench-Answer: size=9\r\nRange: bytes=3-5", "content-range: bytes 3-5/9", "~~~"),
            ("Bench-Answer: size=2, status=410", "410 gone", "~~"),
            ("Bench-Answer: status=204", "204 no content", ""),
            ("Bench-Answer: silent", "content-length: 5", "~~~~~"),
            ("If-None-Match: \"5\"", "304 not modified", ""),
        ] {
            write!(stream, "GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").unwrap();
            let mut read = String::new();
            while !read.ends_with(&format!("\r\n\r\n{body}")) {
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).unwrap();
                assert!(length > 0, "{fields}: {read}");
                read += &String::from_utf8_lossy(&buffer[..length]).to_ascii_lowercase();
            }
            assert!(read.contains(head), "{fields}: {read}");
            assert_eq!(read.contains("cache-control"), !fields.contains("silent"), "{read}");
        }
        let through = Through { requests: 6, not_modified: 1, bytes: 13 };
        assert_eq!(origin.through(), through);
        assert_eq!(origin.through().since(through), Through::default());
    }
}
