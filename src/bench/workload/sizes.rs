//! How large made-up objects are.

use fastrand::Rng;

/// Bytes of body. An object's size follows from its number, so that it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// All the same.
    Fixed(u64),
    /// From the first to the last, each order of magnitude as often as another.
    Between(u64, u64),
}

impl Sizes {
    /// That of object `number`.
    pub(in crate::bench) fn of(self, number: u64, seed: u64) -> u64 {
        match self {
            Self::Fixed(size) => size,
            Self::Between(least, most) => {
                let share = Rng::with_seed(number ^ seed.rotate_left(32)).f64();
                let low = (least.max(1) as f64).ln();
                let high = (most.max(1) as f64).ln();
                #[expect(clippy::cast_sign_loss, reason = "a power of e is positive")]
                let size = (low + share * (high - low)).exp().round() as u64;
                size.clamp(least, most)
            }
        }
    }

    /// The largest there are.
    pub(in crate::bench) fn most(self) -> u64 {
        match self {
            Self::Fixed(size) | Self::Between(_, size) => size,
        }
    }
}

impl std::str::FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = |text: &str| seawall::config::size(text).map_err(|error| error.to_string());
        let Some((least, most)) = text.split_once("..") else {
            return size(text).map(Self::Fixed);
        };
        let (least, most) = (size(least)?, size(most)?);
        if least > most {
            return Err("the first size is above the last".to_owned());
        }
        Ok(Self::Between(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!("16KiB".parse(), Ok(Sizes::Fixed(16_384)));
        assert_eq!("1KB..2MB".parse(), Ok(Sizes::Between(1_000, 2_000_000)));
        for text in ["", "16", "1KB..", "2MB..1KB", "1..2"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_object_keeps_its_size_and_magnitudes_are_even() {
        let sizes = Sizes::Between(1_000, 1_000_000);
        let drawn: Vec<_> = (0..3_000).map(|number| sizes.of(number, 1)).collect();
        assert!(drawn.iter().all(|size| (1_000..=1_000_000).contains(size)));
        let small = drawn.iter().filter(|size| **size < 10_000).count();
        assert!((900..1_100).contains(&small), "a third: {small}");
        assert_eq!(sizes.of(5, 1), sizes.of(5, 1));
        assert_ne!(sizes.of(5, 1), sizes.of(5, 2));
        assert_eq!(Sizes::Between(0, 0).of(1, 1), 0);
    }
}
