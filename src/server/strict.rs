//! Keeps from hyper what [`framing`](super::framing) finds wrong in a client's bytes, in a way that
//! makes hyper itself refuse the request: in its turn, after the answers to those before it.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::framing::{Finding, Reader};
use super::pulse::Pulse;

/// What stands in place of the rest of a head that is refused: a byte that may stand nowhere in
/// one (RFC 9110 §5.5, RFC 9112 §3), which makes hyper answer 400 and close, and the empty line
/// that hyper may wait for before it looks.
const REFUSED: &[u8] = b"\0\n\n";

/// The reader of one connection, between its socket and hyper.
#[derive(Debug)]
pub(super) struct Strict {
    pulse: Arc<Pulse>,
    state: State,
    /// What hyper gets before the socket's next byte: what came after a request that asks for
    /// another protocol, until its answer is known, or what makes hyper refuse a head.
    held: BytesMut,
}

#[derive(Debug)]
enum State {
    Reading(Reader),
    /// The content is faulty; hyper is to be told at its next read.
    Faulty,
    /// Nothing is read any more: hyper was told of a fault, or the connection has left HTTP.
    Over,
}

impl Strict {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        Self { pulse, state: State::Reading(Reader::default()), held: BytesMut::new() }
    }

    /// What stands before the socket's next byte: `None` if nothing does.
    pub(super) fn before_read(&mut self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        if matches!(self.state, State::Faulty) {
            self.state = State::Over;
            return Some(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.held.is_empty() {
            return None;
        }
        // hyper reads on only when it has answered, so what the bytes are is known now.
        let start = buf.filled().len();
        self.put_held(buf);
        Some(self.after_read(buf, start))
    }

    fn put_held(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.advance(count);
    }

    /// Looks at what was read into `buf` from `start` on, and takes back what hyper may not see.
    pub(super) fn after_read(&mut self, buf: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        if self.pulse.has_switched() {
            self.state = State::Over;
        }
        let State::Reading(reader) = &mut self.state else { return Ok(()) };
        match reader.read(&buf.filled()[start..]) {
            Finding::Sound => {}
            Finding::Upgrade(end) => {
                let rest = self.held.split();
                self.held.extend_from_slice(&buf.filled()[start + end..]);
                self.held.unsplit(rest);
                buf.set_filled(start + end);
            }
            Finding::BadHead(at) => {
                buf.set_filled(start + at);
                self.held = BytesMut::from(REFUSED);
                self.put_held(buf);
                self.state = State::Over;
            }
            Finding::BadContent(0) => {
                buf.set_filled(start);
                self.state = State::Over;
                return Err(io::ErrorKind::InvalidData.into());
            }
            Finding::BadContent(at) => {
                buf.set_filled(start + at);
                self.state = State::Faulty;
            }
        }
        Ok(())
    }
}
