//! Gathers what an HTTP/2 connection writes in one turn: h2 writes and flushes each DATA frame by
//! itself, which is a TLS record and a system call for each of many small answers.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;

use super::deadline::Graceful;

/// Bytes that wait for the end of a turn: four TLS records, which go out in one write. They stand
/// outside the memory budget, and only a connection that can't be written to keeps them beyond a turn.
const MOST_HELD: usize = 64 * 1024;

/// Bytes of one write that are copied to wait; more are worth a write of their own.
const MOST_COPIED: usize = 8 * 1024;

/// Pieces of one write, besides what waited: h2 has three at most.
const MOST_PIECES: usize = 7;

/// A socket whose writes wait until the turn of their connection is over, or too much waits.
#[derive(Debug)]
pub(super) struct Gather<T> {
    io: T,
    /// What waits, from `sent` on: no more than [`MOST_HELD`], and no allocation while there is nothing.
    held: Vec<u8>,
    sent: usize,
    /// Bytes of the last turn: the next is likely to bring as many.
    usual: usize,
    /// `io` has taken bytes since it was flushed.
    unflushed: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Sound,
    /// The end of a turn failed, of which hyper has not heard yet.
    Failed(io::Error),
    /// Nothing is written any more.
    Broken,
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    const fn new(io: T) -> Self {
        Self { io, held: Vec::new(), sent: 0, usual: 0, unflushed: false, state: State::Sound }
    }

    fn waiting(&self) -> &[u8] {
        &self.held[self.sent..]
    }

    fn hold(&mut self, bufs: &[IoSlice<'_>], count: usize) {
        self.held.drain(..std::mem::take(&mut self.sent));
        let (length, capacity) = (self.held.len(), self.held.capacity());
        if capacity < length + count {
            let wanted = if capacity == 0 { self.usual } else { (2 * capacity).min(MOST_HELD) };
            self.held.reserve_exact(wanted.saturating_sub(length).max(count));
        }
        for piece in bufs {
            self.held.extend_from_slice(piece);
        }
    }

    /// What waited is written, or lost.
    fn clear(&mut self) {
        (self.held, self.sent) = (Vec::new(), 0);
    }

    /// Writes what waits, and then these, of which it may take a part only. An error is the last of
    /// it: bytes may have gone out by then, and nothing is written twice.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut pieces = [IoSlice::new(&[]); MOST_PIECES + 1];
            pieces[0] = IoSlice::new(&self.held[self.sent..]);
            let count = bufs.len().min(MOST_PIECES);
            pieces[1..=count].copy_from_slice(&bufs[..count]);
            let pieces = &pieces[usize::from(self.waiting().is_empty())..=count];
            let written = match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, pieces)) {
                Ok(0) => return self.fail(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) => return self.fail(error),
            };
            self.unflushed = true;
            let Some(own) = written.checked_sub(self.waiting().len()) else {
                self.sent += written;
                continue;
            };
            self.clear();
            if own > 0 || bufs.is_empty() {
                return Poll::Ready(Ok(own));
            }
        }
    }

    fn fail<R>(&mut self, error: io::Error) -> Poll<io::Result<R>> {
        self.clear();
        self.state = State::Broken;
        Poll::Ready(Err(error))
    }

    /// Writes what waits, and flushes.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting().is_empty() {
            ready!(self.poll_through(cx, &[]))?;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Sends what the turn has brought. Where that fails hyper has to hear of it: its turn comes
    /// again.
    fn end_turn(&mut self, cx: &mut Context<'_>) {
        let is_sound = matches!(self.state, State::Sound);
        if !is_sound || !self.unflushed && self.waiting().is_empty() {
            return;
        }
        if self.sent == 0 {
            self.usual = self.held.len();
        }
        if let Poll::Ready(Err(error)) = self.poll_out(cx) {
            self.clear();
            self.state = State::Failed(error);
            cx.waker().wake_by_ref();
        }
    }

    /// Whether it can be written to; what failed is told once.
    fn check(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Sound => {
                self.state = State::Sound;
                Ok(())
            }
            State::Failed(error) => Err(error),
            State::Broken => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let count: usize = bufs.iter().map(|piece| piece.len()).sum();
        if count > MOST_COPIED || self.waiting().len() + count > MOST_HELD {
            return self.poll_through(cx, bufs);
        }
        self.hold(bufs, count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Ready at once: h2 writes and flushes in its turns only, each of which ends with a flush, and
    /// before it is over it shuts down, which sends all.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The socket as its connection holds it, and as [`Turns`] does, to end its turns: one task has both.
#[derive(Debug)]
pub(super) struct Gathered<T>(Arc<Mutex<Gather<T>>>);

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: AsyncWrite + Unpin> Gathered<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Gather::new(io))))
    }
}

impl<T> Gathered<T> {
    fn gather(&self) -> MutexGuard<'_, Gather<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.gather().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.gather()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.gather()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.gather().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.gather()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.gather()).poll_shutdown(cx)
    }
}

pin_project! {
    /// A connection that writes to a [`Gathered`] socket; each poll is a turn.
    pub(super) struct Turns<C, T> {
        #[pin]
        connection: C,
        io: Gathered<T>,
    }
}

impl<C, T> Turns<C, T> {
    pub(super) const fn new(connection: C, io: Gathered<T>) -> Self {
        Self { connection, io }
    }
}

impl<C: Future, T: AsyncWrite + Unpin> Future for Turns<C, T> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        let polled = this.connection.poll(cx);
        // Unconstrained: what the turn has done must not wait for having done much.
        let end = poll_fn(|cx| {
            this.io.gather().end_turn(cx);
            Poll::Ready(())
        });
        let _ = pin!(unconstrained(end)).poll(cx);
        polled
    }
}

impl<C: Graceful, T: AsyncWrite + Unpin> Graceful for Turns<C, T> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.project().connection.graceful_shutdown();
    }
}

#[cfg(test)]
mod tests;
