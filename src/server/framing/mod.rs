//! A strict reading of where the requests of an HTTP/1 connection begin and end (RFC 9112 §2, §6,
//! §7.1), beside hyper's.
//!
//! hyper forgives what a reader further down the line may read in another way, and hides that it
//! did: `Content-Length` beside `Transfer-Encoding`, lines that end in a bare LF, fragments, spaces
//! after a chunk's size. What is wrong here never reaches it. The rest of the syntax is hyper's to
//! refuse; both read the same lines.

mod chunks;
mod head;

use chunks::Chunks;
use head::{Content, Head};

/// Follows a connection's bytes. Bodies are skipped by arithmetic, and nothing is allocated unless
/// a line of a head comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    place: Place,
}

/// Where in the stream the next byte stands.
#[derive(Debug)]
enum Place {
    Head(Head),
    /// In content with this many bytes to come.
    Length(u64),
    Chunked(Chunks),
}

impl Default for Place {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

/// What was found in bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing is wrong.
    Sound,
    /// A request that asks for another protocol ends before this byte: what follows may not be
    /// HTTP.
    Upgrade(usize),
    /// The head that this byte belongs to is faulty, and ends at this byte or later.
    BadHead(usize),
    /// The content is faulty from this byte on.
    BadContent(usize),
}

/// How far a part of a request got with the bytes it was given.
enum Step<T> {
    /// It takes them all and wants more.
    More,
    /// It is complete, and so many bytes were its own.
    Done(usize, T),
    /// It is faulty at this byte.
    Fault(usize),
}

impl Reader {
    /// Reads on. After a fault there is nothing more to read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Finding {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.place {
                Place::Head(head) => match head.read(rest) {
                    Step::More => return Finding::Sound,
                    Step::Fault(fault) => return Finding::BadHead(at + fault),
                    Step::Done(read, request) => {
                        at += read;
                        self.place = match request.content {
                            Content::Length(0) => Place::default(),
                            Content::Length(length) => Place::Length(length),
                            Content::Chunked => Place::Chunked(Chunks::default()),
                        };
                        // With content, the upgrade would have to wait for its end, and no
                        // protocol in use sends any: its bytes are read as HTTP.
                        if request.upgrade && request.content == Content::Length(0) {
                            return Finding::Upgrade(at);
                        }
                    }
                },
                Place::Length(left) => {
                    let take = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= take as u64;
                    at += take;
                    if *left == 0 {
                        self.place = Place::default();
                    }
                }
                Place::Chunked(chunks) => match chunks.read(rest) {
                    Step::More => return Finding::Sound,
                    Step::Fault(fault) => return Finding::BadContent(at + fault),
                    Step::Done(read, ()) => {
                        at += read;
                        self.place = Place::default();
                    }
                },
            }
        }
        Finding::Sound
    }
}

#[cfg(test)]
mod tests;
