//! What a turn brings goes out once, whole and in order, and no more waits than may.

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
