//! Sends the requests of a workload, each at its time, over many connections at once.
//!
//! A worker takes the next request, waits until it is due, sends it and reads its answer. With all
//! of them busy, requests wait in line, which is what their latency then tells: an open loop
//! without a queue that could grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use seawall::shutdown::Shutdown;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::exchange::{End, Line, Manner};
use super::failure::Failure;
use super::pace::{Feed, counted_from};
use super::record::{Answer, Record};
use super::target::{Target, Version};

/// After a connection that was not made, the next try waits, each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    /// Threads.
    pub(super) threads: usize,
    /// Connections, on all threads together.
    pub(super) connections: usize,
    /// Requests at once on each connection, with HTTP/2.
    pub(super) streams: usize,
}

/// Who drives.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) target: Arc<Target>,
    pub(super) version: Version,
    pub(super) manner: Manner,
    pub(super) width: Width,
    /// Bound on a request, with its connection where it needs one.
    pub(super) timeout: Duration,
    pub(super) feed: Mutex<Feed>,
    pub(super) gauges: Arc<Gauges>,
    /// Drained: no more requests. Killed: those under way are given up.
    pub(super) stop: Shutdown,
}

/// A run's progress.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) answered: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// What bounds a phase, beside the end of the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    /// Requests.
    pub(super) requests: Option<u64>,
    /// Time in which requests begin.
    pub(super) time: Option<Duration>,
}

/// Why nothing was driven.
#[derive(Debug, thiserror::Error)]
pub(super) enum DriveError {
    /// No thread or no runtime.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// A thread ended in a panic.
    #[error("a thread of the load generator failed")]
    Thread,
}

impl Driver {
    /// Sends requests until the workload or the bound ends; what was measured, and in what time.
    ///
    /// # Errors
    /// [`DriveError`].
    pub(super) fn run(self: &Arc<Self>, bound: Bound) -> Result<(Record, Duration), DriveError> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).begin(bound.requests);
        let threads = self.width.threads.clamp(1, self.width.connections.max(1));
        let start = Arc::new(Start {
            ready: Barrier::new(self.width.connections * self.streams()),
            at: OnceLock::new(),
        });
        let mut running = Vec::with_capacity(threads);
        for number in 0..threads {
            // As even as it gets.
            let connections = self.width.connections / threads
                + usize::from(number < self.width.connections % threads);
            let (driver, start) = (Arc::clone(self), Arc::clone(&start));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = thread::Builder::new().name(format!("bench-{number}"));
            running.push(thread.spawn(move || {
                let record = Arc::new(Mutex::new(Record::default()));
                runtime.block_on(driver.run_some(connections, bound.time, &start, &record));
                // All other holders of it ended with the runtime's tasks.
                std::mem::take(&mut *record.lock().unwrap_or_else(PoisonError::into_inner))
            })?);
        }
        let mut sum = Record::default();
        for thread in running {
            sum.add(&thread.join().map_err(|_| DriveError::Thread)?);
        }
        let took = start.at.get().map(Instant::elapsed).unwrap_or_default();
        Ok((sum, took))
    }

    fn streams(&self) -> usize {
        match self.version {
            Version::Http1 => 1,
            Version::Http2 => self.width.streams,
        }
    }

    /// The part of one thread.
    async fn run_some(
        self: &Arc<Self>,
        connections: usize,
        time: Option<Duration>,
        start: &Arc<Start>,
        record: &Arc<Mutex<Record>>,
    ) {
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            let line = match self.version {
                Version::Http1 => Line::Own,
                Version::Http2 => Line::Shared(Arc::default()),
            };
            for _ in 0..self.streams() {
                let worker = Worker {
                    driver: Arc::clone(self),
                    end: End::new(line.clone(), Arc::clone(&self.target)),
                    record: Arc::clone(record),
                };
                workers.spawn(worker.run(Arc::clone(start), time));
            }
        }
        tokio::select! {
            () = async { while workers.join_next().await.is_some() {} } => {}
            () = self.stop.killed() => workers.shutdown().await,
        }
    }
}

/// The start of a phase: for all at once, when their connections are made.
#[derive(Debug)]
struct Start {
    ready: Barrier,
    at: OnceLock<Instant>,
}

/// Who sends one request at a time.
struct Worker {
    driver: Arc<Driver>,
    end: End,
    record: Arc<Mutex<Record>>,
}

impl Worker {
    async fn run(mut self, start: Arc<Start>, time: Option<Duration>) {
        // A connection that can't be made is told by the request that needs it.
        let _ = timeout(self.driver.timeout, self.end.connect()).await;
        start.ready.wait().await;
        let start = *start.at.get_or_init(Instant::now);
        let mut pause = FIRST_PAUSE;
        while !self.driver.stop.is_draining() && time.is_none_or(|time| start.elapsed() < time) {
            let next = self.driver.feed.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((ask, due)) = next else { return };
            if time.zip(due).is_some_and(|(time, due)| due >= time) {
                return;
            }
            let Some(from) = self.wait(start, due).await else { return };
            let exchanged = self.end.exchange(&ask, &self.driver.manner);
            let exchanged = timeout(self.driver.timeout, exchanged).await;
            let exchanged = exchanged.unwrap_or(Err(Failure::Timeout));
            self.count(exchanged, start, from);
            pause = match exchanged {
                Err(Failure::Refused | Failure::Unreachable | Failure::NoDescriptors) => {
                    sleep(pause).await;
                    (pause * 2).min(LONGEST_PAUSE)
                }
                _ => FIRST_PAUSE,
            };
        }
    }

    /// Waits until a request is due; from when its latency counts, as a time since `start`. `None`
    /// where there is to be no more.
    async fn wait(&self, start: Instant, due: Option<Duration>) -> Option<Duration> {
        let Some(due) = due else { return Some(start.elapsed()) };
        let slept = start.elapsed() < due;
        if slept {
            // A time beyond all clocks: only a signal ends the wait.
            let rings = start.checked_add(due);
            tokio::select! {
                () = async {
                    match rings {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
                () = self.driver.stop.draining() => return None,
            }
        }
        let sent = start.elapsed();
        let lag = sent.saturating_sub(due);
        self.record.lock().unwrap_or_else(PoisonError::into_inner).lag.record(lag);
        Some(counted_from(due, slept, sent))
    }

    fn count(&self, exchanged: Result<Answer, Failure>, start: Instant, from: Duration) {
        let at = start.elapsed();
        let gauges = &self.driver.gauges;
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        match exchanged {
            Ok(answer) => {
                record.answered(answer, at.saturating_sub(from), at);
                gauges.answered.fetch_add(1, Ordering::Relaxed);
                gauges.hits.fetch_add(answer.verdict.is_hit().into(), Ordering::Relaxed);
                gauges.bytes.fetch_add(answer.bytes, Ordering::Relaxed);
            }
            Err(failure) => {
                record.failed(failure, at);
                gauges.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
