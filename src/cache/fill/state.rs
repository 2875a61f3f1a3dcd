//! The bytes of a fill and who reads them; plain data under the fill's lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use slab::Slab;

use super::End;
use crate::body::Blocks;
use crate::error::ErrorKind;

/// Arrivals below this many bytes are gathered in a tail; larger ones become blocks of their own.
const SMALL: usize = 16 * 1024;
/// The tail becomes a block at this size.
const BLOCK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct State {
    /// Sealed blocks with the offset of their first byte.
    blocks: VecDeque<(u64, Bytes)>,
    /// What comes after the blocks, not shared yet: readers that have caught up copy from it.
    tail: BytesMut,
    /// Offset of the tail's first byte.
    tail_start: u64,
    pub(super) end: Option<End>,
    /// The body as it is stored, once it is whole.
    pub(super) whole: Option<Arc<Blocks>>,
    /// In a pass-through: how many bytes may be held. What all readers have read is dropped.
    pub(super) window: Option<u64>,
    readers: Slab<Reader>,
    /// The writer, when it waits for readers to come or go on.
    pub(super) writer: Option<Waker>,
}

#[derive(Debug)]
struct Reader {
    position: u64,
    waker: Option<Waker>,
    cut: bool,
}

/// What a reader finds at its position.
pub(super) enum Next {
    Data(Bytes),
    /// Everything is in memory: read on from there without the lock.
    Whole(Arc<Blocks>, Option<http::HeaderMap>),
    End(End),
    Wait,
    Cut,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            blocks: VecDeque::new(),
            tail: BytesMut::new(),
            tail_start: 0,
            end: None,
            whole: None,
            window: None,
            readers: Slab::new(),
            writer: None,
        }
    }

    /// Bytes that have arrived.
    pub(super) fn len(&self) -> u64 {
        self.tail_start + self.tail.len() as u64
    }

    /// Offset of the first byte still held.
    fn start(&self) -> u64 {
        self.blocks.front().map_or(self.tail_start, |(start, _)| *start)
    }

    /// Bytes held.
    pub(super) fn held(&self) -> u64 {
        self.len() - self.start()
    }

    pub(super) fn join(&mut self, start: u64) -> Option<usize> {
        let failed = matches!(self.end, Some(End::Failed(_)));
        let gone = self.whole.is_none() && self.start() > start;
        if failed || gone {
            return None;
        }
        let id = self.readers.insert(Reader { position: start, waker: None, cut: false });
        self.wake_writer();
        Some(id)
    }

    pub(super) fn leave(&mut self, id: usize) {
        if self.readers.try_remove(id).is_some() {
            self.drop_read();
            self.wake_writer();
        }
    }

    pub(super) fn has_readers(&self) -> bool {
        self.readers.iter().any(|(_, reader)| !reader.cut)
    }

    /// Fails the fill unless somebody reads it, and says whether it did.
    pub(super) fn abandon(&mut self) -> bool {
        let unread = !self.has_readers();
        if unread {
            self.finish(End::Failed(ErrorKind::FetchAbandoned), None);
        }
        unread
    }

    /// The position of the reader that has read least.
    pub(super) fn slowest(&self) -> Option<u64> {
        let reading = self.readers.iter().filter(|(_, reader)| !reader.cut);
        reading.map(|(_, reader)| reader.position).min()
    }

    /// Cuts every reader that stands at `position` or before.
    pub(super) fn cut(&mut self, position: u64) {
        for (_, reader) in &mut self.readers {
            if reader.position <= position {
                reader.cut = true;
                wake(&mut reader.waker);
            }
        }
        self.drop_read();
    }

    /// Reserves the tail for a body of `length` bytes, so that a small one is held in one block.
    pub(super) fn expect(&mut self, length: u64) {
        if let Ok(length) = usize::try_from(length)
            && length <= BLOCK
        {
            self.tail.reserve(length);
        }
    }

    pub(super) fn append(&mut self, data: &[u8]) {
        let fits = self.tail.capacity() - self.tail.len() >= data.len();
        if data.len() >= SMALL && !fits {
            self.seal();
            // A copy of exact size: a slice of the origin connection's buffer would pin all of it.
            self.blocks.push_back((self.tail_start, Bytes::copy_from_slice(data)));
            self.tail_start += data.len() as u64;
        } else {
            self.tail.extend_from_slice(data);
            if self.tail.len() >= BLOCK {
                self.seal();
            }
        }
        self.wake_readers();
    }

    /// Makes the tail a block of exact size.
    fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let slack = self.tail.capacity() - self.tail.len();
        let block = if slack > self.tail.len() / 16 {
            let block = Bytes::copy_from_slice(&self.tail);
            self.tail.clear();
            block
        } else {
            std::mem::take(&mut self.tail).freeze()
        };
        let len = block.len() as u64;
        self.blocks.push_back((self.tail_start, block));
        self.tail_start += len;
    }

    /// Takes all blocks; only for a body of which every byte is held.
    pub(super) fn take_blocks(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.seal();
        self.tail = BytesMut::new();
        std::mem::take(&mut self.blocks).into_iter().map(|(_, block)| block)
    }

    pub(super) fn finish(&mut self, end: End, whole: Option<Arc<Blocks>>) {
        self.end = Some(end);
        self.whole = whole;
        self.wake_readers();
    }

    pub(super) fn next(&mut self, id: usize, position: u64, end: u64, waker: &Waker) -> Next {
        if self.readers.get(id).is_none_or(|reader| reader.cut) {
            return Next::Cut;
        }
        if let Some(whole) = &self.whole {
            let trailers = match &self.end {
                Some(End::Whole(trailers)) => trailers.clone(),
                _ => None,
            };
            return Next::Whole(Arc::clone(whole), trailers);
        }
        if position < self.len() {
            let data = self.read(position, end);
            self.place(id, position + data.len() as u64, None);
            return Next::Data(data);
        }
        if let Some(end) = &self.end {
            return Next::End(end.clone());
        }
        self.place(id, position, Some(waker));
        Next::Wait
    }

    /// Notes where a reader stands, and whom to wake when there is more.
    fn place(&mut self, id: usize, position: u64, waker: Option<&Waker>) {
        if let Some(reader) = self.readers.get_mut(id) {
            reader.position = position;
            reader.waker = waker.cloned();
        }
        self.progress();
    }

    /// Bytes from `position` on, as many as stand together; not past `end`.
    fn read(&self, position: u64, end: u64) -> Bytes {
        let most = |available: usize| {
            usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX).min(available)
        };
        if position >= self.tail_start {
            let skip = (position - self.tail_start) as usize;
            let tail = &self.tail[skip..];
            return Bytes::copy_from_slice(&tail[..most(tail.len())]);
        }
        let after = self.blocks.partition_point(|(start, _)| *start <= position);
        match after.checked_sub(1).and_then(|index| self.blocks.get(index)) {
            Some((start, block)) => {
                let rest = block.slice((position - start) as usize..);
                rest.slice(..most(rest.len()))
            }
            None => Bytes::new(),
        }
    }

    /// A reader moved: what nobody needs any more goes, and the writer may go on.
    fn progress(&mut self) {
        if self.window.is_some() {
            self.drop_read();
            self.wake_writer();
        }
    }

    /// In a window, drops the blocks that every reader has read.
    pub(super) fn drop_read(&mut self) {
        if self.window.is_none() {
            return;
        }
        let keep = self.slowest().unwrap_or_else(|| self.len());
        while self.blocks.front().is_some_and(|(start, block)| start + block.len() as u64 <= keep) {
            self.blocks.pop_front();
        }
        if keep >= self.len() {
            let keep = self.len();
            self.tail_start = keep;
            self.tail.clear();
        }
    }

    fn wake_readers(&mut self) {
        for (_, reader) in &mut self.readers {
            wake(&mut reader.waker);
        }
    }

    fn wake_writer(&mut self) {
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
