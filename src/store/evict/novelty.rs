//! How much a newcomer is worth: what became of those before it.

/// Newcomers after which what is known counts half, as a share of the residents: a scan should be
/// seen through before it has displaced many of them.
const MEMORY_DIVISOR: usize = 16;

/// That many at least, or chance would decide.
const LEAST_MEMORY: usize = 64;

/// Counts newcomers, those never seen before, and how many of them are asked for again.
#[derive(Debug)]
pub(super) struct Novelty {
    came: f64,
    again: f64,
}

impl Novelty {
    pub(super) fn new() -> Self {
        // Until there is experience, one is as good as another's second request.
        Self { came: 1.0, again: 1.0 }
    }

    /// One has come, to a store with so many residents.
    pub(super) fn came(&mut self, residents: usize) {
        self.came += 1.0;
        if self.came > (residents / MEMORY_DIVISOR).max(LEAST_MEMORY) as f64 {
            self.came /= 2.0;
            self.again /= 2.0;
        }
    }

    /// One of them was asked for again.
    pub(super) fn again(&mut self) {
        self.again += 1.0;
    }

    /// Uses that may be expected of one, at most 1: by Good and Turing, what was seen once is seen
    /// again at twice the rate of those seen twice to those seen once.
    pub(super) fn worth(&self) -> f64 {
        (2.0 * self.again / self.came).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_makes_newcomers_worthless_and_a_burst_makes_them_worth_a_use() {
        let mut novelty = Novelty::new();
        assert!(novelty.worth() > 0.99);
        (0..100_000).for_each(|_| novelty.came(1000));
        assert!(novelty.worth() < 0.01);
        (0..10_000).for_each(|_| {
            novelty.came(1000);
            novelty.again();
        });
        assert!(novelty.worth() > 0.8);
    }
}
