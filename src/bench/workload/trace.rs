//! A trace, `timestamp,key,size` a line, read while it is played.

use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

use super::{Ask, Notes, WorkloadError, locate, open, path_of_name, read_line};

/// The requests of a trace; what is no request is noted and left out.
pub(in crate::bench) struct Trace {
    reader: Box<dyn BufRead + Send>,
    base: String,
    notes: Notes,
    line: Vec<u8>,
    number: u64,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Trace {
    /// Opens a file; paths and keys go below `base`, which ends with no slash.
    ///
    /// # Errors
    /// [`WorkloadError`], where it can't be read.
    pub(in crate::bench) fn open(
        file: &Path,
        base: &str,
        notes: Notes,
    ) -> Result<Self, WorkloadError> {
        let reader = open(file)?;
        Ok(Self { reader, base: base.to_owned(), notes, line: Vec::new(), number: 0 })
    }
}

impl Iterator for Trace {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        loop {
            let is_whole = match read_line(&mut self.reader, &mut self.line) {
                Ok(Some(is_whole)) => is_whole,
                Ok(None) => return None,
                Err(error) => {
                    self.notes.failed(&error);
                    return None;
                }
            };
            self.number += 1;
            if is_whole && is_silent(&self.line, self.number) {
                continue;
            }
            match read(&self.base, &self.line) {
                Some(ask) => return Some(ask),
                None => self.notes.broken(self.number),
            }
        }
    }
}

/// An empty line, a comment, or names of columns in the first line.
fn is_silent(line: &[u8], number: u64) -> bool {
    match line.first() {
        None | Some(b'#') => true,
        Some(first) => number == 1 && first.is_ascii_alphabetic(),
    }
}

/// The first and the last comma count: a key may have some. It is a URL, a path, or any name.
fn read(base: &str, line: &[u8]) -> Option<Ask> {
    let line = line.trim_ascii();
    let first = line.iter().position(|&byte| byte == b',')?;
    let last = line.iter().rposition(|&byte| byte == b',').filter(|last| *last > first)?;
    let text = |bytes| std::str::from_utf8(bytes).ok().map(str::trim);
    let at: f64 = text(&line[..first])?.parse().ok()?;
    let at = Duration::try_from_secs_f64(at).ok()?;
    let size = text(&line[last + 1..])?.parse().ok()?;
    let key = &line[first + 1..last];
    let located = std::str::from_utf8(key).ok().and_then(|key| locate(base, key));
    let (host, path) = match located {
        Some(located) => located,
        None if key.is_empty() => return None,
        None => (None, path_of_name(base, key)?),
    };
    Some(Ask { at: Some(at), host, path, size: Some(size), latency: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::testing::file;

    #[test]
    fn a_line_is_time_key_and_size() {
        for (line, at, path, size) in [
            ("0,3593,2367", 0, "/base/3593", 2367),
            ("1.5,/a,b?c,7", 1_500, "/base/a,b?c", 7),
            ("2, a b ,0 ", 2_000, "/base/%20a%20b%20", 0),
            ("3,http://h.example/x,9", 3_000, "/x", 9),
        ] {
            let ask = read("/base", line.as_bytes()).unwrap();
            assert_eq!(ask.at, Some(Duration::from_millis(at)), "{line}");
            assert_eq!((ask.path.as_str(), ask.size), (path, Some(size)), "{line}");
        }
        for line in ["", "1,2", "1,,2", "x,key,7", "-1,key,7", "1e300,key,7", "1,key,-7", "1,key,"]
        {
            assert_eq!(read("", line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_counted_and_left_out() {
        let notes = Notes::default();
        let file =
            file("trace", "timestamp_s,key,size_bytes\n# a comment\n\n0,a,1\nb\n1,c,x\n2,d,4");
        let trace = Trace::open(file.path(), "", notes.clone()).unwrap();
        let paths: Vec<_> = trace.map(|ask| ask.path.to_string()).collect();
        assert_eq!(paths, ["/a", "/d"]);
        let found = notes.read();
        assert_eq!((found.broken, found.first_broken, found.failed), (2, 5, None));
    }

    #[test]
    fn a_compressed_trace_is_told() {
        let file = file("trace.gz", "\u{0}");
        std::fs::write(file.path(), [0x1f, 0x8b, 8, 0]).unwrap();
        let opened = Trace::open(file.path(), "", Notes::default());
        assert!(matches!(opened, Err(WorkloadError::Compressed(_))));
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = read("", &line);
        }
    }
}
