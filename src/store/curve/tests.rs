//! The shadow caches against what the store's eviction really does, and their bounds.

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
    evict::Config { capacity, size_exponent: 0.75, seed: 1 }
}

/// The share of requests, and of bytes, that a store of `capacity` bytes would have answered.
fn replayed(requests: &[u64], capacity: u64) -> (f64, f64) {
    let evictor = Evictor::new(&eviction(capacity));
    let mut tickets = HashMap::new();
    let (mut hits, mut hit_bytes, mut bytes) = (0, 0, 0);
    for &key in requests {
        let size = size(key);
        bytes += size;
        if let Some(&ticket) = tickets.get(&key) {
            evictor.touch(ticket);
            hits += 1;
            hit_bytes += size;
            continue;
        }
        let newcomer = Newcomer { key, hash: hash(key, 0), size, useless_at: NEVER };
        let admission = evictor.admit(newcomer, Timestamp::EPOCH);
        for victim in admission.victims {
            tickets.remove(&victim.key);
        }
        tickets.extend(admission.ticket.map(|ticket| (key, ticket)));
    }
    (f64::from(hits) / requests.len() as f64, hit_bytes as f64 / bytes as f64)
}

fn reference(key: u64, salt: u64) -> Reference {
    Reference { hash: hash(key, salt), size: size(key), useless_at: NEVER, now: Timestamp::EPOCH }
}

fn shadows(capacity: u64, most_keys: usize) -> Shadows {
    Shadows::new(&Config { evict: eviction(capacity), most_keys })
}

fn ask_all(shadows: &mut Shadows, requests: &[u64], salt: u64) {
    requests.iter().for_each(|&key| shadows.ask(&reference(key, salt)));
    shadows.asked(requests.len() as u64, requests.iter().map(|&key| size(key)).sum());
}

// The bound is the one that docs/hit-rates.md states.
#[test]
fn with_a_quarter_of_the_usual_keys_every_point_is_within_four_percent_of_a_replay() {
    let requests = requests(200_000, 60_000);
    let capacity = 5_000_000;
    let real = Curve::sizes().map(|times| replayed(&requests, (times * capacity as f64) as u64));
    let mut errors = Vec::new();
    for salt in 1..4 {
        let mut shadows = shadows(capacity, 2048);
        ask_all(&mut shadows, &requests, salt);
        let curve = shadows.curve();
        assert!(curve.sampled < 0.5, "it is a sample: {}", curve.sampled);
        let points = curve.points().expect("there were requests");
        errors.extend(
            points.iter().zip(real).map(|(point, (objects, _))| (point.hit_ratio - objects).abs()),
        );
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let worst = errors.iter().copied().fold(0.0, f64::max);
    assert!(mean < 0.015 && worst < 0.04, "mean {mean}, worst {worst}");
}

#[test]
fn where_every_key_is_sampled_the_curve_is_the_replay() {
    let requests = requests(20_000, 400);
    let mut shadows = shadows(40_000, 8192);
    ask_all(&mut shadows, &requests, 0);
    let curve = shadows.curve();
    assert!((curve.sampled - 1.0).abs() < f64::EPSILON);
    for point in curve.points().expect("there were requests") {
        let (objects, bytes) = replayed(&requests, (point.times * 40_000.0) as u64);
        // Sketches of other sizes take other keys for each other.
        assert!((point.hit_ratio - objects).abs() < 0.01, "{point:?} but {objects}");
        assert!((point.byte_hit_ratio - bytes).abs() < 0.01, "{point:?} but {bytes}");
    }
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
        let before = shadows.curve().total.misses[0];
        shadows.ask(&Reference { hash: 1, size: 1000, useless_at, now });
        shadows.curve().total.misses[0] > before
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
    let misses = |shadows: &Shadows| shadows.curve().total.misses.map(|misses| misses as u64);
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
                    feed.asked(reference.hash, reference.size, || (NEVER, Timestamp::EPOCH));
                }
            });
        }
    });
    let curve = feed.curve();
    assert_eq!(curve.total.requests as u64, THREADS * EACH);
    // Nobody drained it meanwhile.
    assert!(curve.sampled < 1.0, "{curve:?}");
}
