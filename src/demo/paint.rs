//! Colour for the demo's lines, where somebody looks at them.

use std::io::{self, IsTerminal};

/// What a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// What to look at.
    Bold,
    /// What may be passed over.
    Dim,
    /// Answered without the origin.
    Good,
    /// Answered with less work for the origin.
    Spared,
    /// Old, but answered.
    Old,
    /// Work for the origin.
    Work,
    /// Failed.
    Bad,
}

/// Whether to colour at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// As standard output and `NO_COLOR` want it.
    pub(super) fn of_stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    /// Never.
    #[cfg(test)]
    pub(super) const fn none() -> Self {
        Self(false)
    }

    /// `text` in `ink`.
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        if self.0 { format!("\x1b[{}m{text}\x1b[0m", ink.code()) } else { text.to_owned() }
    }
}

impl Ink {
    /// Of a word of the access log.
    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "hit" => Self::Good,
            "revalidated" | "collapsed" => Self::Spared,
            "stale" => Self::Old,
            "error" => Self::Bad,
            _ => Self::Work,
        }
    }

    /// The parameter of "select graphic rendition" (ECMA-48).
    const fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Good => 32,
            Self::Spared => 36,
            Self::Old => 33,
            Self::Work => 35,
            Self::Bad => 31,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_around_the_text() {
        assert_eq!(Paint(true).paint(Ink::Good, "hit"), "\x1b[32mhit\x1b[0m");
        assert_eq!(Paint::none().paint(Ink::Good, "hit"), "hit");
    }
}
