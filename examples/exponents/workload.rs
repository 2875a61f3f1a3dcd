//! Requests to replay: from a trace, or made up.
#![expect(clippy::cast_sign_loss, reason = "nothing that is drawn is negative")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Requests of one that is made up, and the keys that it has beside those of scans.
const REQUESTS: usize = 300_000;
const KEYS: usize = 40_000;

/// Requests in order, by number of key, and each key's size in bytes.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) requests: Vec<usize>,
    pub(crate) sizes: Vec<u64>,
}

impl Workload {
    /// A trace with a header line and `timestamp,key,size` below it; a key's largest size counts.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let is_zstd = path.extension().is_some_and(|it| it == "zst");
        let bytes: Box<dyn Read> =
            if is_zstd { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
        let (mut numbers, mut requests, mut sizes) = (HashMap::new(), Vec::new(), Vec::new());
        for line in BufReader::new(bytes).lines() {
            let line = line?;
            let mut fields = line.splitn(3, ',').skip(1);
            let (Some(key), Some(size)) = (fields.next(), fields.next()) else { continue };
            let Ok(size) = size.trim().parse::<u64>() else { continue };
            let next = sizes.len();
            let number = *numbers.entry(key.to_owned()).or_insert(next);
            if number == next {
                sizes.push(size);
            }
            sizes[number] = size.max(sizes[number]);
            requests.push(number);
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { name: name.unwrap_or_default(), requests, sizes })
    }

    /// Bytes of all that is asked for, each once.
    pub(crate) fn footprint(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Workloads whose ways are known: popularity by Zipf's law with sizes of no, of the same and of
    /// the opposite order, scans, a loop, bursts, and popularity that shifts.
    pub(crate) fn made_up() -> Vec<Self> {
        let mut random = fastrand::Rng::with_seed(3);
        let law = Zipf::new(KEYS, 0.9);
        let mut drawn = || (0..REQUESTS).map(|_| law.draw(&mut random)).collect::<Vec<_>>();
        let named =
            |name: &str, keys: Vec<usize>, size: fn(usize) -> f64| Self::of(name, &keys, size);
        let mut all = vec![
            named("Zipf, sizes at random", drawn(), any_size),
            named("Zipf, the popular are small", drawn(), |key| 500.0 * (key as f64 + 1.0).sqrt()),
            named("Zipf, the popular are large", drawn(), |key| 2e6 / (key as f64 + 1.0).sqrt()),
            named("Zipf, one size", drawn(), |_| 10_000.0),
        ];
        // A third are scans of ten thousand keys that never come again.
        let scans = drawn().into_iter().enumerate().map(|(at, key)| match at % 30_000 {
            20_000.. => KEYS + at,
            _ => key,
        });
        all.push(named("scans", scans.collect(), any_size));
        // Every other request is the next of a loop.
        let looped = drawn().into_iter().enumerate().map(|(at, key)| match at % 2 {
            0 => KEYS + at / 2 % 15_000,
            _ => key,
        });
        all.push(named("a loop", looped.collect(), any_size));
        all.push(named("bursts", bursts(), any_size));
        // Every forty thousand requests, others are popular.
        let shifted = drawn().into_iter().enumerate();
        let shifted = shifted.map(|(at, key)| (key * 7919 + at / 40_000 * 13_577) % KEYS);
        all.push(named("popularity shifts", shifted.collect(), any_size));
        all
    }

    /// With the keys' sizes, renumbered so that there are no gaps.
    fn of(name: &str, keys: &[usize], size: fn(usize) -> f64) -> Self {
        let (mut numbers, mut sizes) = (HashMap::new(), Vec::new());
        let number = |key: &usize| {
            *numbers.entry(*key).or_insert_with(|| {
                sizes.push(size(*key).clamp(100.0, 2e7) as u64);
                sizes.len() - 1
            })
        };
        let requests = keys.iter().map(number).collect();
        Self { name: name.to_owned(), requests, sizes }
    }
}

/// Log-normal, whatever the key: a median of 12 kB.
fn any_size(key: usize) -> f64 {
    let mut random = fastrand::Rng::with_seed(key as u64);
    let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    (9.4 + 1.5 * normal).exp()
}

/// Three hundred keys at a time are asked for a few times, and never again.
fn bursts() -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(5);
    let mut next = 300;
    let mut active: Vec<usize> = (0..next).collect();
    let mut one = || {
        let place = random.usize(..active.len());
        let key = active[place];
        if random.f64() < 0.2 {
            active[place] = next;
            next += 1;
        }
        key
    };
    (0..REQUESTS).map(|_| one()).collect()
}

/// Zipf's law over a number of keys, the most popular first.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let at = random.f64() * self.0.last().copied().unwrap_or(1.0);
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}
