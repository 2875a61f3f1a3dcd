//! The map, the evictor and the budget together.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::*;
use crate::body::Blocks;
use crate::policy::{Overrides, RequestFacts, ResponseTimes, StoredHead};
use crate::store::Content;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

/// The key of the `number`th URL.
fn key(number: u64) -> CacheKey {
    let url = format!("http://example.com/{number}");
    Target::parse(&url).expect("a URL").key()
}

/// A response of `size` bytes; with a `variant`, one that varies. `None` if the budget is full.
/// To be stored under a key.
fn response(
    memory: &Memory,
    key: &CacheKey,
    size: usize,
    variant: Option<u64>,
) -> Option<Arc<StoredResponse>> {
    let mut request = HeaderMap::new();
    let mut fields = HeaderMap::new();
    if let Some(variant) = variant {
        request.insert("accept-language", HeaderValue::from(variant));
        fields.insert("vary", HeaderValue::from_static("accept-language"));
    }
    let facts = RequestFacts::new(&Method::GET, &request, false);
    let times = ResponseTimes { request_at: NOW, response_at: NOW };
    let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
    let stamp = Stamp::new(memory.sequence(), None);
    let charge = memory.charge(StoredResponse::cost(&head, &stamp, key.as_str().len()))?;
    let body = Bytes::from(vec![b'x'; size]);
    let pieces = Some(body).filter(|body| !body.is_empty());
    let blocks = Arc::new(Blocks::new(pieces, Some(memory.charge(size)?)));
    let useless_at = NOW.plus(Duration::from_secs(60));
    let content = Content::Whole(blocks);
    Some(Arc::new(StoredResponse::new(key, head, content, stamp, useless_at, charge)))
}

fn store(memory: &Memory, number: u64, size: usize) -> Insertion {
    let mut made = None;
    let is_made = eventually(memory, || {
        made = response(memory, &key(number), size, None);
        made.is_some()
    });
    assert!(is_made, "there is memory for one more");
    memory.insert(&key(number), &made.expect("it was made"), NOW)
}

/// Whether it comes to hold. What was removed is freed when no thread is about to read any map,
/// and tests beside this one do.
fn eventually(memory: &Memory, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        memory.settle();
        thread::yield_now();
    }
    true
}

fn small() -> Memory {
    Memory::new(&Config { memory: 1 << 20, max_variants: 4, ..Config::default() })
}

/// Whether the map and the evictor know the same.
fn agree(memory: &Memory) -> bool {
    memory.settle();
    let residents = memory.evictor.residents().into_iter();
    let known: HashMap<_, _> = residents.map(|it| (it.hash, it.ticket)).collect();
    let stored = memory.map.iter().map(|(key, held)| (*key, held.ticket));
    let stored: HashMap<_, _> = stored.collect();
    known.len() == stored.len() && known.iter().all(|(key, it)| stored.get(key) == Some(it))
}

fn weight_of_all(memory: &Memory) -> u64 {
    memory.map.iter().map(|(_, held)| held.variants.weight()).sum()
}

#[test]
fn what_the_store_holds_is_what_the_evictor_counts_and_the_budget_is_charged_with() {
    let memory = small();
    for number in 0..2000 {
        // Each is asked for again, so that newcomers are worth something.
        store(&memory, number / 2, 1000 + number as usize % 7000);
        assert!(memory.evictor.weight() <= capacity(1 << 20));
        assert!(memory.budget().used() <= memory.budget().limit());
    }
    assert!(agree(&memory));
    assert!(memory.evictions() > 0);
    assert_eq!(memory.evictor.weight(), weight_of_all(&memory));
    let (used, weight) = (|| memory.budget().used() as u64, memory.evictor.weight());
    let alike = eventually(&memory, || used().abs_diff(weight) < 100_000);
    assert!(alike, "{} charged for {weight}", used());
}

