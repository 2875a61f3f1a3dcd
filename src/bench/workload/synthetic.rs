//! Made-up requests without an end.

use fastrand::Rng;

use super::{Ask, Sizes, Zipf};

/// Objects by popularity after Zipf. With churn, popularity is recency: new objects come, are asked
/// for much, then less, then never again, as on news and social sites.
#[derive(Debug)]
pub(in crate::bench) struct Synthetic {
    /// The path that all are below, without a slash at its end.
    pub(in crate::bench) base: String,
    /// How popular the objects are.
    pub(in crate::bench) ranks: Zipf,
    /// How large.
    pub(in crate::bench) sizes: Sizes,
    /// How often, from 0 to 1, a request is for an object that was never asked for.
    pub(in crate::bench) churn: f64,
    /// Where sizes and draws come from.
    pub(in crate::bench) seed: u64,
    /// The source of chance.
    pub(in crate::bench) random: Rng,
    /// Objects that have come so far.
    pub(in crate::bench) newest: u64,
}

impl Iterator for Synthetic {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        let number = if self.churn > 0.0 && self.random.f64() < self.churn {
            self.newest = self.newest.wrapping_add(1);
            self.newest
        } else {
            let rank = self.ranks.draw(&mut self.random) as u64;
            // Without churn the newest stays 0, and ranks count down from it just as well.
            self.newest.wrapping_sub(rank)
        };
        let number = number.wrapping_neg();
        let path = format!("{}/o{number}", self.base).parse().ok()?;
        Some(Ask::get(None, path, self.sizes.of(number, self.seed)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn synthetic(count: usize, exponent: f64, churn: f64) -> Synthetic {
        Synthetic {
            base: "/base".to_owned(),
            ranks: Zipf::new(count, exponent),
            sizes: Sizes::Between(10, 1_000),
            churn,
            seed: 1,
            random: Rng::with_seed(1),
            newest: 0,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let some = |synthetic: Synthetic| synthetic.take(100).collect::<Vec<_>>();
        let first = some(synthetic(50, 0.9, 0.1));
        assert_eq!(first, some(synthetic(50, 0.9, 0.1)));
        assert!(first.iter().all(|ask| ask.path.as_str().starts_with("/base/o")));
    }

    #[test]
    fn without_churn_there_are_no_more_objects_than_were_asked_for() {
        let mut sizes = HashMap::new();
        for ask in synthetic(50, 0.0, 0.0).take(5_000) {
            let size = ask.wish.unwrap().size.unwrap();
            assert_eq!(*sizes.entry(ask.path.to_string()).or_insert(size), size);
        }
        assert_eq!(sizes.len(), 50);
        assert!(sizes.contains_key("/base/o0") && sizes.contains_key("/base/o49"));
    }

    #[test]
    fn with_churn_old_objects_are_forgotten() {
        let asks: Vec<_> = synthetic(10, 0.9, 0.5).take(4_000).map(|ask| ask.path).collect();
        let early: std::collections::HashSet<_> = asks[..1_000].iter().collect();
        let late = asks[3_000..].iter().filter(|path| early.contains(path)).count();
        assert!(early.len() > 300, "{}", early.len());
        assert_eq!(late, 0);
    }
}
