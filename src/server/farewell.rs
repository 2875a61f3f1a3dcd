//! How an HTTP/1 connection is closed whose client may not know yet that it is over, or why.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::deadline::End;
use super::guard::Guard;
use super::pulse::{Due, Pulse};
use super::transport::Transport;

/// What a client is told whose request's head did not come in time (RFC 9110 §15.5.9).
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\n";

/// How long to write to and read on from a client whose request was not read to its end.
const LINGER: Duration = Duration::from_secs(2);

/// What is left to do before a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// These are the last bytes for a client that may still be sending what nobody will read.
    Last(&'static [u8]),
    /// The client must not take what it got for the whole of an answer that its connection's end
    /// delimits (RFC 9112 §8).
    Reset,
}

impl Farewell {
    /// What a connection that ended so asks for.
    pub(super) fn after(end: &End, pulse: &Pulse) -> Option<Self> {
        match end {
            End::Closed(Err(error)) if error.is_parse() => Some(Self::Last(b"")),
            End::Closed(Ok(())) if pulse.had_body() => Some(Self::Last(b"")),
            End::Closed(Err(_)) | End::TimedOut { due: Due::Write } if pulse.ends_answer() => {
                Some(Self::Reset)
            }
            // Nothing of an answer is unwritten: that would be due first. A connection that was
            // opened ahead of need gets no answer: its next request would take it for its own.
            End::TimedOut { due: Due::Head } if pulse.has_begun_head() => {
                Some(Self::Last(TOO_LATE))
            }
            End::Closed(_) | End::TimedOut { .. } | End::Abandoned | End::Dismissed => None,
        }
    }

    /// Says it. An error is as good as the end, and the time is bounded.
    pub(super) async fn say(self, io: Guard<Transport>) {
        match self {
            Self::Last(bytes) => drop(timeout(LINGER, linger(io, bytes)).await),
            Self::Reset => io.reset_on_close(),
        }
    }
}

/// Closes in two steps (RFC 9112 §9.6): closing over unread bytes would reset the connection, and
/// the client might lose the answer that tells why its request was refused.
async fn linger<T>(mut io: T, last: &[u8]) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(last).await?;
    io.shutdown().await?;
    let mut unread = BytesMut::with_capacity(8 * 1024);
    loop {
        match io.read_buf(&mut unread).await {
            Ok(0) => return Ok(()),
            // That the content is faulty, where nobody had read so far.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) => return Err(error),
            Ok(_) => unread.clear(),
        }
    }
}