#[test]
fn a_storm_of_unique_keys_leaves_what_is_used() {
    let memory = small();
    for number in 0..100 {
        store(&memory, number, 2000);
        (0..3).for_each(|_| assert!(memory.get(key(number).as_str(), NOW).is_some()));
    }
    for number in 1000..6000 {
        store(&memory, number, 2000);
    }
    let left = (0..100).filter(|number| memory.get(key(*number).as_str(), NOW).is_some()).count();
    assert!(left >= 95, "{left}");
}

/// Who has tried out on one process which keys share counters, knows nothing of another.
#[test]
fn every_store_hashes_its_keys_in_its_own_way() {
    let stores = [small(), small()];
    let hashes = |number| stores.each_ref().map(|store| store.hasher.hash(key(number).as_str()));
    let differ = |number| hashes(number)[0] != hashes(number)[1];
    assert!((0..64).all(differ));
    // Nor does the one differ from the other by what is the same for all keys.
    let apart: std::collections::HashSet<_> =
        (0..64).map(|number| hashes(number)[0] ^ hashes(number)[1]).collect();
    assert_eq!(apart.len(), 64);
}

// Nobody can look for such keys, and chance makes none; but neither may ever be the other's answer.
#[test]
fn keys_that_share_a_hash_take_each_others_place_and_are_never_mixed() {
    let mut memory = small();
    memory.hasher.is_blind = true;
    let made = |number, size| {
        let response = response(&memory, &key(number), size, Some(number));
        response.expect("there is memory for one more")
    };
    let (one, other) = (made(1, 100), made(2, 200));
    let found = |number| memory.get(key(number).as_str(), NOW).map(|found| found.weight());
    assert_eq!(memory.insert(&key(1), &one, NOW), Insertion::Stored);
    assert_eq!((found(1), found(2)), (Some(one.weight()), None));
    assert_eq!(memory.insert(&key(2), &other, NOW), Insertion::Stored);
    assert_eq!((found(1), found(2)), (None, Some(other.weight())));
    assert!(memory.peek(key(1).as_str()).is_none());
    // What is done to the one that is gone is not done to the other.
    memory.remove(&key(1), &one);
    assert!(!memory.swap(&key(1), &one, &made(1, 300), NOW));
    assert_eq!((found(1), found(2)), (None, Some(other.weight())));
    let scope = |number| [Scope::Url(key(number).as_str().to_owned())];
    let covered = |number| memory.covered(&scope(number)).responses;
    assert_eq!((covered(1), covered(2)), (0, 1));
    assert!(agree(&memory) && memory.evictor.weight() == other.weight());
    let _ = memory.purge(scope(2)[0].clone(), Mode::Hard);
    assert_eq!((found(1), found(2)), (None, None));
    assert!(agree(&memory) && memory.evictor.is_empty());
}

#[test]
fn variants_are_weighed_with_their_key_and_go_with_it() {
    let memory = small();
    for variant in 0..10 {
        let mut made = None;
        assert!(eventually(&memory, || {
            made = response(&memory, &key(1), 10_000, Some(variant));
            made.is_some()
        }));
        let response = made.expect("it was made");
        assert_eq!(memory.insert(&key(1), &response, NOW), Insertion::Stored);
    }
    assert_eq!(memory.evictor.len(), 1);
    let variants = memory.get(key(1).as_str(), NOW).expect("it is stored");
    assert_eq!(variants.as_slice().len(), 4);
    assert_eq!(memory.evictor.weight(), variants.weight());
    memory.remove(&key(1), &variants.as_slice()[0]);
    let fewer = memory.get(key(1).as_str(), NOW).expect("three are left");
    assert_eq!(memory.evictor.weight(), fewer.weight());
    assert!(agree(&memory));
}

#[test]
fn purges_leave_nothing_in_the_index() {
    let memory = small();
    for number in 0..100 {
        store(&memory, number, 100);
    }
    let _ = memory.purge(Scope::Url(key(1).as_str().to_owned()), Mode::Hard);
    assert_eq!(memory.evictor.len(), 99);
    assert!(agree(&memory));
    let _ = memory.purge(Scope::All, Mode::Hard);
    assert!(eventually(&memory, || agree(&memory) && memory.evictor.is_empty()));
    assert!(eventually(&memory, || memory.budget().used() == 0));
}

