//! Being told that another node's fetch has ended: one subscription for the whole node.
//!
//! A message is a hint: who gets one looks again, and who gets none looks again before long. So
//! nothing depends on this connection but how soon that is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::redis::{Connector, Fault, Subscription};

/// How long Redis may take to confirm subscriptions.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the subscription is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked whether the subscription is where messages are published.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// Channels in one command.
const AT_ONCE: usize = 256;

/// Who waits for which message.
#[derive(Debug, Default)]
pub(in crate::store::remote) struct Hints {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    channels: HashMap<Arc<str>, Channel, RandomState>,
    /// Channels that somebody has begun to wait for, or nobody waits for any more.
    changed: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
struct Channel {
    waiters: usize,
    heard: watch::Sender<Heard>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    joined: bool,
    messages: u64,
}

/// A place among those who wait for one channel's messages.
#[derive(Debug)]
pub(super) struct Waiter {
    hints: Arc<Hints>,
    name: Arc<str>,
    heard: watch::Receiver<Heard>,
    /// Messages that are known of.
    known: u64,
}

impl Hints {
    /// Waits for messages on a channel from now on, or as soon as it is subscribed to.
    pub(super) fn wait_for(self: &Arc<Self>, name: &Arc<str>) -> Waiter {
        let mut waiting = self.lock();
        let channel = waiting.channels.entry(Arc::clone(name)).or_default();
        channel.waiters += 1;
        let (heard, first) = (channel.heard.subscribe(), channel.waiters == 1);
        if first {
            waiting.changed.push(Arc::clone(name));
        }
        drop(waiting);
        if first {
            self.changed.notify_one();
        }
        let known = heard.borrow().messages;
        Waiter { hints: Arc::clone(self), name: Arc::clone(name), heard, known }
    }

    /// Channels that somebody waits for.
    pub(in crate::store::remote) fn len(&self) -> usize {
        self.lock().channels.len()
    }

    /// Listens for as long as its thread runs; connects when there is somebody to listen for.
    pub(in crate::store::remote) async fn listen(self: Arc<Self>, connector: Connector) {
        let mut told = None;
        loop {
            while self.lock().channels.is_empty() {
                self.changed.notified().await;
            }
            let ended = match connector.subscribe().await {
                Ok(subscription) => self.follow(&connector, subscription).await,
                Err(fault) => fault,
            };
            self.parted();
            if told != Some(ended) {
                told = Some(ended);
                tracing::warn!(why = ended.word(), "no messages from other nodes: they are polled");
            }
            sleep(PAUSE).await;
        }
    }

    /// Passes on messages until the subscription fails.
    async fn follow(&self, connector: &Connector, mut subscription: Subscription) -> Fault {
        let mut joined = HashSet::with_hasher(RandomState::default());
        self.everything_changed();
        while connector.asks(subscription.at()) {
            let (join, leave) = self.changes(&joined);
            for some in join.chunks(AT_ONCE) {
                let names: Vec<&str> = some.iter().map(|name| &**name).collect();
                if let Err(fault) = soon(subscription.join(&names)).await {
                    return fault;
                }
                self.confirm(some);
                joined.extend(some.iter().cloned());
            }
            for some in leave.chunks(AT_ONCE) {
                let names: Vec<&str> = some.iter().map(|name| &**name).collect();
                if let Err(fault) = soon(subscription.leave(&names)).await {
                    return fault;
                }
                joined.retain(|name| !some.contains(name));
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep(LOOKED_EVERY) => {}
                message = subscription.next() => match message {
                    Some(channel) => self.tell(&channel),
                    None => break,
                },
            }
        }
        Fault::Lost
    }

    /// What is to be subscribed to, and what no longer.
    fn changes(&self, joined: &HashSet<Arc<str>, RandomState>) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let mut waiting = self.lock();
        let mut changed = std::mem::take(&mut waiting.changed);
        changed.sort_unstable();
        changed.dedup();
        changed.retain(|name| waiting.channels.contains_key(name) != joined.contains(name));
        changed.into_iter().partition(|name| waiting.channels.contains_key(name))
    }

    fn everything_changed(&self) {
        let mut waiting = self.lock();
        waiting.changed = waiting.channels.keys().cloned().collect();
    }

