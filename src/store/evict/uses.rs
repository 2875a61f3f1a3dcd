//! What uses count for.

/// What an object's uses of late count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// As many as there were: what was asked for often outlives what was asked for lately.
    All,
    /// The more there were, the less for each, and three at most. Where size does not count, the
    /// floor rises by one with each turnover of the memory, so that nobody who is asked for no more
    /// outlives three of them, however often it was asked for before. A few large downloads that
    /// come and go weigh more than all the rest there, and it is lately that tells of them.
    Few,
}

/// What one, two, three and four uses count for: their number to the power of 3/4.
const FIRST: [f64; 4] = [1.0, 1.681_792_830_507_429, 2.279_507_056_954_777_5, 2.828_427_124_746_19];

/// What more count for.
const MOST: f64 = 3.0;

impl Uses {
    /// What it counts that a key was asked for `times` before, and now.
    pub(super) fn again(self, times: u8) -> f64 {
        match self {
            Self::All => f64::from(times) + 1.0,
            Self::Few => FIRST.get(usize::from(times)).copied().unwrap_or(MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_uses_count_for_less_each_and_no_more_than_three() {
        for (times, counted) in (0..4).zip(FIRST) {
            let uses = f64::from(times) + 1.0;
            assert!((uses.powf(0.75) - counted).abs() < 1e-12, "{times}");
            assert!((Uses::Few.again(times) - counted).abs() < 1e-12);
            assert!((Uses::All.again(times) - uses).abs() < 1e-12);
        }
        assert!((4..=u8::MAX).all(|times| Uses::Few.again(times) <= MOST));
        assert!((Uses::All.again(u8::MAX) - 256.0).abs() < 1e-12);
    }
}
