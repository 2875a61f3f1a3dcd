//! Where lines come from: files and standard input, plain or compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bound on a line, in bytes; longer ones are skipped.
pub(super) const MAX_LINE: usize = 1024 * 1024;

/// Looked at to find out the format, in bytes.
const BEGINNING: u64 = 64 * 1024;

/// Bytes read at a time.
const BUFFER: usize = 256 * 1024;

/// Text, line by line.
pub struct Source {
    reader: Box<dyn BufRead + Send>,
    beginning: Vec<u8>,
    size: Option<u64>,
    read: Arc<AtomicU64>,
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file can't be opened or read.
    #[error("cannot read {file}: {cause}")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        cause: io::Error,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Source {
    /// A file, or standard input for `-`. Whether it is compressed, by gzip or Zstandard, is told
    /// by its first bytes.
    ///
    /// # Errors
    /// [`SourceError`], where it can't be opened.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |cause| SourceError::Read { file: path.display().to_string(), cause };
        if path == Path::new("-") {
            return Self::new(io::stdin(), None).map_err(failed);
        }
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|it| it.len());
        Self::new(file, size).map_err(failed)
    }

    /// What `input` says, which is of `size` bytes if that is known.
    ///
    /// # Errors
    /// When its first bytes can't be read.
    pub fn new(input: impl Read + Send + 'static, size: Option<u64>) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let mut input = Counted { input, read: Arc::clone(&read) };
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic)?;
        let input = Cursor::new(magic.clone()).chain(input);
        let mut text: Box<dyn Read + Send> = match magic.as_slice() {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(
                BufReader::with_capacity(BUFFER, input),
            )),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(input)?),
            _ => Box::new(input),
        };
        let mut beginning = Vec::new();
        text.by_ref().take(BEGINNING).read_to_end(&mut beginning)?;
        let text = Cursor::new(beginning.clone()).chain(text);
        let reader = Box::new(BufReader::with_capacity(BUFFER, text));
        Ok(Self { reader, beginning, size, read })
    }

    /// The first lines, the last of them perhaps cut.
    #[must_use]
    pub fn beginning(&self) -> &[u8] {
        &self.beginning
    }

    /// Its size as it is stored, in bytes, if that is known.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Counts the bytes read of that, from any thread.
    #[must_use]
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// The text itself.
    #[must_use]
    pub fn into_text(self) -> Box<dyn BufRead + Send> {
        self.reader
    }

    /// Calls `take` with each line, without its end, or with `None` for one that is too long, until
    /// it says no.
    ///
    /// # Errors
    /// When reading fails midway, as at the end of a file that was cut.
    pub fn lines(mut self, mut take: impl FnMut(Option<&[u8]>) -> bool) -> io::Result<()> {
        let mut line = Vec::new();
        let mut is_too_long = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                let rest = (!is_too_long).then_some(line.as_slice());
                if is_too_long || !line.is_empty() {
                    take(rest);
                }
                return Ok(());
            }
            let Some(end) = memchr::memchr(b'\n', buffer) else {
                is_too_long |= line.len() + buffer.len() > MAX_LINE;
                if !is_too_long {
                    line.extend_from_slice(buffer);
                }
                let length = buffer.len();
                self.reader.consume(length);
                continue;
            };
            let last = buffer.get(..end).unwrap_or_default();
            let goes_on = if is_too_long || line.len() + last.len() > MAX_LINE {
                take(None)
            } else if line.is_empty() {
                take(Some(last))
            } else {
                line.extend_from_slice(last);
                take(Some(&line))
            };
            line.clear();
            is_too_long = false;
            self.reader.consume(end + 1);
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"one\n\ntwo\r\nthree";

    fn gz(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn lines(bytes: Vec<u8>) -> (Vec<Option<String>>, bool) {
        let mut lines = Vec::new();
        let source = Source::new(Cursor::new(bytes), None).unwrap();
        let read = source.lines(|line| {
            lines.push(line.map(|line| String::from_utf8_lossy(line).into_owned()));
            true
        });
        (lines, read.is_ok())
    }

    #[test]
    fn plain_and_compressed_text_is_the_same() {
        let expected = ["one", "", "two\r", "three"].map(|line| Some(line.to_owned())).to_vec();
        let members = [gz(&TEXT[..6]), gz(&TEXT[6..])].concat();
        let zst = zstd::encode_all(TEXT, 1).unwrap();
        for bytes in [TEXT.to_vec(), gz(TEXT), members, zst] {
            assert_eq!(lines(bytes), (expected.clone(), true));
        }
        assert_eq!(lines(Vec::new()), (Vec::new(), true));
        assert_eq!(lines(b"a".to_vec()), (vec![Some("a".to_owned())], true));
    }

    #[test]
    fn long_lines_are_skipped_and_a_cut_file_gives_what_it_has() {
        let long = vec![b'x'; MAX_LINE + 1];
        let text = [b"a\n", long.as_slice(), b"\nb\n", &long].concat();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines(text), (vec![some("a"), None, some("b"), None], true));
        let numbers: Vec<_> = (0..200_000).map(|number: u32| number.to_string()).collect();
        let whole = gz(numbers.join("\n").as_bytes());
        let (read, is_whole) = lines(whole[..whole.len() / 2].to_vec());
        assert!(!is_whole && read.len() > 10_000);
    }
}
