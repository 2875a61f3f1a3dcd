//! What the exponent of size does to hit rates, and how far the live curve is off.
//!
//! `make bench-exponents`, with a folder of traces (`timestamp,key,size`, plain or zstd) as `TRACES`
//! if there is one: they and workloads made up here, whose ways are known, at 0.1 %, 1 % and 10 % of
//! the bytes that they touch. Of each exponent it shows requests and bytes answered, in percent, and
//! of the curve the mean and the largest error over its sizes, in points.
#![expect(clippy::print_stdout, reason = "it is a program that tells")]

mod workload;

use std::io;

use seawall::clock::Timestamp;
use seawall::store::curve::{self, Asked, Curve, Reference, Shadows};
use seawall::store::evict::{self, Evictor, Newcomer, Ticket, Uses};
use workload::Workload;

/// Exponents that are compared; the store's default is the second.
const EXPONENTS: [f64; 4] = [0.5, 0.75, 1.0, 1.25];
const DEFAULT: f64 = 0.75;

/// Shares of the bytes touched that are given to the cache.
const DIVISORS: [u64; 3] = [1000, 100, 10];

/// Keys that the shadow caches hold where there is memory enough.
const SHADOWS: usize = 8192;

const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

fn main() -> io::Result<()> {
    let names = EXPONENTS.map(|exponent| format!("b = {exponent}"));
    println!("| workload | memory | {} | curve, objects | bytes |", names.join(" | "));
    println!("|---|--:|{}--:|--:|", "--:|".repeat(EXPONENTS.len()));
    let traces = std::env::args().skip(1).map(|path| Workload::read(path.as_ref()));
    for workload in Workload::made_up().into_iter().map(Ok).chain(traces) {
        let workload = workload?;
        for divisor in DIVISORS {
            let capacity = workload.footprint() / divisor;
            let answered = EXPONENTS.map(|exponent| {
                let [objects, bytes] = percent(&replay(&workload, capacity, exponent));
                format!("{objects:.1} / {bytes:.1}")
            });
            let [objects, bytes] = errors(&workload, capacity);
            let name = &workload.name;
            println!("| {name} | 1/{divisor} | {} | {objects} | {bytes} |", answered.join(" | "));
        }
    }
    Ok(())
}

fn config(capacity: u64, size_exponent: f64) -> evict::Config {
    evict::Config { capacity, size_exponent, uses: Uses::All, seed: 1 }
}

/// What is asked for and missed.
fn replay(workload: &Workload, capacity: u64, exponent: f64) -> Asked {
    let evictor = Evictor::new(&config(capacity, exponent));
    let mut tickets: Vec<Option<Ticket>> = vec![None; workload.sizes.len()];
    let mut asked = Asked::default();
    for &key in &workload.requests {
        let size = workload.sizes[key];
        asked.requests += 1;
        asked.bytes += size;
        if let Some(ticket) = tickets[key] {
            evictor.touch(ticket);
            continue;
        }
        asked.misses += 1;
        asked.missed_bytes += size;
        let newcomer = Newcomer { key, hash: hash(key, 0), size, useless_at: NEVER };
        let admission = evictor.admit(newcomer, Timestamp::EPOCH);
        for victim in admission.victims {
            tickets[victim.key] = None;
        }
        tickets[key] = admission.ticket;
    }
    asked
}

/// Requests and bytes answered, in percent.
fn percent(asked: &Asked) -> [f64; 2] {
    let hits = |misses: u64, of: u64| 100.0 - misses as f64 / of as f64 * 100.0;
    [hits(asked.misses, asked.requests), hits(asked.missed_bytes, asked.bytes)]
}

/// How far the curve is off, for objects and for bytes, over samples by several hashes.
fn errors(workload: &Workload, capacity: u64) -> [String; 2] {
    let real = Curve::sizes_of(capacity).map(|capacity| replay(workload, capacity, DEFAULT));
    // What the store itself misses is counted, not sampled.
    let here = replay(workload, capacity, DEFAULT);
    let mut off = [Vec::new(), Vec::new()];
    for salt in 1..4 {
        let evict = config(capacity, DEFAULT);
        let mut shadows = Shadows::new(&curve::Config { evict, most_keys: SHADOWS });
        for &key in &workload.requests {
            let (hash, size) = (hash(key, salt), workload.sizes[key]);
            let now = Timestamp::EPOCH;
            shadows.ask(&Reference { hash, size, useless_at: NEVER, now });
        }
        shadows.asked(here);
        for (point, real) in shadows.curve().points().iter().flatten().zip(&real) {
            let [objects, bytes] = percent(real);
            off[0].push((point.hit_ratio * 100.0 - objects).abs());
            off[1].push((point.byte_hit_ratio * 100.0 - bytes).abs());
        }
    }
    off.map(|off| {
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        let most = off.iter().copied().fold(0.0, f64::max);
        format!("{mean:.1}, {most:.1}")
    })
}

/// All of its bits are used (the finalizer of `SplitMix64`); every salt makes other hashes.
fn hash(key: usize, salt: u64) -> u64 {
    let mix = |value: u64| {
        let mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    mix(mix(salt) ^ key as u64)
}