#[test]
fn whatever_threads_do_map_and_evictor_agree_when_they_are_done() {
    const THREADS: u64 = 4;
    const KEYS: u64 = 300;
    let memory = small();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let memory = &memory;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..4000 {
                    let number = random.u64(..KEYS);
                    step(memory, &mut random, number);
                    assert!(memory.budget().used() <= memory.budget().limit());
                }
            });
        }
    });
    assert!(eventually(&memory, || agree(&memory)));
    assert_eq!(memory.evictor.weight(), weight_of_all(&memory));
    assert!(memory.evictions() > 100, "{}", memory.evictions());
    let _ = memory.purge(Scope::All, Mode::Hard);
    assert!(eventually(&memory, || agree(&memory) && memory.budget().used() == 0));
}

/// What one of many threads does to one of few keys.
fn step(memory: &Memory, random: &mut fastrand::Rng, number: u64) {
    let key = key(number);
    match random.u32(..1000) {
        0..500 => drop(memory.get(key.as_str(), NOW)),
        500..900 => {
            let variant = number.is_multiple_of(3).then(|| random.u64(..6));
            // A full budget is an answer too.
            if let Some(response) = response(memory, &key, random.usize(..30_000), variant) {
                memory.insert(&key, &response, NOW);
            }
        }
        900..980 => {
            if let Some(variants) = memory.get(key.as_str(), NOW) {
                memory.remove(&key, &variants.as_slice()[0]);
            }
        }
        980..998 => {
            let _ = memory.purge(Scope::Url(key.as_str().to_owned()), Mode::Hard);
        }
        _ => {
            let _ = memory.purge(Scope::All, Mode::Hard);
        }
    }
}

#[test]
fn a_purge_of_everything_takes_what_was_there_bit_by_bit_and_nothing_that_comes_after() {
    let memory = small();
    for number in 0..600 {
        assert_eq!(store(&memory, number, 100), Insertion::Stored);
    }
    let purge = || drop(memory.purge(Scope::All, Mode::Hard));
    purge();
    // In the place of what was purged, and anew.
    for number in [5, 1000] {
        assert_eq!(store(&memory, number, 100), Insertion::Stored);
    }
    assert!(memory.peek(key(4).as_str()).is_none(), "it is found no more");
    let mut seen = 0;
    memory.each(|_, _, _| seen += 1);
    assert_eq!(seen, 2);
    let swept = [(); 4].map(|()| memory.sweep());
    assert_eq!(swept, [SWEPT_AT_ONCE, SWEPT_AT_ONCE, 600 - 2 * SWEPT_AT_ONCE, 0]);
    memory.settle();
    assert_eq!((memory.keys(), memory.evictor.len()), (2, 2));
    assert!(agree(&memory));
    for (number, is_there) in [(4, false), (5, true), (1000, true)] {
        assert_eq!(memory.get(key(number).as_str(), NOW).is_some(), is_there, "{number}");
    }
    purge();
    assert_eq!(memory.sweep(), 2);
    assert!(agree(&memory) && memory.evictor.is_empty());
}

#[test]
fn no_variant_that_was_purged_with_everything_stays_beside_a_new_one() {
    let memory = small();
    let one = key(1);
    let variant = |number| response(&memory, &one, 100, Some(number)).expect("there is memory");
    let old = variant(1);
    memory.insert(&one, &old, NOW);
    let begun_before = variant(2);
    let _ = memory.purge(Scope::All, Mode::Hard);
    memory.insert(&one, &variant(3), NOW);
    memory.insert(&one, &begun_before, NOW);
    let variants = memory.peek(one.as_str()).expect("the one that was fetched since");
    assert_eq!(variants.as_slice().len(), 1);
    let _ = memory.purge(Scope::All, Mode::Hard);
    // As by who has stored it and then finds that it was purged meanwhile.
    memory.remove(&one, &variants.as_slice()[0]);
    assert_eq!(memory.keys(), 0);
    assert!(agree(&memory) && memory.evictor.is_empty());
}

