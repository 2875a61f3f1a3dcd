//! Popularity after Zipf: the k-th most popular of n has a share in proportion to 1 / k^s.

use fastrand::Rng;

/// Ranks, drawn by inversion of a table of sums: exact for every exponent, none included, and a
/// binary search for each draw. A crate for this would bring a second source of random numbers.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Zipf {
    /// Weights up to and with each rank.
    sums: Vec<f64>,
}

impl Zipf {
    /// Over `count` ranks, at least one, 8 bytes each; an `exponent` of 0 makes all alike.
    pub(in crate::bench) fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count.max(1)).map(|rank| (rank as f64).powf(-exponent));
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self { sums: sums.collect() }
    }

    /// A rank from 0.
    pub(in crate::bench) fn draw(&self, random: &mut Rng) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        let drawn = random.f64() * total;
        // Rounding must not lead beyond the end.
        self.sums.partition_point(|&sum| sum <= drawn).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of the first ranks, and of all the others, in many draws.
    fn shares(count: usize, exponent: f64) -> [f64; 4] {
        const DRAWS: u32 = 200_000;
        let (zipf, mut random) = (Zipf::new(count, exponent), Rng::with_seed(7));
        let mut counts = [0_u32; 4];
        for _ in 0..DRAWS {
            counts[zipf.draw(&mut random).min(3)] += 1;
        }
        counts.map(|count| f64::from(count) / f64::from(DRAWS))
    }

    #[test]
    fn shares_are_those_of_the_law() {
        // 1 + 1/2 + 1/3 + 1/4 = 25/12.
        for (exponent, expected) in [
            (0.0, [0.25, 0.25, 0.25, 0.25]),
            (1.0, [12.0 / 25.0, 6.0 / 25.0, 4.0 / 25.0, 3.0 / 25.0]),
        ] {
            for (share, expected) in shares(4, exponent).iter().zip(expected) {
                assert!((share - expected).abs() < 0.005, "{exponent}: {share} for {expected}");
            }
        }
        assert!(shares(1, 0.9)[0] > 0.999);
    }
}
