//! Bytes in at a client; bytes out at an origin that keeps them all.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::support::*;

/// What follows each case on its connection.
pub const AFTER: &str = "GET /after HTTP/1.1⏎◊Connection: close⏎⏎";

/// How long a connection may take to end: a case that hangs is told by its name.
const PATIENCE: std::time::Duration = secs(3);

/// The bytes of a case.
pub fn bytes(case: &str) -> Vec<u8> {
    let case = case.replace('◊', "Host: example.test⏎").replace('⏎', "\r\n");
    case.chars().map(|char| u8::try_from(u32::from(char)).expect("up to U+00FF")).collect()
}

/// A whole request as the origin got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub head: String,
    pub framing: &'static str,
    pub body: Vec<u8>,
}

impl Forwarded {
    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.head.lines().next().unwrap_or_default();
        let line = line.strip_suffix(" HTTP/1.1").unwrap_or("not HTTP/1.1");
        write!(f, "{line} {} {}", self.framing, String::from_utf8_lossy(&self.body))
    }
}

/// What became of a case.
pub struct Outcome {
    /// The final responses that the client got before the connection ended.
    pub statuses: Vec<u16>,
    /// Whether it ended at all.
    pub ended: bool,
    /// Everything that the client got.
    pub said: String,
    /// The requests that the origin got whole.
    pub forwarded: Vec<Forwarded>,
    /// What else it got.
    pub partial: Vec<u8>,
}

/// What the origin got since it was last asked.
#[derive(Default)]
struct Log {
    forwarded: Vec<Forwarded>,
    /// A connection's bytes that are no whole request yet.
    partial: Vec<Vec<u8>>,
}

/// An origin that answers what is a whole request by the strictest reading, and a proxy.
pub struct Wire {
    pub proxy: Proxy,
    log: Arc<Mutex<Log>>,
    _origin: Origin,
}

impl Wire {
    pub async fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
    }

    /// With this answer to everything.
    pub async fn answering(answer: &'static str) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = log.clone();
        let origin = Origin::script(move |mut conn| {
            let log = shared.clone();
            async move {
                let slot = {
                    let mut log = log.lock().unwrap();
                    log.partial.push(Vec::new());
                    log.partial.len() - 1
                };
                loop {
                    let more = conn.some().await;
                    if more.is_empty() {
                        return;
                    }
                    let whole = {
                        let mut log = log.lock().unwrap();
                        log.partial[slot].extend(more);
                        let taken = take(&mut log.partial[slot]);
                        log.forwarded.extend(taken.clone());
                        taken.len()
                    };
                    for _ in 0..whole {
                        conn.send(answer).await;
                    }
                }
            }
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        Self { proxy, log, _origin: origin }
    }

    /// Sends a case and [`AFTER`] on a connection, and reads until it ends.
    pub async fn send(&self, case: &str, in_bytes: bool) -> Outcome {
        let mut client = self.proxy.client().await;
        let bytes = [bytes(case), bytes(AFTER)].concat();
        // A refusal may close the connection before all is sent.
        if in_bytes && bytes.len() < 2000 {
            for byte in bytes {
                if !client.try_send([byte]).await {
                    break;
                }
            }
        } else {
            client.try_send(bytes).await;
        }
        let mut said = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                match client.some().await {
                    bytes if bytes.is_empty() => return,
                    bytes => said.extend(bytes),
                }
            }
        });
        let ended = ended.await.is_ok();
        let said = String::from_utf8_lossy(&said).into_owned();
        let mut log = self.log.lock().unwrap();
        let partial = log.partial.iter_mut().flat_map(std::mem::take).collect();
        let forwarded = std::mem::take(&mut log.forwarded);
        Outcome { statuses: statuses(&said), ended, said, forwarded, partial }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statuses, ended, said, forwarded, partial } = self;
        let partial = String::from_utf8_lossy(partial);
        let first = said.lines().next().unwrap_or_default();
        let targets: Vec<_> = forwarded.iter().map(Forwarded::to_string).collect();
        let start = partial.lines().next().unwrap_or_default();
        let end: String =
            partial.chars().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect();
        write!(
            f,
            "{statuses:?}, ended: {ended}, {first:?}, {targets:?}, partial: {start:?}..{end:?}"
        )
    }
}

fn statuses(said: &str) -> Vec<u16> {
    let heads = said.split("HTTP/1.").skip(1);
    heads.filter_map(|head| head[2..5].parse().ok()).filter(|&status| status >= 200).collect()
}

/// Takes the whole requests off the front of `bytes`; what is not one stays for ever.
fn take(bytes: &mut Vec<u8>) -> Vec<Forwarded> {
    let mut whole = Vec::new();
    while let Some((request, length)) = parse(bytes) {
        whole.push(request);
        bytes.drain(..length);
    }
    whole
}

/// The request at the front, and its length.
fn parse(bytes: &[u8]) -> Option<(Forwarded, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{head:?}");
    let mut request = Forwarded { head, framing: "-", body: Vec::new() };
    assert_eq!(request.all("host").len(), 1, "{request:?}");
    let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
    let mut at = end + 4;
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([length], []) => {
            assert!(length.bytes().all(|byte| byte.is_ascii_digit()), "{request:?}");
            let length: usize = length.parse().unwrap();
            request.body = bytes.get(at..at + length)?.to_vec();
            request.framing = "length";
            at += length;
        }
        ([], ["chunked"]) => loop {
            let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
            let digits = std::str::from_utf8(&bytes[at..at + line]).unwrap();
            assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "chunk size {digits:?}");
            let size = usize::from_str_radix(digits, 16).unwrap();
            at += line + 2;
            if size == 0 {
                let end = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
                assert_eq!(end, 0, "no trailers in these tests");
                at += 2;
                request.framing = "chunked";
                break;
            }
            request.body.extend_from_slice(bytes.get(at..at + size)?);
            assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n");
            at += size + 2;
        },
        _ => panic!("framed twice: {request:?}"),
    }
    Some((request, at))
}
