//! The thread that does what nobody asks for: it refreshes what purges have made stale and is in use,
//! and has what the fleet asks for most before anybody asks here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::node::Node;
use crate::cache::{self, Errand, Ran};
use crate::server::RunError;
use crate::shutdown::Shutdown;
use crate::store::{Hot, Scope, Sought};

/// Responses that one purge has refreshed at most; the rest is refreshed when it is asked for.
const MOST_REFRESHED: usize = 50_000;

/// What the fleet asks for most is had so many at once.
const PRELOADED_AT_ONCE: usize = 8;

/// For how long a node that starts waits for Redis to tell what has been purged; who comes later than
/// that has been asked for most of it meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
const HESITATION: Duration = Duration::from_millis(50);

/// What became of errands.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; Ran::ALL.len()]);

impl Counters {
    fn ran(&self, ran: Ran) {
        self.0[ran as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it came to this.
    pub(super) fn count(&self, ran: Ran) -> u64 {
        self.0[ran as usize].load(Ordering::Relaxed)
    }
}

/// What the thread needs.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    pub(super) node: Arc<Node>,
    pub(super) cache: Arc<cache::Shared>,
    pub(super) counters: Arc<Both>,
    pub(super) shutdown: Shutdown,
    /// Drains when the last client is gone.
    pub(super) ended: Shutdown,
}

/// What became of errands of each kind.
#[derive(Debug, Default)]
pub(super) struct Both {
    pub(super) refreshes: Counters,
    pub(super) preloads: Counters,
}

impl Runner {
    /// Runs errands until the node drains, and finishes those that it has begun: clients may read
    /// what they fetch.
    ///
    /// # Errors
    /// The system gives no runtime.
    pub(super) fn run(self) -> Result<(), RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(RunError::Start)?.block_on(async {
            tokio::select! {
                _ = async { tokio::join!(self.preload(), self.refreshes()) } => {}
                () = self.ended.draining() => {}
            }
        });
        Ok(())
    }

    /// Has what the fleet asks for most, once it is known what has been purged.
    async fn preload(&self) {
        let Some(tier) = self.cache.tier().filter(|tier| tier.preload() > 0) else { return };
        let heard = async {
            for _ in 0..PATIENCE.as_millis() / HESITATION.as_millis() {
                if tier.fleet().deaf().is_none() {
                    return tier.top().await.ok();
                }
                sleep(HESITATION).await;
            }
            None
        };
        let top = tokio::select! {
            top = heard => top,
            () = self.shutdown.draining() => return,
        };
        let budget = self.cache.memory().budget();
        // Half of memory is for what this node is asked for.
        let fits = |_: &Sought| budget.used() < budget.limit() / 2;
        let top = top.unwrap_or_default().into_iter().take_while(fits).map(Some);
        self.each(top, Errand::Preload, PRELOADED_AT_ONCE, |both| &both.preloads).await;
    }

    async fn refreshes(&self) {
        let refreshes = Arc::clone(self.cache.memory().refreshes());
        loop {
            let scopes = tokio::select! {
                scopes = refreshes.next() => scopes,
                () = self.shutdown.draining() => return,
            };
            self.refresh(scopes).await;
        }
    }

    /// Refreshes what is in use of what these purges have made stale, the most asked for first.
    async fn refresh(&self, scopes: Vec<Scope>) {
        let cache = Arc::clone(&self.cache);
        let look = move || cache.memory().softly_purged(&scopes, MOST_REFRESHED);
        // Everything is looked at, on a thread that nobody waits for.
        let Ok(hot) = spawn_blocking(look).await else { return };
        let at_once = self.node.lock().current.settings.proxy.purge.refresh_concurrency;
        // What can be asked for is told before the bodies are let go.
        let sought: Vec<_> = hot.iter().map(Hot::sought).collect();
        drop(hot);
        self.each(sought, Errand::Refresh, at_once, |both| &both.refreshes).await;
    }

    /// Runs an errand for each, so many at once, until the node drains.
    async fn each(
        &self,
        all: impl IntoIterator<Item = Option<Sought>>,
        errand: Errand,
        at_once: usize,
        counters: fn(&Both) -> &Counters,
    ) {
        let mut running = JoinSet::new();
        for sought in all {
            if self.shutdown.is_draining() {
                break;
            }
            let Some(sought) = sought else {
                counters(&self.counters).ran(Ran::Nothing);
                continue;
            };
            if running.len() >= at_once {
                running.join_next().await;
            }
            let (errands, both) = (self.node.in_force().errands(), Arc::clone(&self.counters));
            running.spawn(async move {
                let ran = errands.run(&sought, errand).await.unwrap_or(Ran::Nothing);
                counters(&both).ran(ran);
            });
        }
        while running.join_next().await.is_some() {}
    }
}
