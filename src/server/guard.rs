//! The wrapper around a client's byte stream, of all that is read and written: tells [`Pulse`] of reads and stalled writes,
//! writes interim responses, has `Strict` look at what HTTP/1 clients send, and `Watch` at the frames
//! of HTTP/2. The rest of the bytes is hyper's to understand.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Offence, Watch};
use super::interim::Interim;
use super::pulse::Pulse;
use super::seats::Permit;
use super::strict::Strict;
use super::transport::Transport;

/// How hyper's own refusals end, which name nothing but their status.
const BARE: &[u8] = b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const NOT_BARE: &[u8] =
    b"\r\nconnection: close\r\ncontent-length: 0\r\ncache-control: no-store\r\n\r\n";

/// A guarded stream. It holds the connection's permit, so a tunnel that outlives the HTTP
/// connection still counts as one.
#[derive(Debug)]
pub(super) struct Guard<T> {
    io: T,
    pulse: Arc<Pulse>,
    interim: Option<Arc<Interim>>,
    /// Interim responses begun: they are finished before any other byte.
    begun: BytesMut,
    /// HTTP/1 only.
    strict: Option<Strict>,
    /// HTTP/2 only.
    watch: Option<Box<Watch>>,
    _permit: Permit,
}

impl<T> Guard<T> {
    pub(super) fn new(
        io: T,
        pulse: Arc<Pulse>,
        interim: Option<Arc<Interim>>,
        permit: Permit,
    ) -> Self {
        let strict = interim.is_some().then(|| Strict::new(Arc::clone(&pulse)));
        let watch = pulse.is_http2().then(|| Box::new(Watch::new()));
        Self { io, pulse, interim, begun: BytesMut::new(), strict, watch, _permit: permit }
    }
}

impl Guard<Transport> {
    /// Closing it will tell the peer that it was cut.
    pub(super) fn reset_on_close(&self) {
        self.io.reset_on_close();
    }
}

