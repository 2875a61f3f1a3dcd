//! The shadow caches against what the store's eviction really does, and their bounds.
#![expect(clippy::cast_sign_loss, reason = "nothing that is counted is negative")]

use std::collections::HashMap;

use super::*;
use crate::store::evict::{Evictor, Newcomer};

const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

fn hash(key: u64, salt: u64) -> u64 {
    let mixed = (key ^ salt.rotate_left(32) ^ (key >> 31)).wrapping_add(1);
    let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Bytes of an object: some hundred to some ten thousand, whatever it is used.
fn size(key: u64) -> u64 {
    let spread = hash(key, 99) >> 48;
    300 + (1 << (spread % 8)) * (spread / 8 % 100)
}

/// Keys, the more popular the lower, by Zipf's law with an exponent of nearly 1; now and then what
/// is popular changes.
fn requests(count: usize, keys: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(5);
    let draw = |index: usize| {
        let key = (keys as f64).powf(random.f64()) as u64;
        key + (index / (count / 4)) as u64 * 50
    };
    (0..count).map(draw).collect()
}

fn eviction(capacity: u64) -> evict::Config {
    evict::Config { capacity, size_exponent: 0.75, uses: evict::Uses::All, seed: 1 }
}

/// What a store of `capacity` bytes would be asked for and miss.
fn replayed(requests: &[u64], capacity: u64) -> Asked {
    let evictor = Evictor::new(&eviction(capacity));
    let mut tickets = HashMap::new();
    let mut asked = Asked::default();
    for &key in requests {
        let size = size(key);
        asked.requests += 1;
        asked.bytes += size;
        if let Some(&ticket) = tickets.get(&key) {
            evictor.touch(ticket);
            continue;
        }
        asked.misses += 1;
        asked.missed_bytes += size;
        let newcomer = Newcomer { key, hash: hash(key, 0), size, useless_at: NEVER };
        let admission = evictor.admit(newcomer, Timestamp::EPOCH);
        for victim in admission.victims {
            tickets.remove(&victim.key);
        }
        tickets.extend(admission.ticket.map(|ticket| (key, ticket)));
    }
    asked
}

/// How far a point is off, for requests and for bytes.
fn errors(point: &Point, real: &Asked) -> [f64; 2] {
    let hits = |misses, of| 1.0 - misses as f64 / of as f64;
    [
        (point.hit_ratio - hits(real.misses, real.requests)).abs(),
        (point.byte_hit_ratio - hits(real.missed_bytes, real.bytes)).abs(),
    ]
}

fn reference(key: u64, salt: u64) -> Reference {
    Reference { hash: hash(key, salt), size: size(key), useless_at: NEVER, now: Timestamp::EPOCH }
}

fn shadows(capacity: u64, most_keys: usize) -> Shadows {
    Shadows::new(&Config { evict: eviction(capacity), most_keys })
}

/// Asks `shadows` for the same as a store that has done what `real` says.
fn ask_all(shadows: &mut Shadows, requests: &[u64], salt: u64, real: Asked) -> [Point; SIZES] {
    for &key in requests {
        shadows.ask(&reference(key, salt));
    }
    shadows.asked(real);
    shadows.curve().points().expect("there were requests")
}

// The bound is the one that docs/hit-rates.md states.
#[test]
fn with_a_quarter_of_the_usual_keys_every_point_is_within_four_percent_of_a_replay() {
    let requests = requests(200_000, 60_000);
    let capacity = 5_000_000;
    let real = Curve::sizes_of(capacity).map(|capacity| replayed(&requests, capacity));
    let mut off = Vec::new();
    for salt in 1..4 {
        let mut shadows = shadows(capacity, 2048);
        let points = ask_all(&mut shadows, &requests, salt, real[HERE]);
        assert!(shadows.curve().sampled < 0.5, "it is a sample");
        off.extend(points.iter().zip(&real).flat_map(|(point, real)| errors(point, real)));
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    let worst = off.iter().copied().fold(0.0, f64::max);
    assert!(mean < 0.015 && worst < 0.04, "mean {mean}, worst {worst}");
}

#[test]
fn where_every_key_is_sampled_the_curve_is_the_replay() {
    let requests = requests(20_000, 400);
    let real = Curve::sizes_of(40_000).map(|capacity| replayed(&requests, capacity));
    let mut shadows = shadows(40_000, 8192);
    let points = ask_all(&mut shadows, &requests, 0, real[HERE]);
    assert!((shadows.curve().sampled - 1.0).abs() < f64::EPSILON);
    for (point, real) in points.iter().zip(&real) {
        // Sketches of other sizes take other keys for each other.
        assert!(errors(point, real).iter().all(|error| *error < 0.015), "{point:?}, {real:?}");
    }
}

#[test]
fn the_point_for_the_memory_there_is_is_what_was_counted_and_nothing_is_taken_back() {
    let mut shadows = shadows(1_000_000, 1024);
    let asked = Asked { requests: 10, bytes: 1000, misses: 4, missed_bytes: 100 };
    shadows.asked(asked);
    let before = shadows.curve();
    let here = before.points().expect("there were requests")[HERE];
    assert!((here.hit_ratio - 0.6).abs() < 1e-9 && (here.byte_hit_ratio - 0.9).abs() < 1e-9);
    // The sample alone would say now that a larger memory has missed fewer than it was told to.
    shadows.tally.count(|counts| counts.misses[HERE] += 3.0);
    let after = shadows.curve();
    assert!((after.total.misses[4] - 4.0).abs() < 1e-9, "{after:?}");
    assert!((after.recent.misses[4] - 1.0).abs() < 1e-9, "{after:?}");
}

#[test]
fn however_many_keys_there_are_few_are_held() {
    let mut shadows = shadows(u64::MAX / 8, 1024);
    for key in 0..200_000 {
        shadows.ask(&reference(key, 1));
        assert!(shadows.keys() <= 1024);
    }
    assert!(shadows.keys() > 256, "{}", shadows.keys());
    assert!(shadows.curve().sampled < 0.01);
}

#[test]
fn what_is_of_no_use_any_more_is_a_miss_and_a_fetch_makes_it_last() {
    let mut shadows = shadows(1_000_000, 1024);
    let mut ask = |now, useless_at| {
        let [now, useless_at] = [now, useless_at].map(Timestamp::from_secs);
        let before = shadows.tally.total.misses[0];
        shadows.ask(&Reference { hash: 1, size: 1000, useless_at, now });
        shadows.tally.total.misses[0] > before
    };
    assert!(ask(0, 10), "it is new");
    assert!(!ask(9, 10));
    // The store has fetched it anew, having evicted it; this one need not have.
    assert!(!ask(9, 19));
    assert!(ask(10, 20));
    assert!(!ask(19, 20));
}

#[test]
fn what_was_purged_is_a_miss() {
    let mut shadows = shadows(1_000_000, 1024);
    (0..10).for_each(|key| shadows.ask(&reference(key, 0)));
    shadows.forget(hash(3, 0));
    (0..10).for_each(|key| shadows.ask(&reference(key, 0)));
    let misses = |shadows: &Shadows| shadows.tally.total.misses.map(|misses| misses as u64);
    assert_eq!(misses(&shadows), [11; SIZES]);
    shadows.clear();
    assert_eq!(shadows.keys(), 0);
    (0..10).for_each(|key| shadows.ask(&reference(key, 0)));
    assert_eq!(misses(&shadows), [21; SIZES]);
}

#[test]
fn nothing_asked_for_is_no_curve() {
    assert_eq!(shadows(1_000_000, 1024).curve().points(), None);
}

#[test]
fn what_threads_ask_for_is_counted_and_too_much_of_it_is_sampled_less() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let feed = Feed::new(&Config { evict: eviction(1 << 30), most_keys: 1024 });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let feed = &feed;
            scope.spawn(move || {
                for number in 0..EACH {
                    let reference = reference((thread * EACH + number) % 5000, 1);
                    feed.asked(&reference, !number.is_multiple_of(4));
                }
            });
        }
    });
    let curve = feed.curve();
    assert_eq!(curve.total.requests as u64, THREADS * EACH);
    assert_eq!(curve.total.misses[HERE] as u64, THREADS * EACH / 4);
    // Nobody drained it meanwhile.
    assert!(curve.sampled < 1.0, "{curve:?}");
}
