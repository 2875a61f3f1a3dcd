//! The accept loop of one socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::Handler;
use super::bind::Manner;
use super::connection::{self, Worker};
use super::seats::Permit;

/// How long to leave the queue alone when the process is out of file descriptors or memory:
/// trying at once would only spin.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accept failures are logged this often at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The accept loop of one socket.
pub(super) struct Accepting<S> {
    pub(super) manner: Arc<ArcSwap<Manner>>,
    pub(super) stack: S,
    pub(super) worker: Arc<Worker>,
    pub(super) connections: TaskTracker,
}

impl<S> Accepting<S>
where
    S: Handler,
{
    /// Accepts until the drain begins and the socket's queue is empty, then closes it.
    pub(super) async fn run(mut self, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listening socket cannot be used");
                return self.worker.shutdown.kill();
            }
        };
        let mut log = LogLimit::default();
        let draining = self.worker.shutdown.draining();
        tokio::pin!(draining);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut draining => break,
            };
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer),
                Err(error) if is_peers_matter(&error) => {}
                Err(error) => {
                    if someone_waits(&listener) {
                        self.worker.metrics.accept_failed();
                        log.warn(&error);
                        // Most likely for want of descriptors.
                        self.worker.control.seats().spare_some(&self.worker.metrics);
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        self.empty_queue(listener);
    }

    /// Accepts what the system has queued on a socket that is about to close: those clients are
    /// connected already, and closing would reset them.
    fn empty_queue(&mut self, listener: TcpListener) {
        // The runtime knows only of readiness that it was told of; the plain socket knows all.
        let Ok(listener) = listener.into_std() else { return };
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let stream =
                        stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    if let Ok(stream) = stream {
                        self.start(stream, peer);
                    }
                }
                Err(error) if is_peers_matter(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Serves a connection in a task of its own, or closes it if there are too many.
    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        let (ip, manner) = (address.ip(), self.manner.load_full());
        if let Some(permit) = self.worker.enter(ip, &manner) {
            let seat = permit.seat();
            let peer = Peer { stream, address, permit };
            let worker = Arc::clone(&self.worker);
            let served = connection::serve(peer, manner, self.stack.clone(), worker);
            seat.served_by(self.connections.spawn(served).abort_handle());
        }
    }
}

/// A connection as accepted.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) permit: Permit,
}

/// Whether an accept failed because of that one connection: the next one may be well.
fn is_peers_matter(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Whether a connection is in the queue. Without descriptors Linux fails an accept before it looks
/// there, and an accept comes after every other to see whether there is more: no connection is to
/// make room for nobody.
fn someone_waits(listener: &TcpListener) -> bool {
    let mut listener = [PollFd::new(listener, PollFlags::IN)];
    // If it can't be told, somebody may.
    poll(&mut listener, Some(&Timespec::default())) != Ok(0)
}

/// Logs the first failure and then one every [`LOG_EVERY`].
#[derive(Debug, Default)]
struct LogLimit {
    last: Option<Instant>,
    silent: u64,
}

impl LogLimit {
    fn warn(&mut self, error: &io::Error) {
        if self.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            self.silent += 1;
            return;
        }
        tracing::warn!(%error, unlogged = self.silent, "cannot accept connections");
        *self = Self { last: Some(Instant::now()), silent: 0 };
    }
}
