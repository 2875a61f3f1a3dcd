//! What is asked for, in which order. A workload is an iterator of [`Ask`]s: whatever reads or
//! makes requests can be one.

mod list;
mod logged;
mod sizes;
mod synthetic;
mod zipf;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method};
pub(super) use list::List;
pub(super) use logged::{Log, Sending};
use seawall::forecast::Reading;
pub(super) use sizes::Sizes;
pub(super) use synthetic::Synthetic;
pub(super) use zipf::Zipf;

use super::origin::Wish;
use crate::logs::LogError;

/// Bound on a line of a file, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// A request to send.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ask {
    /// When, since wherever the workload counts from; `None` where it has no times.
    pub(super) at: Option<Duration>,
    /// Its method.
    pub(super) method: Method,
    /// The host to ask for, where it is not that of the URL on the command line.
    pub(super) host: Option<Authority>,
    /// What to ask for.
    pub(super) path: PathAndQuery,
    /// Fields of its own.
    pub(super) fields: HeaderMap,
    /// What the bench's own origin is to answer with.
    pub(super) wish: Option<Wish>,
}

impl Ask {
    /// A plain GET, to be answered with `size` bytes.
    fn get(host: Option<Authority>, path: PathAndQuery, size: u64) -> Self {
        let wish = Some(Wish { size: Some(size), ..Wish::default() });
        Self { at: None, method: Method::GET, host, path, fields: HeaderMap::new(), wish }
    }
}

/// Requests in their order. `next` is called by threads that have answers to read, so it may wait
/// for a disk, not for a network.
pub(super) type Asks = Box<dyn Iterator<Item = Ask> + Send>;

/// What was wrong with a workload, found out while it is used.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

/// See [`Notes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Lines that say nothing of a request.
    pub(super) broken: u64,
    /// The number of the first of them, from 1.
    pub(super) first_broken: u64,
    /// Why reading ended before the end.
    pub(super) failed: Option<String>,
    /// Requests that were not sent: by methods that may do harm, or for what has no path.
    pub(super) left_out: u64,
}

impl Notes {
    /// What was noted while a log was read.
    pub(super) fn of(reading: &Reading) -> Self {
        let broken = || reading.broken.values();
        Self(Arc::new(Mutex::new(Noted {
            broken: broken().map(|lines| lines.count).sum(),
            first_broken: broken().map(|lines| lines.line).min().unwrap_or(0),
            failed: (!reading.failed.is_empty()).then(|| reading.failed.join(", ")),
            left_out: 0,
        })))
    }

    /// A request that is not sent.
    fn left_out(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).left_out += 1;
    }

    /// All of it so far.
    pub(super) fn read(&self) -> Noted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why there is no workload.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkloadError {
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file can't be opened or read.
    #[error("cannot read {}: {cause}", .file.display())]
    Read {
        /// Its name.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is compressed.
    #[error("{} is compressed; unpack it first", .0.display())]
    Compressed(PathBuf),
    /// It has no line that could be asked for.
    #[error("{} names nothing to ask for", .0.display())]
    Empty(PathBuf),
    /// A line of a list is none.
    #[error("{}:{line}: this is neither a path nor a URL", .file.display())]
    Line {
        /// Its name.
        file: PathBuf,
        /// Which line, from 1.
        line: u64,
    },
    /// A list is longer than is kept in memory.
    #[error("{} has more than {most} lines; give it as --log", .file.display())]
    TooLong {
        /// Its name.
        file: PathBuf,
        /// The bound.
        most: usize,
    },
}

/// The path below `base`, which ends with no slash, and the host, where the text has one.
fn locate(base: &str, text: &str) -> Option<(Option<Authority>, PathAndQuery)> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if let Some(rest) = rest {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = rest[..end].parse().ok()?;
        return Some((Some(host), path(&rest[end..])?));
    }
    let below = text.strip_prefix('/')?;
    Some((None, path(&format!("{base}/{below}"))?))
}

/// Without its fragment, which no server is told of; an empty one is `/`.
fn path(text: &str) -> Option<PathAndQuery> {
    let text = text.split('#').next().unwrap_or_default();
    if text.starts_with('/') { text.parse() } else { format!("/{text}").parse() }.ok()
}