impl<T: AsyncWrite + Unpin> Guard<T> {
    /// Writes out what was begun of interim responses.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.begun.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.begun);
            let count = ready!(self.written(written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// What has to happen before a byte of hyper's is written.
    fn poll_before_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(interim) = &self.interim else { return Poll::Ready(Ok(())) };
        if self.begun.is_empty()
            && let Some(bytes) = interim.before_write()
        {
            self.begun = bytes;
        }
        ready!(self.poll_begun(cx))?;
        if let Some(interim) = &self.interim {
            interim.wrote();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a refusal of hyper's own so that nobody stores it: a 414 may be stored by default
    /// (RFC 9110 §15.1). `None` if `bytes` are none.
    fn poll_refusal(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Option<io::Result<usize>> {
        // An answer of the stack says more, and the bytes of a tunnel are not ours to change.
        let status = bytes.strip_suffix(BARE).filter(|line| line.starts_with(b"HTTP/1.1 4"))?;
        if status.contains(&b'\r') || self.pulse.is_active() || self.pulse.has_switched() {
            return None;
        }
        self.begun = [status, NOT_BARE].concat().as_slice().into();
        // What is left of it goes before the next write, flush or end.
        Some(match self.poll_begun(cx) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(bytes.len()),
        })
    }

    /// Whether frames that were read may go on to hyper.
    fn judge_read(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        let now = self.pulse.read();
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let verdict = watch.receive(bytes, now);
        self.pulse.head_since(watch.head_since());
        verdict.map_err(|offence| self.end(offence, cx))
    }

    /// Whether frames leave the connection as it is, of which so many bytes were written.
    fn judge_written(
        &mut self,
        bufs: &[IoSlice<'_>],
        count: usize,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        // What a client makes us send is its doing, and as old as its latest bytes.
        let (now, mut left, mut verdict) = (self.pulse.last_read(), count, Ok(()));
        for piece in bufs {
            let piece = &piece[..left.min(piece.len())];
            // All of them: whether the last frame is whole decides if more can be said.
            verdict = verdict.and(watch.send(piece, now));
            left -= piece.len();
        }
        verdict.map_err(|offence| self.end(offence, cx))
    }

    /// Tells the client why its connection ends, if that takes no waiting; hyper, which is told
    /// that the stream is broken, ends all that is under way.
    fn end(&mut self, offence: Offence, cx: &mut Context<'_>) -> io::Error {
        self.pulse.offend(offence);
        if let Some(watch) = self.watch.take().filter(|watch| watch.is_between_frames()) {
            let goaway = offence.goaway(watch.last_stream());
            if let Poll::Ready(Ok(_)) = Pin::new(&mut self.io).poll_write(cx, &goaway) {
                let _ = Pin::new(&mut self.io).poll_flush(cx);
            }
        }
        io::Error::other(offence.word())
    }

    /// Tells the pulse how a write went.
    fn written(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Pending => self.pulse.write_blocked(),
            Poll::Ready(Ok(bytes)) => self.pulse.write_progressed(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        poll
    }

    /// Tells the pulse how a flush went: after one, nothing is left to write.
    fn flushed(&self, poll: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match &poll {
            Poll::Pending => self.pulse.write_blocked(),
            Poll::Ready(_) => self.pulse.drained(),
        }
        poll
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(read) = self.strict.as_mut().and_then(|strict| strict.before_read(buf)) {
            return Poll::Ready(read);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.judge_read(read, cx)?;
        }
        Poll::Ready(match &mut self.strict {
            Some(strict) => strict.after_read(buf, before),
            None => Ok(()),
        })
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        if let Some(written) = self.poll_refusal(buf, cx) {
            return Poll::Ready(written);
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        let count = ready!(self.written(written))?;
        self.judge_written(&[IoSlice::new(buf)], count, cx)?;
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        if let [only] = bufs
            && let Some(written) = self.poll_refusal(only, cx)
        {
            return Poll::Ready(written);
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        let count = ready!(self.written(written))?;
        self.judge_written(bufs, count, cx)?;
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_begun(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        ready!(self.flushed(flushed))?;
        let Some(bytes) = self.interim.as_ref().and_then(|interim| interim.flushed(cx)) else {
            return Poll::Ready(Ok(()));
        };
        self.begun = bytes;
        ready!(self.poll_begun(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.flushed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_begun(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{InterimSink, Protocol, RequestId};
    use crate::server::Limits;
    use crate::server::seats::Seats;
    use futures_util::task::noop_waker_ref;
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    const REQUEST: RequestId = RequestId(1);
    const HEAD: &str = "HTTP/1.1 102 Processing\r\n\r\n";

    /// A socket that takes as many bytes as it is told, and nothing where it is told nothing.
    #[derive(Default)]
    struct Socket {
        takes: Vec<usize>,
        written: Vec<u8>,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.takes.pop().unwrap_or(usize::MAX) {
                0 => Poll::Pending,
                count => {
                    let count = count.min(buf.len());
                    self.written.extend_from_slice(&buf[..count]);
                    Poll::Ready(Ok(count))
                }
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Open,
        Send,
        Close,
        /// hyper buffers a message.
        Message,
        /// hyper is polled: it writes its buffer, and flushes once that is empty.
        Poll,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Open),
            Just(Step::Send),
            Just(Step::Close),
            Just(Step::Message),
            Just(Step::Poll)
        ]
    }

    /// Writes as hyper does; whether all was flushed.
    fn poll(guard: &mut Guard<Socket>, buffer: &mut Vec<u8>) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        while !buffer.is_empty() {
            match Pin::new(&mut *guard).poll_write(&mut cx, buffer) {
                Poll::Ready(written) => drop(buffer.drain(..written.expect("no fault"))),
                Poll::Pending => return false,
            }
        }
        Pin::new(guard).poll_flush(&mut cx).is_ready()
    }

    proptest! {
        #[test]
        fn messages_stay_whole_and_in_order(
            steps in proptest::collection::vec(step(), 0..60),
            takes in proptest::collection::vec(0..40_usize, 0..120),
        ) {
            let interim = Arc::new(Interim::default());
            interim.begin(REQUEST, true);
            let pulse = Pulse::new(tokio::time::Instant::now(), Protocol::Http1, Arc::default());
            let seats = Seats::new(&Limits::default());
            let permit = seats.enter([127, 0, 0, 1].into(), false, &Arc::default());
            let permit = permit.expect("the first");
            let socket = Socket { takes, written: Vec::new() };
            let mut guard = Guard::new(socket, pulse, Some(Arc::clone(&interim)), permit);
            let (mut buffer, mut messages) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Open => interim.open(REQUEST),
                    Step::Send => interim.send(REQUEST, StatusCode::PROCESSING, &HeaderMap::new()),
                    Step::Close => {
                        interim.close(REQUEST);
                        interim.begin(REQUEST, true);
                    }
                    Step::Message => {
                        buffer.extend_from_slice(format!("<message {messages}>").as_bytes());
                        messages += 1;
                    }
                    Step::Poll => drop(poll(&mut guard, &mut buffer)),
                }
            }
            while !poll(&mut guard, &mut buffer) {}
            let written = String::from_utf8(guard.io.written).expect("text");
            let expected = (0..messages).map(|n| format!("<message {n}>")).collect::<Vec<_>>();
            // Heads that stood inside a message would break it apart.
            let pieces: Vec<_> = written.split(HEAD).collect();
            prop_assert_eq!(pieces.concat(), expected.concat());
            for piece in pieces {
                prop_assert!(piece.is_empty() || (piece.starts_with('<') && piece.ends_with('>')));
            }
        }
    }
}