// What is about to be stored when everything is purged was fetched before.
#[test]
fn what_is_purged_while_it_is_stored_goes_from_map_and_evictor() {
    let memory = small();
    store(&memory, 1, 100);
    for number in [1, 2] {
        let new = response(&memory, &key(number), 200, None).expect("there is memory");
        let hash = memory.hasher.hash(key(number).as_str());
        memory.change(hash, |old| {
            let variants = Variants::One(Arc::clone(&new));
            let admission = memory.admit(hash, old.map(|old| old.ticket), &variants, NOW);
            assert_eq!(admission.victims, []);
            let _ = memory.purge(Scope::All, Mode::Hard);
            admission.ticket.map_or(Op::Nop, |ticket| Op::Put(Held { variants, ticket }))
        });
        assert!(eventually(&memory, || agree(&memory)), "{number}");
        assert_eq!(memory.evictor.len(), 0, "{number}");
    }
}

// Who changes an entry has read it before, and would put back what was purged in between.
#[test]
fn a_purge_of_a_key_waits_for_who_is_changing_what_it_has() {
    let memory = small();
    store(&memory, 1, 100);
    let (hash, before) = (memory.hasher.hash(key(1).as_str()), memory.sequence());
    thread::scope(|scope| {
        memory.change(hash, |held| {
            let url = Scope::Url(key(1).as_str().to_owned());
            scope.spawn(|| drop(memory.purge(url, Mode::Hard)));
            assert!(eventually(&memory, || memory.sequence() != before), "the purge begins");
            // As long as a purge takes that does not wait.
            let is_gone = || memory.map.get(&hash).is_none();
            let _ = (0..10_000).any(|_| {
                thread::yield_now();
                is_gone()
            });
            held.map_or(Op::Nop, Op::Put)
        });
    });
    assert!(memory.peek(key(1).as_str()).is_none(), "it was purged");
    assert!(agree(&memory));
}

#[test]
fn a_swap_is_of_what_is_there_only() {
    let memory = small();
    let one = key(1);
    let response = |size| response(&memory, &one, size, Some(1)).expect("there is memory");
    let (old, new) = (response(9000), response(2000));
    assert!(!memory.swap(&key(1), &old, &new, NOW), "nothing is there");
    let _ = memory.insert(&key(1), &old, NOW);
    assert!(memory.swap(&key(1), &old, &new, NOW));
    assert!(!memory.swap(&key(1), &old, &new, NOW), "it is there no more");
    let variants = memory.peek(key(1).as_str()).expect("it is stored");
    assert!(Arc::ptr_eq(&variants.as_slice()[0], &new));
    assert!(agree(&memory));
    let _ = memory.purge(Scope::All, Mode::Hard);
    assert!(!memory.swap(&key(1), &new, &old, NOW), "it was purged");
    assert!(agree(&memory));
}

// Who only looks leaves what is kept to those who use it.
#[test]
fn a_look_is_no_use_and_a_use_is_one() {
    for (used, stays) in [(true, true), (false, false)] {
        let memory = small();
        let one = key(1);
        assert_eq!(store(&memory, 1, 30_000), Insertion::Stored);
        for number in 2..400 {
            // Each is wanted again, so that it takes the place of who is not.
            store(&memory, number, 30_000);
            let _ = memory.get(key(number).as_str(), NOW);
            store(&memory, number, 30_000);
            for _ in 0..3 {
                let one = one.as_str();
                let found = if used { memory.get(one, NOW) } else { memory.peek(one) };
                if found.is_none() {
                    break;
                }
            }
        }
        assert_eq!(memory.peek(one.as_str()).is_some(), stays, "used: {used}");
    }
}
