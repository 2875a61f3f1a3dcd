//! Worker threads: one runtime each, from the first connection to the end of the drain.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime as Tokio};
use tokio_util::task::TaskTracker;

use super::Handler;
use super::accept::Accepting;
use super::bind::{Endpoint, Manner};
use super::connection::Worker;
use super::{Bound, Config, Runtime, tls};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// How long threads of a runtime that still read a file may hold up its end.
const LAST_CALL: Duration = Duration::from_millis(200);

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker's thread or runtime could not be started.
    #[error("cannot start a worker: {0}")]
    Start(#[source] io::Error),
    /// A worker panicked outside a connection.
    #[error("a worker panicked")]
    Panicked,
}

/// Serves until `shutdown`: blocks the calling thread.
///
/// `make` is called once per worker, on its thread and inside its runtime, with the worker's
/// index. A service's error closes the connection (HTTP/1) or resets the stream (HTTP/2) without
/// an answer. When the drain begins, connections that the system has queued are still accepted;
/// then requests under way and [`Shutdown::background`] tasks have `config.grace` to finish.
///
/// # Errors
/// If a worker cannot start, or panics; the others are ended then.
pub fn run<M, S>(
    config: &Config,
    bound: Bound,
    make: M,
    shutdown: &Shutdown,
    metrics: &Arc<Metrics>,
) -> Result<(), RunError>
where
    M: Fn(usize) -> S + Send + Sync + 'static,
    S: Handler,
{
    let control = bound.control().clone();
    let count = bound.workers.len();
    let make = Arc::new(make);
    // One worker watches the certificates of all.
    let mut followed = control.manners().to_vec();
    let mut threads = Vec::with_capacity(count);
    for (index, endpoints) in bound.workers.into_iter().enumerate() {
        let start = Start {
            index,
            endpoints,
            followed: std::mem::take(&mut followed),
            grace: config.grace,
            worker: Worker::new(index, count, metrics.core(index), shutdown, &control),
        };
        let (make, kind, size) = (Arc::clone(&make), config.runtime, config.threads);
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _alarm = Alarm(start.worker.shutdown.clone());
            let runtime = runtime(kind, size)?;
            runtime.block_on(start.serve(|index| make(index)));
            runtime.shutdown_timeout(LAST_CALL);
            Ok(())
        });
        if thread.is_err() {
            shutdown.kill();
        }
        threads.push(thread);
    }
    // All are waited for, whatever the first says.
    let ended: Vec<_> = threads.into_iter().map(ended).collect();
    ended.into_iter().collect()
}

/// Waits for a worker's thread.
fn ended(thread: io::Result<JoinHandle<io::Result<()>>>) -> Result<(), RunError> {
    match thread.map(JoinHandle::join) {
        Ok(Ok(ended)) => ended.map_err(RunError::Start),
        Ok(Err(_)) => Err(RunError::Panicked),
        Err(error) => Err(RunError::Start(error)),
    }
}

/// Turns of tasks after which a worker looks at its sockets again, whatever is left to do. With tokio's
/// own 61 that can be some milliseconds where each moves a piece of a large body, and whoever asks for
/// something small meanwhile waits for them.
const MOST_TURNS: u32 = 16;

fn runtime(kind: Runtime, threads: usize) -> io::Result<Tokio> {
    match kind {
        Runtime::PerCore => Builder::new_current_thread(),
        Runtime::MultiThread => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads.max(1));
            builder
        }
    }
    .event_interval(MOST_TURNS)
    .enable_all()
    .build()
}

/// Ends the other workers if this one ends before it should: it panicked, or never started.
struct Alarm(Shutdown);

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.0.is_draining() {
            self.0.kill();
        }
    }
}

/// What a worker's thread starts with.
struct Start {
    index: usize,
    endpoints: Vec<Endpoint>,
    followed: Vec<Arc<ArcSwap<Manner>>>,
    grace: Duration,
    worker: Worker,
}

impl Start {
    async fn serve<S>(self, make: impl Fn(usize) -> S)
    where
        S: Handler,
    {
        let stack = make(self.index);
        let worker = Arc::new(self.worker);
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        for Endpoint { socket, manner } in self.endpoints {
            let accept = Accepting {
                manner,
                stack: stack.clone(),
                worker: Arc::clone(&worker),
                connections: connections.clone(),
            };
            accepting.spawn(accept.run(socket));
        }
        // The stack's own clone goes, so that what it holds ends with the last connection.
        drop(stack);
        accepting.close();
        for manner in self.followed {
            drop(tokio::spawn(tls::follow(manner)));
        }
        let shutdown = &worker.shutdown;
        let finished = async {
            shutdown.draining().await;
            accepting.wait().await;
            connections.close();
            let rest = async {
                connections.wait().await;
                shutdown.background().wait().await;
            };
            if tokio::time::timeout(self.grace, rest).await.is_err() {
                // Background work is everybody's: one worker tells of it.
                let background = if self.index == 0 { shutdown.background().len() } else { 0 };
                let connections = connections.len();
                if connections + background > 0 {
                    tracing::warn!(
                        connections,
                        background,
                        "the grace time is over: cutting what is left"
                    );
                }
            }
        };
        tokio::select! {
            () = finished => {}
            () = shutdown.killed() => {}
        }
    }
}
