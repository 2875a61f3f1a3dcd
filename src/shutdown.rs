//! The end of a process: signals, draining, and the work that outlives its request.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The process's state of shutting down; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A copy of `draining`'s state: the token takes a lock to be asked, this is asked by every
    /// poll of every connection.
    is_draining: AtomicBool,
    draining: CancellationToken,
    killed: CancellationToken,
    background: TaskTracker,
}

impl Shutdown {
    /// A process that runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the drain: no new connections, what is under way is finished.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.draining.cancel();
        self.0.background.close();
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Completes when the drain begins.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.draining.clone().cancelled_owned()
    }

    /// Ends everything at once; implies the drain.
    pub fn kill(&self) {
        self.drain();
        self.0.killed.cancel();
    }

    /// Whether everything ends at once.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.0.killed.is_cancelled()
    }

    /// Completes when everything ends at once.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.killed.clone().cancelled_owned()
    }

    /// The tracker of tasks that outlive their request: fills, refreshes, tunnels. A drain waits
    /// for them within its grace time; [`TaskTracker::len`] counts them.
    #[must_use]
    pub fn background(&self) -> &TaskTracker {
        &self.0.background
    }
}

/// Watches the process's signals on a thread of its own: the first `SIGTERM` or `SIGINT` drains,
/// the second ends at once, each `SIGUSR1` calls `reopen`, each `SIGHUP` calls `reload`. Neither
/// may block.
///
/// # Errors
/// If a handler or the thread cannot be installed.
pub fn watch_signals(
    shutdown: &Shutdown,
    reopen: impl Fn() + Send + 'static,
    reload: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        // Handlers are installed before this returns, so that no signal meets the default action.
        let _context = runtime.enter();
        Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
        }
    };
    let shutdown = shutdown.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(signals.watch(&shutdown, reopen, reload)))?;
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
    hangup: Signal,
}

impl Signals {
    async fn watch(mut self, shutdown: &Shutdown, reopen: impl Fn(), reload: impl Fn()) {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => stop(shutdown),
                Some(()) = self.interrupt.recv() => stop(shutdown),
                Some(()) = self.user.recv() => reopen(),
                Some(()) = self.hangup.recv() => reload(),
                else => return,
            }
        }
    }
}

fn stop(shutdown: &Shutdown) {
    if shutdown.is_draining() {
        tracing::warn!("second signal: ending at once");
        shutdown.kill();
    } else {
        tracing::info!("draining: finishing what is under way; a second signal ends at once");
        shutdown.drain();
    }
}

/// Raises the limit on open files to the hard limit, and returns it: every connection is one.
///
/// # Errors
/// If the system refuses to tell or to set the limit.
pub fn raise_open_files() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn killing_implies_draining() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_draining());
        shutdown.kill();
        shutdown.draining().await;
        shutdown.killed().await;
        assert!(shutdown.is_draining() && shutdown.is_killed());
    }

    #[tokio::test]
    async fn the_first_stop_drains_and_the_second_kills() {
        let shutdown = Shutdown::new();
        stop(&shutdown);
        assert!(shutdown.is_draining() && !shutdown.is_killed());
        stop(&shutdown);
        assert!(shutdown.is_killed());
    }

    #[tokio::test]
    async fn a_drain_waits_for_background_tasks() {
        let shutdown = Shutdown::new();
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        shutdown.background().spawn(async move { wait.await.ok() });
        assert_eq!(shutdown.background().len(), 1);
        shutdown.drain();
        done.send(()).expect("the task waits");
        shutdown.background().wait().await;
        assert!(shutdown.background().is_empty());
    }
}