/// A path below `base`, another one for each name; none for `.` and `..`, of which caches make
/// something else, and for names with a NUL, which they refuse.
fn path_of_name(base: &str, name: &[u8]) -> Option<PathAndQuery> {
    if matches!(name, b"." | b"..") || name.contains(&0) {
        return None;
    }
    let mut path = String::with_capacity(base.len() + 1 + name.len());
    path.push_str(base);
    path.push('/');
    for &byte in name {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'=' | b'&' => path.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => path.push(char::from(byte)),
            _ => path.extend(escaped(byte)),
        }
    }
    path.parse().ok()
}

/// `%` and two digits (RFC 3986 §2.1).
fn escaped(byte: u8) -> [char; 3] {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0').to_ascii_uppercase();
    ['%', digit(byte >> 4), digit(byte & 15)]
}

/// Opens a file; `-` is standard input.
fn open(file: &Path) -> Result<Box<dyn io::BufRead + Send>, WorkloadError> {
    let failed = |cause| WorkloadError::Read { file: file.to_owned(), cause };
    let mut reader: Box<dyn io::BufRead + Send> = if file == Path::new("-") {
        Box::new(io::BufReader::new(io::stdin()))
    } else {
        Box::new(io::BufReader::with_capacity(
            256 * 1024,
            std::fs::File::open(file).map_err(failed)?,
        ))
    };
    // A directory is told by its first read.
    match reader.fill_buf().map_err(failed)? {
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Err(WorkloadError::Compressed(file.to_owned()))
        }
        _ => Ok(reader),
    }
}

/// Reads a line without its end into `line`; `None` at the end of the file, `false` for one that
/// is too long, of which nothing is kept.
fn read_line(reader: &mut dyn io::BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    use io::{BufRead, Read};
    line.clear();
    if reader.take(MAX_LINE).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        line.clear();
        reader.skip_until(b'\n')?;
        return Ok(Some(false));
    }
    while line.last().is_some_and(u8::is_ascii_whitespace) {
        line.pop();
    }
    Ok(Some(true))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_says_its_host_and_a_path_goes_below_the_base() {
        for (text, host, path) in [
            ("/a?b=1", None, "/base/a?b=1"),
            ("/", None, "/base/"),
            ("http://h.example:81/a#part", Some("h.example:81"), "/a"),
            ("https://h.example", Some("h.example"), "/"),
            ("http://h.example?q", Some("h.example"), "/?q"),
        ] {
            let (found, at) = locate("/base", text).unwrap();
            assert_eq!(found.as_ref().map(Authority::as_str), host, "{text}");
            assert_eq!(at.as_str(), path, "{text}");
        }
        for text in ["", "a", "ftp://h/", "http:///a", "/a b", "http://h h/"] {
            assert_eq!(locate("", text), None, "{text}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let long = "x".repeat(2 * MAX_LINE as usize);
        let text = format!("a \r\n{long}\n\nb");
        let (mut reader, mut line) = (text.as_bytes(), Vec::new());
        let mut read = Vec::new();
        while let Some(is_whole) = read_line(&mut reader, &mut line).unwrap() {
            read.push((is_whole, String::from_utf8(line.clone()).unwrap()));
        }
        let expected = [(true, "a"), (false, ""), (true, ""), (true, "b")];
        assert_eq!(read, expected.map(|(is_whole, text)| (is_whole, text.to_owned())));
    }

    proptest! {
        #[test]
        fn different_names_have_different_normal_paths(
            a in prop::collection::vec(any::<u8>(), 1..12),
            b in prop::collection::vec(any::<u8>(), 1..12),
        ) {
            let normal = |name: &[u8]| {
                let path = path_of_name("/base", name)?;
                Some(seawall::key::normalize_path(path.as_str()).unwrap().into_owned())
            };
            let (first, second) = (normal(&a), normal(&b));
            let is_refused = |name: &[u8]| name.contains(&0) || matches!(name, b"." | b"..");
            prop_assert_eq!(first.is_none(), is_refused(&a));
            prop_assert!(first.as_ref().is_none_or(|path| path.starts_with("/base/")));
            // Those that are refused have no path to be compared.
            prop_assert!(first.is_none() || (first == second) == (a == b));
        }
    }
}
