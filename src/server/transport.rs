//! A client's byte stream: the socket, bytes already read from it, and TLS over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::pieces;

/// A stream some of whose first bytes were read before its user got it.
#[derive(Debug)]
pub(super) struct Prefixed<T> {
    prefix: BytesMut,
    inner: T,
}

impl<T: AsyncRead + Unpin> Prefixed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { prefix: BytesMut::new(), inner }
    }

    /// Reads more bytes, and returns all that were read ahead; `false` at the stream's end.
    pub(super) async fn look_ahead(&mut self) -> io::Result<bool> {
        Ok(self.inner.read_buf(&mut self.prefix).await? > 0)
    }

    /// What was read ahead.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.prefix
    }

    /// Drops `count` bytes of what was read ahead.
    pub(super) fn consume(&mut self, count: usize) {
        self.prefix.advance(count.min(self.prefix.len()));
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pieces::poll_write(Pin::new(&mut self.inner), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A client's byte stream. One type for both, so that hyper and the stack are compiled once.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Prefixed<TcpStream>),
    Tls(Box<TlsStream<Prefixed<TcpStream>>>),
}

macro_rules! either {
    ($self:expr, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain(io) => {
                let $io = Pin::new(io);
                $call
            }
            Transport::Tls(io) => {
                let $io = Pin::new(io);
                $call
            }
        }
    };
}

impl Transport {
    /// Fails if the client has reset the connection. hyper does not read while it answers
    /// (`half_close`), so a client that is gone would be noticed only at the next write, which
    /// may never come; being told of what can be read tells of a reset too.
    fn notice_reset(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let socket = self.socket();
        match socket.poll_read_ready(cx) {
            Poll::Ready(_) => socket.take_error()?.map_or(Ok(()), Err),
            Poll::Pending => Ok(()),
        }
    }

    /// Closing it will reset the connection, and what was not sent yet is lost.
    pub(super) fn reset_on_close(&self) {
        // Fails only for a socket that has come to its end already.
        let _ = self.socket().set_zero_linger();
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(io) => &io.inner,
            Self::Tls(io) => &io.get_ref().0.inner,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(either!(self.as_mut(), io => io.poll_flush(cx)))?;
        Poll::Ready(self.notice_reset(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }
}
