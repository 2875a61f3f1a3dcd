//! A bound on what Redis may send: no more than was asked for.
//!
//! The protocol lets a server announce half a gigabyte where some kilobytes are expected, and the
//! client library would read it all into memory. So every request says how much its answer may
//! take, and the byte that is beyond all of them ends the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may come beyond what was asked for, before the first request: greetings and errors.
const SLACK: i64 = 16 * 1024;

/// Bytes that may still come.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicI64>);

impl Allowance {
    /// What a new connection needs.
    #[must_use]
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(SLACK)))
    }

    /// Something is about to be asked whose answer takes `most` bytes.
    pub(super) fn grant(&self, most: usize) {
        self.0.fetch_add(signed(most), Relaxed);
    }

    /// An answer to what `most` bytes were granted for took `used`.
    pub(super) fn settle(&self, most: usize, used: usize) {
        self.0.fetch_sub(signed(most.saturating_sub(used)), Relaxed);
    }

    /// Whether `bytes` more were allowed.
    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_sub(signed(bytes), Relaxed) >= signed(bytes)
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self::new()
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A connection that ends when more comes than was asked for.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    allowance: Allowance,
}

impl<S> Guarded<S> {
    /// `stream` within `allowance`.
    pub(super) fn new(stream: S, allowance: Allowance) -> Self {
        Self { stream, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if self.allowance.take(buffer.filled().len() - before) {
            return Poll::Ready(Ok(()));
        }
        let error = io::Error::new(io::ErrorKind::InvalidData, "more than was asked for");
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_asked_for_comes_and_not_a_byte_more() {
        let allowance = Allowance::new();
        let (stream, mut server) = duplex(1 << 20);
        let mut guarded = Guarded::new(stream, allowance.clone());
        allowance.grant(100_000);
        let granted = 100_000 + usize::try_from(SLACK).expect("it is small");
        server.write_all(&vec![7; granted]).await.expect("room");
        let mut bytes = vec![0; granted];
        guarded.read_exact(&mut bytes).await.expect("it was asked for");
        server.write_all(b"x").await.expect("room");
        let error = guarded.read_exact(&mut bytes[..1]).await.expect_err("it was not");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_an_answer_did_not_use_is_not_there_for_the_next() {
        let allowance = Allowance::new();
        for _ in 0..1000 {
            allowance.grant(1 << 20);
            assert!(allowance.take(10));
            allowance.settle(1 << 20, 10);
        }
        assert!(!allowance.take(1 << 20));
    }
}
