//! An HTTP/2 client that writes any frames it is told, right or wrong, and sees every frame that
//! comes back.

use std::net::SocketAddr;
use std::time::Duration;

use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::within;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;
/// A request without a body in one frame.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of `RST_STREAM` or GOAWAY.
    pub fn reason(&self) -> Reason {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        Reason::from(word(&self.payload, at))
    }

    /// `:status` of a head, which stands first.
    pub fn status(&self) -> u16 {
        // A table of no size may be announced first.
        let start = usize::from(self.payload[0] & 0xe0 == 0x20);
        match self.payload[start] {
            known @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
            0x08 | 0x48 if self.payload[start + 1] & 0x80 == 0 => {
                let digits = &self.payload[start + 2..start + 5];
                std::str::from_utf8(digits).expect("digits").parse().expect("a status")
            }
            0x08 | 0x48 => huffman_digits(&self.payload[start + 2..]),
            other => panic!("not a status: {other:#x}"),
        }
    }
}

/// Three digits in the code of RFC 7541, Appendix B.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut take =
        |count| (0..count).fold(0, |code, _| code << 1 | u16::from(bits.next().unwrap()));
    (0..3).fold(0, |status, _| {
        let five = take(5);
        let digit = if five < 3 { five } else { (five << 1 | take(1)) - 0x19 + 3 };
        status * 10 + digit
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = u32::try_from(payload.len()).expect("a payload").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field in HPACK: a literal that is never indexed (RFC 7541 §6.2.3), whatever it holds.
pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = vec![0x10];
    for text in [name.as_ref(), value.as_ref()] {
        bytes.extend(hpack_integer(text.len()));
        bytes.extend(text);
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn hpack_integer(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![value as u8];
    }
    let mut bytes = vec![127];
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 0x80);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

/// A header block of `GET target`, with more fields.
pub fn block(method: &str, target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "example.test"),
        (":path", target),
    ];
    own.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// `GET target` in one frame.
pub fn get_frame(stream: u32, target: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, block("GET", target, &[]))
}

/// `RST_STREAM` that cancels.
pub fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, u32::from(Reason::CANCEL).to_be_bytes())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

/// The connection. What comes is read all the time, so that neither side waits for the other.
pub struct FrameClient {
    writer: OwnedWriteHalf,
    frames: UnboundedReceiver<Frame>,
}

impl FrameClient {
    /// Sends a preface and SETTINGS: no dynamic table, so that heads can be read one by one, and
    /// these (RFC 9113 §6.5.2).
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::bare(address).await;
        let mut payload = Vec::new();
        for (name, value) in [(1, 0)].iter().chain(settings) {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, payload), &frame(SETTINGS, ACK, 0, [])];
        // The acknowledgement comes too early to be one, so it is sent only after theirs.
        client.send([hello[0], hello[1]].concat()).await;
        let theirs = client.next().await.expect("SETTINGS");
        assert_eq!((theirs.kind, theirs.flags), (SETTINGS, 0));
        client.send(hello[2]).await;
        client
    }

    /// Sends nothing yet.
    pub async fn bare(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let (reader, writer) = stream.into_split();
        let (sender, frames) = unbounded_channel();
        tokio::spawn(read(reader, sender));
        Self { writer, frames }
    }

    /// Sends bytes; `false` where the other side has hung up.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within("room to send", self.writer.write_all(bytes.as_ref())).await.is_ok()
    }

    /// The next frame; `None` at the connection's end.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame", self.frames.recv()).await
    }

    /// The next frame, if one comes in this time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Frame> {
        tokio::time::timeout(time, self.frames.recv()).await.ok().flatten()
    }

    /// Passes over what comes, until nothing has come for so long.
    pub async fn listen(&mut self, time: Duration) {
        while self.next_within(time).await.is_some() {}
    }

    /// The next frame that `wanted` wants, passing over others.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            match self.next().await {
                Some(frame) if wanted(&frame) => return Some(frame),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// The status of a stream's answer.
    pub async fn status(&mut self, stream: u32) -> u16 {
        let head = self.until(|frame| frame.kind == HEADERS && frame.stream == stream).await;
        head.expect("an answer").status()
    }

    /// Waits until all that was sent is dealt with.
    pub async fn settle(&mut self) {
        self.send(frame(PING, 0, 0, b"settled?")).await;
        let pong = |frame: &Frame| frame.kind == PING && frame.flags == ACK;
        self.until(pong).await.expect("the connection lives");
    }

    /// Whether the connection has ended.
    pub fn has_ended(&self) -> bool {
        self.frames.is_closed()
    }

    /// Waits for the connection's end: the last GOAWAY's reason, where one arrived.
    pub async fn ended(&mut self) -> Option<Reason> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                reason = Some(frame.reason());
            }
        }
        reason
    }
}

async fn read(mut reader: OwnedReadHalf, frames: UnboundedSender<Frame>) {
    loop {
        let mut head = [0; 9];
        if reader.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; word(&[0, head[0], head[1], head[2]], 0) as usize];
        if reader.read_exact(&mut payload).await.is_err() {
            return;
        }
        let stream = word(&head, 5);
        if frames.send(Frame { kind: head[3], flags: head[4], stream, payload }).is_err() {
            return;
        }
    }
}
