//! Every policy keeps its bound and its books; the simple ones do as by hand.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ALL: [Policy; 10] = [
    Policy::Seawall,
    Policy::Lru,
    Policy::Fifo,
    Policy::Moka,
    Policy::S3Fifo,
    Policy::Sieve,
    Policy::Gdsf,
    Policy::TinyLfu,
    Policy::Belady,
    Policy::Unbounded,
];

fn config(capacity: u64) -> evict::Config {
    evict::Config { capacity, size_exponent: 0.75, uses: evict::Uses::All, seed: 1 }
}

fn item(key: u32, size: u64) -> Item {
    Item { key, size, useless_at: Timestamp::from_secs(1), now: Timestamp::EPOCH }
}

/// Keys that there are.
const KEYS: usize = 1000;

/// Asks for keys of one byte each, and tells which were hits.
fn hits(policy: Policy, capacity: u64, keys: &[u32]) -> Vec<bool> {
    let mut keeper = policy.keeper(&config(capacity), KEYS);
    let mut resident = [false; KEYS];
    let mut gone = Vec::new();
    let ask = |(index, key): (usize, &u32)| {
        let rest = keys.get(index + 1..).unwrap_or_default();
        let next = rest.iter().position(|other| other == key);
        keeper.foresee(next.map_or(NEVER, |ahead| (index + 1 + ahead) as u32));
        let is_hit = resident[*key as usize];
        if is_hit {
            keeper.touch(*key);
        } else {
            resident[*key as usize] = keeper.put(item(*key, 1), &mut gone);
            gone.drain(..).for_each(|key| resident[key as usize] = false);
        }
        is_hit
    };
    keys.iter().enumerate().map(ask).collect()
}

#[test]
fn by_hand() {
    let count = |policy, capacity, keys: &[u32]| {
        hits(policy, capacity, keys).iter().filter(|hit| **hit).count()
    };
    // 1 is used again, so LRU keeps it when 3 comes; FIFO does not.
    let keys = [1, 2, 1, 3, 1, 2];
    assert_eq!(hits(Policy::Lru, 2, &keys), [false, false, true, false, true, false]);
    assert_eq!(hits(Policy::Fifo, 2, &keys), [false, false, true, false, false, false]);
    assert_eq!(hits(Policy::Sieve, 2, &keys), [false, false, true, false, true, false]);
    assert_eq!(count(Policy::Unbounded, 2, &keys), 3);
    assert_eq!(hits(Policy::Gdsf, 2, &keys), [false, false, true, false, true, false]);
    // A loop that is one longer than the memory: LRU never hits.
    let looped: Vec<u32> = (0..10).flat_map(|_| 0..11).collect();
    assert_eq!(count(Policy::Lru, 10, &looped), 0);
    assert_eq!(count(Policy::Unbounded, 10, &looped), 99);
    // S3-FIFO: who was used twice outlives a scan.
    let scanned: Vec<u32> = [1, 1, 1].into_iter().chain(10..60).chain([1]).collect();
    assert_eq!(hits(Policy::S3Fifo, 10, &scanned).last(), Some(&true));
    assert_eq!(hits(Policy::Lru, 10, &scanned).last(), Some(&false));
    assert_eq!(hits(Policy::TinyLfu, 10, &scanned).last(), Some(&true));
    // Belady: of eleven in a loop ten stay.
    assert_eq!(count(Policy::Belady, 10, &looped), 9 * 10);
    assert_eq!(hits(Policy::Belady, 1, &[1, 2, 2, 1]), [false, false, true, false]);
}

#[test]
fn the_same_requests_have_the_same_outcomes_every_time() {
    let mut random = fastrand::Rng::with_seed(1);
    // The first keys are asked for most; of the others there are so many that uses are mixed up.
    let keys: Vec<u32> = (0..5000).map(|_| random.u32(0..30) * random.u32(0..30)).collect();
    for policy in ALL {
        let first = hits(policy, 20, &keys);
        assert!((0..2).all(|_| hits(policy, 20, &keys) == first), "{policy:?}");
    }
}

/// Forty-eight objects of 20 bytes, each asked for four times: in W-TinyLFU they are all of the main part
/// of a cache of 1,000 bytes, whose window has ten.
fn with_a_main_part_in_use() -> Box<dyn Keeper> {
    let mut keeper = Policy::TinyLfu.keeper(&config(1000), 1000);
    let mut gone = Vec::new();
    for key in 0..48 {
        assert!(keeper.put(item(key, 20), &mut gone), "there is room");
    }
    (0..3).flat_map(|_| 0..48).for_each(|key| keeper.touch(key));
    assert_eq!((keeper.weight(), gone.len()), (960, 0));
    keeper
}

#[test]
fn what_is_larger_than_the_window_of_w_tiny_lfu_displaces_nobody_from_it() {
    let mut keeper = with_a_main_part_in_use();
    let mut gone = Vec::new();
    let small: Vec<u32> = (100..110).collect();
    for key in &small {
        assert!(keeper.put(item(*key, 1), &mut gone));
    }
    // There are 30 bytes left, and all whom it might displace are asked for more often.
    assert!(!keeper.put(item(200, 40), &mut gone), "it is judged, and not worth so much");
    assert_eq!(gone, [200], "the window has all that it had");
    assert_eq!(keeper.weight(), 960 + 10);
    // What fits in the window gets in unjudged, and has the oldest of it leave.
    gone.clear();
    assert!(keeper.put(item(201, 5), &mut gone));
}

#[test]
fn the_window_of_w_tiny_lfu_grows_where_that_is_what_is_wanted() {
    let mut keeper = with_a_main_part_in_use();
    let (mut resident, mut gone) = (vec![false; 1000], Vec::new());
    // A newcomer of 10 bytes a time, each asked for once more after two others.
    let mut hits = Vec::new();
    for key in 100..1000 {
        for key in [key, key - 2] {
            hits.push(resident[key as usize]);
            if resident[key as usize] {
                keeper.touch(key);
            } else {
                resident[key as usize] = keeper.put(item(key, 10), &mut gone);
                gone.drain(..).for_each(|key| resident[key as usize] = false);
            }
        }
    }
    let late = hits[hits.len() / 2..].iter().filter(|hit| **hit).count();
    assert!(late > hits.len() / 5, "{late} hits");
}

proptest! {
    #[test]
    fn books_are_kept_and_bounds_hold(
        steps in prop::collection::vec((0_u32..30, 0_u64..120, 0_u8..20), 0..200),
    ) {
        for policy in ALL {
            let mut keeper = policy.keeper(&config(300), 30);
            let mut residents = HashMap::new();
            let mut gone = Vec::new();
            for (key, size, what) in &steps {
                if *what == 0 {
                    keeper.remove(*key);
                    residents.remove(key);
                } else if *what > 3 && residents.contains_key(key) {
                    keeper.touch(*key);
                } else {
                    keeper.foresee(u32::from(*what) + *key);
                    let stays = keeper.put(item(*key, *size), &mut gone);
                    residents.insert(*key, *size);
                    for key in gone.drain(..) {
                        residents.remove(&key);
                    }
                    if !stays {
                        residents.remove(key);
                    }
                }
                // moka counts what it has been told with a delay.
                if policy != Policy::Moka {
                    let weight: u64 = residents.values().sum();
                    prop_assert_eq!(keeper.weight(), weight, "{:?}", policy);
                }
                if policy != Policy::Unbounded {
                    prop_assert!(keeper.weight() <= 300, "{:?}", policy);
                }
            }
        }
    }
}
