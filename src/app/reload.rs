//! Reading the configuration again: on a signal, on request, or because the file has changed.
//!
//! One thread does it, so that a signal or a client never waits for a file, and two never at once.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use tokio::sync::oneshot;

use super::StartError;
use super::changes;
use super::explain;
use super::node::Node;
use crate::admin::{
    ConfigState, Configured, Explaining, NotReloaded, Question, ReloadFault, Reloaded,
};
use crate::config::{self, Faults, Settings, Sources};

/// Reloads that may wait for their turn.
const MOST_WAITING: usize = 16;

type Outcome = Result<Reloaded, NotReloaded>;
type Adjust = Box<dyn Fn(&mut Settings) + Send>;
type Announce = Box<dyn Fn(&Settings) + Send>;

/// Where settings are read from, again and again. Flags and variables stay what they were.
pub struct Source {
    sources: Sources,
    adjust: Adjust,
    announce: Announce,
    /// What the file was when it was last read, or before.
    seen: Fingerprint,
}

impl Source {
    /// `before` was taken before the settings were read for the first time, so that no change is
    /// missed.
    ///
    /// `adjust` makes settings fit the process before they are used. `announce` is told what has
    /// come into force, for whatever of the process the node does not own.
    #[must_use]
    pub fn new(
        sources: Sources,
        before: Fingerprint,
        adjust: impl Fn(&mut Settings) + Send + 'static,
        announce: impl Fn(&Settings) + Send + 'static,
    ) -> Self {
        let (adjust, announce) = (Box::new(adjust), Box::new(announce));
        Self { sources, adjust, announce, seen: before }
    }

    /// Reads the settings, and has them prove themselves.
    ///
    /// # Errors
    /// All that speaks against them.
    fn read(&mut self) -> Result<Settings, Refused> {
        self.seen = Fingerprint::of(&self.sources);
        let mut settings = config::load(&self.sources)?;
        let report = settings.run_tests();
        if !report.is_good() {
            let file = self.sources.file.as_deref().unwrap_or(Path::new(""));
            return Err(Refused::Tests(report.render(&file.display().to_string())));
        }
        (self.adjust)(&mut settings);
        Ok(settings)
    }

    /// Whether the file is another than the one that was read, and the same as at the last look:
    /// one that is still being written is let alone.
    fn has_changed(&self, last: &mut Fingerprint) -> bool {
        let now = Fingerprint::of(&self.sources);
        let rests = now == std::mem::replace(last, now);
        // A file that is gone is about to be replaced.
        rests && now.0.is_some() && now != self.seen
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.sources.file).finish_non_exhaustive()
    }
}

/// Which file it is, and when it was written. Editors and orchestrators put another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(Option<[i128; 5]>);

impl Fingerprint {
    /// Of the configuration file, as it is now.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let found = sources.file.as_deref().and_then(|file| file.metadata().ok());
        Self(found.map(|found| {
            [
                found.dev().into(),
                found.ino().into(),
                found.size().into(),
                nanos(found.mtime(), found.mtime_nsec()),
                nanos(found.ctime(), found.ctime_nsec()),
            ]
        }))
    }
}

/// Why new settings were not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("this node was started without a source to read its settings from again")]
    NoSource,
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error("its tests fail:\n{0}")]
    Tests(String),
    #[error(transparent)]
    Unusable(#[from] StartError),
    #[error("reading it failed badly: this is a defect of Seawall")]
    Panicked,
}

impl Refused {
    fn told(&self) -> NotReloaded {
        let faults = match self {
            Self::Faults(faults) => {
                faults.list().iter().map(|fault| shown(faults, fault)).collect()
            }
            Self::NoSource | Self::Tests(_) | Self::Unusable(_) | Self::Panicked => {
                vec![ReloadFault { what: self.to_string(), ..ReloadFault::default() }]
            }
        };
        NotReloaded { faults, report: self.to_string() }
    }
}

