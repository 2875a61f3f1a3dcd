//! The policy as a whole.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn config(capacity: u64) -> Config {
    Config { capacity, size_exponent: 1.0, uses: Uses::All, seed: 7 }
}

fn evictor(capacity: u64) -> Evictor<u64> {
    Evictor::new(&config(capacity))
}

fn hash(key: u64) -> u64 {
    let mixed = (key ^ (key >> 31)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn newcomer(key: u64, size: u64) -> Newcomer<u64> {
    Newcomer { key, hash: hash(key), size, useless_at: Timestamp::from_secs(100) }
}

/// A cache of sizes: the evictor and the map that it needs beside it.
struct Cache {
    evictor: Evictor<u64>,
    map: HashMap<u64, Ticket>,
}

impl Cache {
    fn new(capacity: u64) -> Self {
        Self::of(evictor(capacity))
    }

    fn of(evictor: Evictor<u64>) -> Self {
        Self { evictor, map: HashMap::new() }
    }

    /// Asks for a key; whether it was a hit.
    fn ask(&mut self, key: u64, size: u64) -> bool {
        if let Some(ticket) = self.map.get(&key) {
            self.evictor.touch(*ticket);
            return true;
        }
        let admission = self.evictor.admit(newcomer(key, size), Timestamp::EPOCH);
        self.settle(key, admission);
        false
    }

    fn ask_all(&mut self, keys: std::ops::Range<u64>, size: u64) {
        for key in keys {
            self.ask(key, size);
        }
    }

    fn settle(&mut self, key: u64, admission: Admission<u64>) {
        for victim in admission.victims {
            assert_eq!(self.map.remove(&victim.key), Some(victim.ticket));
        }
        self.map.extend(admission.ticket.map(|ticket| (key, ticket)));
    }

    /// How many of `keys` are there.
    fn holds(&self, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|key| self.map.contains_key(key)).count()
    }
}

#[test]
fn one_huge_object_does_not_flush_what_is_used() {
    let mut cache = Cache::new(100_000);
    for _ in 0..3 {
        cache.ask_all(0..20, 4500);
    }
    for _ in 0..20 {
        assert!(!cache.ask(1000, 90_000));
        cache.ask_all(0..20, 4500);
    }
    assert_eq!(cache.holds(0..20), 20);
    // When they are asked for no more, it gets its place.
    let asked = (0..400).take_while(|_| !cache.ask(1000, 90_000)).count();
    assert!((5..100).contains(&asked), "{asked}");
}

#[test]
fn where_few_uses_count_what_comes_soon_outweighs_what_was_asked_for_often() {
    let turnovers = |uses| {
        let config = Config { size_exponent: 0.0, uses, ..config(10_000) };
        let mut cache = Cache::of(Evictor::new(&config));
        (0..40).for_each(|_| cache.ask_all(0..10, 1000));
        // As many bytes as there are, each key twice: until nothing is left of what was there.
        let mut turn = |turn: &u64| {
            for key in (turn * 10..).take(10) {
                cache.ask_all(key..key + 1, 1000);
                cache.ask_all(key..key + 1, 1000);
            }
            cache.holds(0..10) > 0
        };
        (1..100).take_while(|number| turn(number)).count()
    };
    let (few, all) = (turnovers(Uses::Few), turnovers(Uses::All));
    assert!((1..=3).contains(&few), "{few}");
    assert!(all > 2 * few, "{all}");
}

#[test]
fn a_scan_of_one_off_keys_displaces_itself() {
    let mut cache = Cache::new(1_000_000);
    for _ in 0..4 {
        cache.ask_all(0..500, 1000);
    }
    cache.ask_all(10_000..110_000, 1000);
    assert!(cache.holds(0..500) >= 495, "{}", cache.holds(0..500));
}

#[test]
fn what_is_in_fashion_takes_the_place_of_what_was() {
    let mut cache = Cache::new(100_000);
    for _ in 0..200 {
        cache.ask_all(0..100, 1000);
    }
    for _ in 0..200 {
        cache.ask_all(100..200, 1000);
    }
    assert!(cache.holds(100..200) > 90, "{}", cache.holds(100..200));
}

#[test]
fn what_is_useless_goes_first_however_often_it_was_used() {
    let mut cache = Cache::new(10_000);
    for _ in 0..50 {
        cache.ask_all(0..10, 1000);
    }
    let now = Timestamp::from_secs(100);
    let late = Newcomer { useless_at: Timestamp::from_secs(200), ..newcomer(10, 4000) };
    let admission = cache.evictor.admit(late, now);
    assert_eq!((admission.ticket.is_some(), admission.victims.len()), (true, 4));
}

#[test]
fn what_is_outdated_goes_first_and_what_comes_after_does_not() {
    let mut cache = Cache::new(10_000);
    for _ in 0..50 {
        cache.ask_all(0..9, 1000);
    }
    cache.evictor.outdate();
    cache.ask_all(9..19, 1000);
    assert_eq!((cache.holds(0..9), cache.holds(9..19)), (0, 10));
}

#[test]
fn a_resident_that_outgrows_the_store_goes_itself() {
    let mut cache = Cache::new(1000);
    cache.ask(1, 500);
    let ticket = cache.map[&1];
    let later = Timestamp::from_secs(100);
    let update = |ticket, size| cache.evictor.update(ticket, size, later, Timestamp::EPOCH);
    let admission = update(ticket, 1001).expect("it is resident");
    let now_known_by = admission.ticket.expect("a resident has one");
    assert_eq!(admission.victims, vec![Victim { key: 1, hash: hash(1), ticket: now_known_by }]);
    assert_eq!(update(now_known_by, 1), None);
    assert!(cache.evictor.is_empty());
}

#[test]
fn what_was_replaced_can_be_released_late() {
    let mut cache = Cache::new(1000);
    cache.ask(1, 500);
    let (old, later) = (cache.map[&1], Timestamp::from_secs(100));
    let admission = cache.evictor.update(old, 600, later, Timestamp::EPOCH);
    cache.evictor.release(old);
    assert_eq!(cache.evictor.weight(), 600);
    assert_eq!(cache.evictor.update(old, 700, later, Timestamp::EPOCH), None);
    cache.evictor.release(admission.and_then(|it| it.ticket).expect("it is resident"));
    assert!(cache.evictor.is_empty());
}

#[test]
fn what_is_larger_than_the_store_is_turned_away_at_no_cost_to_others() {
    let mut cache = Cache::new(1000);
    cache.ask(1, 1000);
    let admission = cache.evictor.admit(newcomer(2, 1001), Timestamp::EPOCH);
    assert_eq!(admission, Admission { ticket: None, victims: Vec::new() });
}

#[test]
fn the_same_seed_decides_the_same() {
    let run = || {
        let mut cache = Cache::new(200_000);
        let sizes = |key: u64| 1 + hash(key) % 5000;
        let keys = (0..20_000_u64).map(|index| hash(index) % 1000 * (index % 3));
        keys.map(|key| cache.ask(key, sizes(key))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u64, u64),
    Update(u64, u64),
    Release(u64),
    Outdate,
    Sweep(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..60_u64;
    let size = prop_oneof![0..500_u64, 0..50_u64, 5000..12_000_u64];
    let step = prop_oneof![
        12 => (key.clone(), size.clone()).prop_map(|(key, size)| Step::Ask(key, size)),
        2 => (key.clone(), size).prop_map(|(key, size)| Step::Update(key, size)),
        1 => key.prop_map(Step::Release),
        1 => Just(Step::Outdate),
        2 => (0..8_usize).prop_map(Step::Sweep),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn whatever_happens_the_index_is_what_was_admitted_less_what_has_gone(steps in steps()) {
        let mut cache = Cache::new(10_000);
        let (mut sizes, mut outdated) = (HashMap::new(), Vec::new());
        for step in steps {
            match step {
                Step::Ask(key, size) => {
                    if !cache.ask(key, size) {
                        sizes.insert(key, size);
                    }
                }
                Step::Update(key, size) => {
                    let Some(ticket) = cache.map.get(&key).copied() else { continue };
                    let later = Timestamp::from_secs(100);
                    let update = cache.evictor.update(ticket, size, later, Timestamp::EPOCH);
                    if outdated.contains(&ticket) {
                        prop_assert_eq!(update, None);
                        continue;
                    }
                    sizes.insert(key, size);
                    let Admission { ticket, victims } = update.expect("it is resident");
                    cache.map.insert(key, ticket.expect("a resident has one"));
                    for victim in victims {
                        prop_assert_eq!(cache.map.remove(&victim.key), Some(victim.ticket));
                    }
                }
                Step::Release(key) => {
                    let Some(ticket) = cache.map.remove(&key) else { continue };
                    cache.evictor.release(ticket);
                    // Twice is once.
                    cache.evictor.release(ticket);
                }
                Step::Outdate => {
                    outdated = cache.map.values().copied().collect();
                    cache.evictor.outdate();
                }
                Step::Sweep(most) => {
                    let there = cache.map.values().filter(|it| outdated.contains(it)).count();
                    let gone = cache.evictor.outdated(most);
                    prop_assert_eq!(gone.len(), there.min(most));
                    for gone in gone {
                        prop_assert!(outdated.contains(&gone.ticket));
                        prop_assert_eq!(cache.map.remove(&gone.key), Some(gone.ticket));
                    }
                }
            }
            let residents = cache.evictor.residents();
            prop_assert_eq!(residents.len(), cache.map.len());
            for resident in &residents {
                prop_assert_eq!(cache.map.get(&resident.key), Some(&resident.ticket));
            }
            let weight: u64 = cache.map.keys().map(|key| sizes[key]).sum();
            prop_assert_eq!(cache.evictor.weight(), weight);
            prop_assert!(weight <= 10_000);
        }
    }
}
