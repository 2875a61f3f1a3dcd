//! How requests come to the shadow caches: through a queue, so that nobody waits for them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::{Asked, Config, Curve, Reference, Shadows};
use crate::clock::Timestamp;

/// What may wait. When there is more between two visits of who drains it, the sample is halved.
const MOST_WAITING: usize = 2048;

/// Counters of requests, so that threads don't write to the same.
const STRIPES: usize = 16;

/// The way to the shadow caches. One that isn't sampled pays a comparison and a count.
#[derive(Debug)]
pub struct Feed {
    /// Keys with hashes up to this are sampled.
    sampled_to: AtomicU64,
    asked: [Stripe; STRIPES],
    /// More came than could wait.
    overflowed: AtomicBool,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    shadows: Mutex<Shadows>,
}

/// What the shadows are told.
#[derive(Clone, Copy, Debug)]
enum Event {
    Asked(Reference),
    Forget(u64),
    Clear,
}

/// Two cache lines, which are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    requests: AtomicU64,
    bytes: AtomicU64,
    misses: AtomicU64,
    missed_bytes: AtomicU64,
}

thread_local! {
    /// The stripe of this thread.
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Feed {
    /// To empty shadows.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let shadows = Shadows::new(config);
        let (sender, receiver) = bounded(MOST_WAITING);
        Self {
            sampled_to: AtomicU64::new(shadows.sampled_to()),
            asked: Default::default(),
            overflowed: AtomicBool::new(false),
            sender,
            receiver,
            shadows: Mutex::new(shadows),
        }
    }

    /// Bytes that it takes at most, where all shadows may hold so many keys together.
    #[must_use]
    pub const fn most_bytes(most_keys: usize) -> usize {
        Config::most_bytes(most_keys) + MOST_WAITING * (size_of::<Event>() + size_of::<usize>())
    }

    /// Something is asked for; `found`, if the store has it and it is of use.
    #[inline]
    pub fn asked(&self, reference: &Reference, found: bool) {
        let stripe = STRIPE.with(|stripe| *stripe);
        if let Some(stripe) = self.asked.get(stripe) {
            stripe.requests.fetch_add(1, Ordering::Relaxed);
            stripe.bytes.fetch_add(reference.size, Ordering::Relaxed);
            if !found {
                stripe.misses.fetch_add(1, Ordering::Relaxed);
                stripe.missed_bytes.fetch_add(reference.size, Ordering::Relaxed);
            }
        }
        if reference.hash <= self.sampled_to.load(Ordering::Relaxed) {
            self.send(Event::Asked(*reference));
        }
    }

    /// What is stored under a key with this hash was purged.
    pub fn forget(&self, hash: u64) {
        if hash <= self.sampled_to.load(Ordering::Relaxed) {
            self.send(Event::Forget(hash));
        }
    }

    /// Everything was purged.
    pub fn clear(&self) {
        self.send(Event::Clear);
    }

    /// Tells the shadows what waits. To be called several times a second.
    pub fn drain(&self) {
        drop(self.drained());
    }

    /// What memory of other sizes would have done up to now.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.drained().curve()
    }

    fn send(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(event) {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }

    fn drained(&self) -> MutexGuard<'_, Shadows> {
        let mut shadows = self.shadows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = Timestamp::EPOCH;
        // No more than can wait, or it might never end.
        for event in self.receiver.try_iter().take(MOST_WAITING) {
            match event {
                Event::Asked(reference) => {
                    now = reference.now;
                    shadows.ask(&reference);
                }
                Event::Forget(hash) => shadows.forget(hash),
                Event::Clear => shadows.clear(),
            }
        }
        if self.overflowed.swap(false, Ordering::Relaxed) {
            shadows.halve(now);
        }
        let sum = |read: fn(&Stripe) -> &AtomicU64| {
            self.asked.iter().map(|stripe| read(stripe).load(Ordering::Relaxed)).sum()
        };
        shadows.asked(Asked {
            requests: sum(|stripe| &stripe.requests),
            bytes: sum(|stripe| &stripe.bytes),
            misses: sum(|stripe| &stripe.misses),
            missed_bytes: sum(|stripe| &stripe.missed_bytes),
        });
        self.sampled_to.store(shadows.sampled_to(), Ordering::Relaxed);
        shadows
    }
}