fn shown(faults: &Faults, fault: &config::Fault) -> ReloadFault {
    let (line, column) = faults.position(fault).unzip();
    let help = fault.advice().map(str::to_owned);
    ReloadFault { line, column, what: fault.title().to_owned(), help }
}

/// Has a node read its configuration again. Clones share it.
#[derive(Clone, Debug)]
pub struct Reloader {
    orders: SyncSender<Order>,
    node: Arc<Node>,
}

#[derive(Debug)]
enum Order {
    Reload(Option<oneshot::Sender<Outcome>>),
}

impl Reloader {
    /// Starts the thread. It ends when the last of these is gone.
    pub(super) fn start(node: &Arc<Node>, source: Option<Source>) -> io::Result<Self> {
        let (orders, incoming) = mpsc::sync_channel(MOST_WAITING);
        let thread = Thread { node: Arc::clone(node), source };
        std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || thread.run(&incoming))?;
        Ok(Self { orders, node: Arc::clone(node) })
    }

    /// Has the configuration read again, soon; what comes of it is logged. Never waits.
    pub fn trigger(&self) {
        // Where so many wait, one of them is yet to come.
        let _ = self.orders.try_send(Order::Reload(None));
    }

    /// Has the access log's file opened again, after it was moved away. Never waits.
    pub fn reopen_log(&self) {
        self.node.reopen_log();
    }
}

impl Configured for Reloader {
    fn reload(&self) -> Option<oneshot::Receiver<Outcome>> {
        let (told, outcome) = oneshot::channel();
        self.orders.try_send(Order::Reload(Some(told))).ok()?;
        Some(outcome)
    }

    fn state(&self) -> ConfigState {
        self.node.lock().config.clone()
    }

    fn explain(&self, question: Question) -> Explaining {
        let node = Arc::clone(&self.node);
        Box::pin(async move { explain::explain(&node, question).await })
    }
}

struct Thread {
    node: Arc<Node>,
    source: Option<Source>,
}

impl Thread {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut last = self.source.as_ref().map_or(Fingerprint(None), |source| source.seen);
        loop {
            let order = match self.watches() {
                Some(interval) => orders.recv_timeout(interval),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Reload(told)) => {
                    let outcome = self.reload();
                    if let Some(told) = told {
                        // Who asked may have gone.
                        let _ = told.send(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.source.as_ref().is_some_and(|source| source.has_changed(&mut last)) {
                        let _ = self.reload();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How often the file is looked at.
    fn watches(&self) -> Option<Duration> {
        self.source.as_ref().and_then(|source| source.sources.file.as_ref())?;
        self.node.lock().current.settings.watch
    }

    fn reload(&mut self) -> Outcome {
        // A defect must cost a reload, not all that come after it. Nothing is half changed: what a
        // reload makes is put into force in one step.
        let taken = panic::catch_unwind(AssertUnwindSafe(|| self.take()));
        match taken.unwrap_or(Err(Refused::Panicked)) {
            Ok(reloaded) => {
                let Reloaded { generation, changed, needs_restart } = &reloaded;
                let changed = changed.join(", ");
                tracing::info!(generation, changed, "configuration reloaded");
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    tracing::warn!(keys, "not reloaded: these need a restart");
                }
                Ok(reloaded)
            }
            Err(refused) => {
                self.node.refuse();
                tracing::error!(
                    "configuration not reloaded, the old one stays in force\n{refused}"
                );
                Err(refused.told())
            }
        }
    }

    /// All or nothing.
    fn take(&mut self) -> Result<Reloaded, Refused> {
        let source = self.source.as_mut().ok_or(Refused::NoSource)?;
        let mut settings = source.read()?;
        let before = self.node.lock().current.settings.clone();
        let needs_restart = changes::hold_back(&mut settings, &before);
        let changed = changes::changed(&before, &settings);
        let next = self.node.prepare(settings)?;
        (source.announce)(&next.current.settings);
        let generation = self.node.take(next, needs_restart.clone());
        Ok(Reloaded { generation, changed, needs_restart })
    }
}
