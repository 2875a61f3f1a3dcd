//! The origin behind all that is measured: what it answers stands in the path.
//!
//! Segments say it, in any order, up to the first that means nothing: `size-N` bytes of body,
//! `for-SECONDS` of lifetime, `stale-SECONDS` beyond it, `no-store`, `wait-MS` before the head,
//! `drip-MS` from the head to the last byte, `vary`. The rest of the path makes it another URL.
//! `/count` tells how many requests for others there were.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, sleep, sleep_until};

/// Where it tells how many requests came.
pub(crate) const COUNT: &str = "/count";

/// The field that answers to `vary` differ by.
pub(crate) const VARIANT: &str = "x-variant";

/// Connections that wait to be accepted: all clients of a stampede come at once.
const BACKLOG: u32 = 4096;

/// Bytes written at a time of bodies that are long or slow; all bodies share this memory.
static BLOCK: Bytes = Bytes::from_static(&[b'a'; 64 * 1024]);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a path asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    size: u64,
    lifetime: u64,
    stale: u64,
    no_store: bool,
    wait: Duration,
    drip: Duration,
    vary: bool,
}

impl Wish {
    fn of(path: &str) -> Self {
        let mut wish = Self { lifetime: 3600, ..Self::default() };
        for segment in path.split('/').skip(1) {
            let (word, number) = segment.split_once('-').unwrap_or((segment, ""));
            match (word, number, number.parse().ok()) {
                ("no", "store", _) => wish.no_store = true,
                ("vary", "", _) => wish.vary = true,
                ("size", _, Some(number)) => wish.size = number,
                ("for", _, Some(number)) => wish.lifetime = number,
                ("stale", _, Some(number)) => wish.stale = number,
                ("wait", _, Some(number)) => wish.wait = Duration::from_millis(number),
                ("drip", _, Some(number)) => wish.drip = Duration::from_millis(number),
                _ => break,
            }
        }
        wish
    }

    fn cache_control(&self) -> HeaderValue {
        if self.no_store {
            return HeaderValue::from_static("no-store");
        }
        let grant = match self.stale {
            0 => String::new(),
            seconds => format!(", stale-while-revalidate={seconds}"),
        };
        let text = format!("max-age={}{grant}", self.lifetime);
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"))
    }

    fn body(&self) -> Body {
        if self.size <= BLOCK.len() as u64 && self.drip.is_zero() {
            return Full::new(BLOCK.slice(..self.size as usize)).boxed_unsync();
        }
        BodyExt::boxed_unsync(StreamBody::new(blocks(self.size, self.drip)))
    }
}

/// `size` bytes, spread evenly over `time`.
fn blocks(size: u64, time: Duration) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    const PIECES: u64 = 20;
    let most = BLOCK.len() as u64;
    let block = if time.is_zero() { most } else { (size / PIECES).clamp(1, most) };
    let pause = time.mul_f64(block as f64 / size.max(1) as f64);
    let began = Instant::now();
    stream::unfold(0, move |sent| async move {
        if sent >= size {
            return None;
        }
        if !pause.is_zero() {
            // By the clock: pauses may be shorter than an alarm is exact.
            sleep_until(began + pause.mul_f64((sent / block) as f64)).await;
        }
        let length = block.min(size - sent);
        Some((Ok(Frame::data(BLOCK.slice(..length as usize))), sent + length))
    })
}

/// Answers until the process is ended.
pub(crate) fn run(listen: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        accept(socket.listen(BACKLOG)?).await
    })
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let count = Arc::clone(&count);
        let service = service_fn(move |request| answer(request, Arc::clone(&count)));
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            // A cache that goes away ends its connections as it likes.
            let _ = server
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    count: Arc<AtomicU64>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    if path == COUNT {
        let text = count.load(Ordering::Relaxed).to_string();
        return Ok(Response::new(Full::new(text.into()).boxed_unsync()));
    }
    count.fetch_add(1, Ordering::Relaxed);
    let wish = Wish::of(path);
    if !wish.wait.is_zero() {
        sleep(wish.wait).await;
    }
    let mut response = Response::new(wish.body());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    fields.insert(CACHE_CONTROL, wish.cache_control());
    fields.insert(ETAG, HeaderValue::from_static("\"0123456789abcdef\""));
    fields.insert(LAST_MODIFIED, HeaderValue::from_static("Sat, 01 Nov 2025 00:00:00 GMT"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(wish.size));
    if wish.vary {
        fields.insert(VARY, HeaderValue::from_static(VARIANT));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_wants_until_it_means_nothing() {
        let wish = Wish::of("/size-1024/for-1/stale-60/wait-500/vary/x/no-store");
        let wait = Duration::from_millis(500);
        let wanted =
            Wish { size: 1024, lifetime: 1, stale: 60, wait, vary: true, ..Wish::default() };
        assert_eq!(wish, wanted);
        assert_eq!(wish.cache_control(), "max-age=1, stale-while-revalidate=60");
        assert_eq!(Wish::of("/no-store/size-7").cache_control(), "no-store");
        assert_eq!(Wish::of("/size-many").size, 0);
    }

    /// 4,096 blocks in 2,560 ms: more of them than alarms.
    #[tokio::test(start_paused = true)]
    async fn a_huge_body_drips_as_fast_as_it_should() {
        let began = Instant::now();
        let mut body = Wish::of("/size-268435456/drip-2560").body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().unwrap().len();
        }
        let taken = began.elapsed();
        assert_eq!(length, 256 << 20);
        assert!((2550..=2570).contains(&taken.as_millis()), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_body_is_whole_and_takes_its_time() {
        let began = Instant::now();
        let wish = Wish::of("/size-100000/drip-2000");
        let body = wish.body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 100_000);
        let taken = began.elapsed();
        assert!(
            taken > Duration::from_millis(1800) && taken <= Duration::from_secs(2),
            "{taken:?}"
        );
    }
}
