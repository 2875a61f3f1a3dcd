//! Far more than fits, from several threads at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use seawall::store::{Config, Insertion, Memory, Mode, Scope};

use crate::MIB;
use crate::objects::{NOW, Object, key, put, resident};

/// How often resident memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Every so many objects one that may be there is stored anew, and one is purged.
const REPLACED: usize = 8;
const PURGED: usize = 50;

/// What is stored.
pub(crate) struct Mix {
    name: &'static str,
    /// The body's size by a number from 0 to 1.
    size: fn(f64) -> f64,
    /// What the process may grow by at most, in hundredths of the budget: what is above 100 is the
    /// allocator's own.
    most: usize,
}

/// 1 KiB each.
pub(crate) const SMALL: Mix = Mix { name: "1 KiB", size: |_| 1024.0, most: 125 };

/// From 200 bytes to 64 KiB, as many of each order of size.
pub(crate) const MIXED: Mix =
    Mix { name: "200 B to 64 KiB", size: |chance| 200.0 * 320.0_f64.powf(chance), most: 150 };

/// Stores `objects`, some of them twice, and purges some; whether the process kept to `memory`.
pub(crate) fn keeps_its_budget(mix: &Mix, memory: usize, objects: usize, threads: usize) -> bool {
    let before = resident();
    let store = Memory::new(&Config { memory, ..Config::default() });
    let (next, stored, refused) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (mut peak, mut most_charged, began) = (before, 0, Instant::now());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|seed| {
                let (store, next, stored, refused) = (&store, &next, &stored, &refused);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= objects {
                            break;
                        }
                        let known = random.usize(..=number);
                        let put_one = |number| {
                            let size = (mix.size)(random.f64()) as usize;
                            match put(store, Object { number, size, variant: 0 }) {
                                Some(Insertion::Stored) => stored.fetch_add(1, Ordering::Relaxed),
                                _ => refused.fetch_add(1, Ordering::Relaxed),
                            };
                        };
                        let both = [Some(number), number.is_multiple_of(REPLACED).then_some(known)];
                        both.into_iter().flatten().for_each(put_one);
                        drop(store.get(key(known).as_str(), NOW));
                        if number.is_multiple_of(PURGED) {
                            let url = key(random.usize(..=number)).as_str().to_owned();
                            let _ = store.purge(Scope::Url(url), Mode::Hard);
                        }
                        let asked = store.feed().filter(|_| number.is_multiple_of(1000));
                        asked.inspect(|feed| feed.drain());
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            peak = peak.max(resident());
            most_charged = most_charged.max(store.budget().used());
            thread::sleep(LOOK);
        }
    });
    let grown = peak.saturating_sub(before);
    println!(
        "{objects} objects of {} from {threads} threads in {:.1} s: {} stored, {} not, {} at last",
        mix.name,
        began.elapsed().as_secs_f64(),
        stored.into_inner(),
        refused.into_inner(),
        store.keys(),
    );
    println!(
        "budget {} MiB, charged {} MiB at most, the process grew by {} MiB at most",
        memory / MIB,
        most_charged / MIB,
        grown / MIB
    );
    grown <= memory / 100 * mix.most && most_charged <= memory
}