    fn confirm(&self, names: &[Arc<str>]) {
        let waiting = self.lock();
        for channel in names.iter().filter_map(|name| waiting.channels.get(name)) {
            channel.heard.send_modify(|heard| heard.joined = true);
        }
    }

    fn tell(&self, name: &str) {
        if let Some(channel) = self.lock().channels.get(name) {
            channel.heard.send_modify(|heard| heard.messages += 1);
        }
    }

    /// What was subscribed to is not any more, and what was told meanwhile is not known: whoever
    /// waits had better look.
    fn parted(&self) {
        let mut waiting = self.lock();
        waiting.changed.clear();
        for channel in waiting.channels.values() {
            channel.heard.send_modify(|heard| {
                if std::mem::take(&mut heard.joined) {
                    heard.messages += 1;
                }
            });
        }
    }

    /// A poisoned table is still one: nothing that can panic runs while it is locked.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn soon(done: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    timeout(PATIENCE, done).await.unwrap_or(Err(Fault::Timeout))
}

impl Waiter {
    /// Waits until Redis has confirmed the subscription. Unbounded: the caller sets the bound.
    pub(super) async fn joined(&mut self) {
        // It can't end: the channel lives for as long as somebody waits.
        let _ = self.heard.wait_for(|heard| heard.joined).await;
    }

    /// Whoever looks from here on has seen what messages so far were about.
    pub(super) fn looks(&mut self) {
        self.known = self.heard.borrow().messages;
    }

    /// Waits for a message that came after the latest look. Unbounded, too.
    pub(super) async fn message(&mut self) {
        let known = self.known;
        let _ = self.heard.wait_for(|heard| heard.messages != known).await;
    }

    pub(super) fn is_for(&self, name: &str) -> bool {
        *self.name == *name
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.hints.lock();
        let Some(channel) = waiting.channels.get_mut(&self.name) else { return };
        channel.waiters -= 1;
        if channel.waiters == 0 {
            waiting.channels.remove(&self.name);
            waiting.changed.push(Arc::clone(&self.name));
            drop(waiting);
            self.hints.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn names(names: &[Arc<str>]) -> Vec<&str> {
        names.iter().map(|name| &**name).collect()
    }

    #[tokio::test]
    async fn what_came_before_the_latest_look_is_not_waited_for() {
        let hints = Arc::new(Hints::default());
        let mut waiter = hints.wait_for(&"a".into());
        hints.tell("a");
        hints.tell("b");
        waiter.looks();
        assert!(waiter.message().now_or_never().is_none());
        hints.tell("b");
        assert!(waiter.message().now_or_never().is_none());
        hints.tell("a");
        within(waiter.message()).await;
    }

    #[tokio::test]
    async fn channels_are_joined_for_the_first_and_left_with_the_last() {
        let hints = Arc::new(Hints::default());
        let mut joined = HashSet::with_hasher(RandomState::default());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (mut one, two, gone) = (hints.wait_for(&a), hints.wait_for(&a), hints.wait_for(&b));
        drop(gone);
        let (join, leave) = hints.changes(&joined);
        assert_eq!((names(&join), names(&leave)), (vec!["a"], vec![]));
        hints.confirm(&join);
        joined.extend(join);
        within(one.joined()).await;
        drop(one);
        assert_eq!(hints.len(), 1);
        drop(two);
        let (join, leave) = hints.changes(&joined);
        assert_eq!((names(&join), names(&leave)), (vec![], vec!["a"]));
        assert_eq!(hints.len(), 0);
    }

    #[tokio::test]
    async fn a_new_connection_joins_what_is_waited_for() {
        let hints = Arc::new(Hints::default());
        let mut waiter = hints.wait_for(&"a".into());
        let none = HashSet::with_hasher(RandomState::default());
        let (join, _) = hints.changes(&none);
        hints.confirm(&join);
        hints.parted();
        assert!(waiter.joined().now_or_never().is_none());
        within(waiter.message()).await;
        hints.everything_changed();
        let (join, _) = hints.changes(&none);
        assert_eq!(names(&join), ["a"]);
    }

    async fn within(done: impl Future<Output = ()>) {
        timeout(PATIENCE, done).await.expect("it is there");
    }
}
