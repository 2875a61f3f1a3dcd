//! Where something stands in the fleet's sequence of purges: an epoch, and the id of an entry.

use std::fmt;

/// The life of one stream: a stream that is lost and begun anew has another one. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

/// The id of an entry in the stream: `MILLISECONDS-NUMBER`, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// The time at which it was added, by Redis' clock.
    pub millis: u64,
    /// Its number among those of the same millisecond.
    pub number: u64,
}

/// A place in the sequence: all entries of the epoch up to this one, and no later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Of which stream.
    pub epoch: Epoch,
    /// The last entry.
    pub id: StreamId,
}

impl Epoch {
    /// One that there never was.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(1..))
    }

    /// From its number; `None` for zero.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// From 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 16)?;
        u64::from_str_radix(text, 16).ok().and_then(Self::new)
    }
}

impl StreamId {
    /// As Redis writes it.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (millis, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { millis: millis.parse().ok()?, number: number.parse().ok()? })
    }

    /// The one before: there is none in between.
    #[must_use]
    pub const fn before(self) -> Self {
        match (self.millis, self.number) {
            (0, 0) => self,
            (millis, 0) => Self { millis: millis - 1, number: u64::MAX },
            (millis, number) => Self { millis, number: number - 1 },
        }
    }
}

impl Position {
    /// `EPOCH:ID`, as it is shown.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let colon = text.iter().position(|byte| *byte == b':')?;
        let (epoch, id) = (text.get(..colon)?, text.get(colon + 1..)?);
        Some(Self { epoch: Epoch::parse(epoch)?, id: StreamId::parse(id)? })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_shown_and_nothing_else_is() {
        let id = StreamId { millis: 1_795_387_234_123, number: 7 };
        let position = Position { epoch: Epoch::random(), id };
        assert_eq!(Position::parse(position.to_string().as_bytes()), Some(position));
        for text in ["", ":", "1:2-3", "0000000000000000:1-1", "00000000000000ab:1", "x-1"] {
            assert_eq!(Position::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_between_an_id_and_the_one_before() {
        let id = |millis, number| StreamId { millis, number };
        assert_eq!(id(5, 3).before(), id(5, 2));
        assert_eq!(id(5, 0).before(), id(4, u64::MAX));
        assert_eq!(id(0, 0).before(), id(0, 0));
        assert!(id(4, u64::MAX) < id(5, 0));
    }
}
