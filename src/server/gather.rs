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
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use futures_util::FutureExt;
    use futures_util::task::noop_waker_ref;
    use proptest::prelude::*;

    use super::*;

    /// A socket that takes as many bytes as it is told, and nothing where it is told nothing.
    #[derive(Debug, Default)]
    struct Socket {
        takes: Vec<usize>,
        written: Vec<u8>,
        writes: usize,
        flushed: usize,
        /// Flushes that have to wait.
        slow_flushes: usize,
        fails: Fails,
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    enum Fails {
        #[default]
        Never,
        Before,
        /// As a guard does, that ends a connection for what was written.
        AfterWriting,
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if self.fails == Fails::Before {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let all: Vec<u8> = bufs.iter().flat_map(|piece| piece.iter().copied()).collect();
            match self.takes.pop().unwrap_or(usize::MAX) {
                0 => Poll::Pending,
                count => {
                    let count = count.min(all.len());
                    self.written.extend_from_slice(&all[..count]);
                    self.writes += 1;
                    if self.fails == Fails::AfterWriting {
                        return Poll::Ready(Err(io::ErrorKind::Other.into()));
                    }
                    Poll::Ready(Ok(count))
                }
            }
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if let Some(left) = self.slow_flushes.checked_sub(1) {
                self.slow_flushes = left;
                return Poll::Pending;
            }
            self.flushed = self.written.len();
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    /// A connection that does this in each turn.
    fn turns(
        io: &Gathered<Socket>,
        mut turn: impl FnMut(&Gathered<Socket>, &mut Context<'_>) + Unpin,
    ) -> impl Future<Output = ()> + Unpin {
        let mine = io.clone();
        let connection = poll_fn(move |cx| {
            turn(&mine, cx);
            Poll::<()>::Pending
        });
        Turns::new(connection, io.clone())
    }

    fn write(io: &Gathered<Socket>, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut io = io.clone();
        let (head, tail) = bytes.split_at(bytes.len() / 3);
        let pieces = [IoSlice::new(head), IoSlice::new(tail)];
        match Pin::new(&mut io).poll_write_vectored(cx, &pieces) {
            Poll::Ready(written) => written.expect("no fault"),
            Poll::Pending => 0,
        }
    }

    fn flush(io: &Gathered<Socket>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut io.clone()).poll_flush(cx)
    }

    #[test]
    fn small_answers_of_one_turn_go_out_in_one_write() {
        let io = Gathered::new(Socket::default());
        let connection = turns(&io, |io, cx| {
            for _ in 0..32 {
                assert_eq!(write(io, cx, &[b'x'; 1_100]), 1_100);
                assert!(flush(io, cx).is_ready());
            }
            assert_eq!(io.gather().io.writes, 0);
        });
        assert!(connection.now_or_never().is_none());
        let gather = io.gather();
        assert_eq!((gather.io.writes, gather.io.flushed), (1, 32 * 1_100));
        assert_eq!(gather.held.capacity(), 0, "a connection at rest holds no buffer");
    }

    #[test]
    fn what_is_large_is_not_copied_and_what_waits_is_bounded() {
        let io = Gathered::new(Socket::default());
        let connection = turns(&io, |io, cx| {
            assert_eq!(write(io, cx, &[b'x'; 100]), 100);
            assert_eq!(write(io, cx, &[b'y'; MOST_COPIED + 1]), MOST_COPIED + 1);
            assert_eq!(io.gather().io.writes, 1, "with what waited before it");
            for _ in 0..MOST_HELD / MOST_COPIED {
                write(io, cx, &[b'z'; MOST_COPIED]);
            }
            assert_eq!(io.gather().io.writes, 1);
            assert_eq!(write(io, cx, b"more"), 4);
            assert_eq!(io.gather().io.writes, 2);
        });
        assert!(connection.now_or_never().is_none());
    }

    #[test]
    fn a_failure_at_the_end_of_a_turn_is_told_in_the_next() {
        let io = Gathered::new(Socket { fails: Fails::Before, ..Socket::default() });
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (mut told, mut turn) = (Vec::new(), 0);
        let mine = io.clone();
        let mut connection = pin!(Turns::new(
            poll_fn(|cx| {
                turn += 1;
                match flush(&mine, cx) {
                    Poll::Ready(Ok(())) => drop(write(&mine, cx, b"lost")),
                    Poll::Ready(Err(error)) => told.push((turn, error.kind())),
                    Poll::Pending => {}
                }
                Poll::<()>::Pending
            }),
            io.clone(),
        ));
        assert!(connection.as_mut().poll(&mut cx).is_pending());
        assert!(woken.0.swap(false, Ordering::Relaxed), "hyper gets a turn for it");
        assert!(connection.as_mut().poll(&mut cx).is_pending());
        assert!(!woken.0.load(Ordering::Relaxed), "and one is enough");
        assert_eq!(told, [(2, io::ErrorKind::ConnectionReset)]);
    }

    #[test]
    fn what_went_out_with_an_error_is_not_written_again() {
        for large in [1, MOST_COPIED + 1] {
            let io = Gathered::new(Socket { fails: Fails::AfterWriting, ..Socket::default() });
            let (mine, bytes) = (io.clone(), vec![b'x'; large]);
            let connection = turns(&io, move |_, cx| {
                let mut io = mine.clone();
                drop(Pin::new(&mut io).poll_write(cx, b"held"));
                drop(Pin::new(&mut io).poll_write(cx, &bytes));
            });
            assert!(connection.now_or_never().is_none());
            let mut cx = Context::from_waker(noop_waker_ref());
            io.gather().end_turn(&mut cx);
            let ended = Pin::new(&mut io.clone()).poll_shutdown(&mut cx);
            assert!(matches!(ended, Poll::Ready(Err(_))));
            let gather = io.gather();
            assert_eq!((gather.io.written.len(), gather.io.writes), (4 + large, 1));
        }
    }

    /// TLS takes bytes that its socket does not.
    #[test]
    fn what_was_not_flushed_is_flushed_in_a_later_turn_that_writes_nothing() {
        let io = Gathered::new(Socket { slow_flushes: 1, ..Socket::default() });
        let mut writes = true;
        let mut connection = turns(&io, move |io, cx| {
            if std::mem::take(&mut writes) {
                write(io, cx, b"settings");
            }
        });
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
        let seen = |socket: &Socket| (socket.written.len(), socket.flushed);
        assert_eq!(seen(&io.gather().io), (8, 0));
        assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
        assert_eq!(seen(&io.gather().io), (8, 8));
    }

    #[test]
    fn a_socket_that_takes_little_does_not_make_the_buffer_larger() {
        let takes = [700, 0].repeat(1_000);
        let io = Gathered::new(Socket { takes, ..Socket::default() });
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut most = 0;
        for _ in 0..100 {
            for _ in 0..5 {
                write(&io, &mut cx, &[b'x'; 900]);
            }
            io.gather().end_turn(&mut cx);
            most = most.max(io.gather().held.capacity());
        }
        assert_eq!(most, MOST_HELD);
    }

    proptest! {
        /// Whatever the socket takes, every byte comes once and in order, before its end.
        #[test]
        fn bytes_stay_in_order(
            writes in proptest::collection::vec((0..3_usize, 1..20_000_usize), 1..30),
            takes in proptest::collection::vec(
                prop_oneof![Just(0), 1..200_usize, 1..50_000_usize], 0..60,
            ),
        ) {
            let io = Gathered::new(Socket { takes, ..Socket::default() });
            let mut expected: Vec<u8> = Vec::new();
            let mut cx = Context::from_waker(noop_waker_ref());
            for (ends, length) in writes {
                let bytes: Vec<u8> = (expected.len()..).map(|n| (n % 251) as u8).take(length).collect();
                let mut left = bytes.as_slice();
                while !left.is_empty() {
                    let count = write(&io, &mut cx, left);
                    left = &left[count..];
                    if count == 0 {
                        io.gather().end_turn(&mut cx);
                    }
                }
                expected.extend(&bytes);
                if ends == 0 {
                    io.gather().end_turn(&mut cx);
                }
                prop_assert!(io.gather().held.capacity() <= MOST_HELD);
            }
            let mut last = io.clone();
            while Pin::new(&mut last).poll_shutdown(&mut cx).is_pending() {}
            let gather = io.gather();
            prop_assert!(gather.io.written == expected);
            prop_assert_eq!(gather.io.flushed, expected.len());
        }
    }
}
