//! A list of URLs, in its order and again from the start, or by popularity after Zipf.

use std::path::Path;

use fastrand::Rng;

use super::{Ask, Sizes, WorkloadError, Zipf, locate, open, read_line};

/// Bound on lines kept in memory.
const MOST: usize = 1_000_000;

/// Paths or URLs, one a line.
#[derive(Debug)]
pub(in crate::bench) struct List {
    asks: Vec<Ask>,
    order: Order,
}

/// Which of the list is next.
#[derive(Debug)]
enum Order {
    /// The one with this number, then the next.
    Listed(usize),
    /// The first line is the most popular.
    Drawn(Zipf, Rng),
}

impl List {
    /// Reads a file; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`WorkloadError`], also for a line that is neither a path nor a URL.
    pub(in crate::bench) fn read(
        file: &Path,
        base: &str,
        sizes: Sizes,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let (mut reader, mut line) = (open(file)?, Vec::new());
        let (mut asks, mut number) = (Vec::new(), 0);
        let failed = |cause| WorkloadError::Read { file: file.to_owned(), cause };
        while let Some(is_whole) = read_line(&mut reader, &mut line).map_err(failed)? {
            number += 1;
            let unreadable = || WorkloadError::Line { file: file.to_owned(), line: number };
            let text = std::str::from_utf8(&line).map_err(|_| unreadable())?.trim();
            if is_whole && (text.is_empty() || text.starts_with('#')) {
                continue;
            }
            if asks.len() == MOST {
                return Err(WorkloadError::TooLong { file: file.to_owned(), most: MOST });
            }
            let (host, path) = locate(base, text).ok_or_else(unreadable)?;
            // By its own name, so that it is the same wherever it stands.
            let name = path
                .as_str()
                .bytes()
                .fold(0_u64, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
            asks.push(Ask::get(host, path, sizes.of(name, seed)));
        }
        if asks.is_empty() {
            return Err(WorkloadError::Empty(file.to_owned()));
        }
        Ok(Self { asks, order: Order::Listed(0) })
    }

    /// Its lines.
    pub(in crate::bench) fn len(&self) -> usize {
        self.asks.len()
    }

    /// By popularity, instead of in order.
    pub(in crate::bench) fn drawn(mut self, exponent: f64, random: Rng) -> Self {
        self.order = Order::Drawn(Zipf::new(self.asks.len(), exponent), random);
        self
    }
}

impl Iterator for List {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        let number = match &mut self.order {
            Order::Listed(next) => {
                let number = *next;
                *next = (number + 1) % self.asks.len();
                number
            }
            Order::Drawn(ranks, random) => ranks.draw(random),
        };
        self.asks.get(number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::file;

    fn read(text: &str) -> Result<List, WorkloadError> {
        let file = file("list", text);
        List::read(file.path(), "", Sizes::Fixed(5), 1)
    }

    #[test]
    fn a_list_is_played_in_order_and_again() {
        let list = read("/a\n# nothing\n\nhttp://h.example/b?c\n/a\n").unwrap();
        assert_eq!(list.len(), 3);
        let asks: Vec<_> = list.take(4).map(|ask| ask.path.to_string()).collect();
        assert_eq!(asks, ["/a", "/b?c", "/a", "/a"]);
    }

    #[test]
    fn the_first_line_is_the_most_popular() {
        let list = read("/a\n/b\n/c\n").unwrap().drawn(1.5, Rng::with_seed(1));
        let first = list.take(1_000).filter(|ask| ask.path == "/a").count();
        assert!((500..700).contains(&first), "{first}");
    }

    #[test]
    fn a_bad_list_says_where() {
        assert!(
            read("/a\nb\n")
                .unwrap_err()
                .to_string()
                .ends_with(":2: this is neither a path nor a URL")
        );
        assert!(matches!(read("# nothing\n"), Err(WorkloadError::Empty(_))));
        assert!(matches!(read("/a\n\u{1f}\u{8b}"), Err(WorkloadError::Line { line: 2, .. })));
        let missing = List::read(Path::new("/nowhere/list"), "", Sizes::Fixed(5), 1);
        assert!(matches!(missing, Err(WorkloadError::Read { .. })));
        let directory = List::read(Path::new("/"), "", Sizes::Fixed(5), 1);
        assert!(matches!(directory, Err(WorkloadError::Read { .. })));
    }
}
