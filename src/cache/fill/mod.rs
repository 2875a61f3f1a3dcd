//! A body on its way in, read by many while it grows.
//!
//! One writer (the fill's own task) appends; readers follow at their own pace. While the body is
//! to be stored, every byte is kept and no reader slows the writer. A body that turns out too
//! large to store becomes a pass-through: what all readers have read is dropped, the slowest
//! reader sets the writer's pace, and one that stalls is cut.

mod reader;
mod state;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

pub use reader::FillReader;
use state::State;
pub use writer::{Appended, FillWriter, Finished, Limits};

use crate::error::ErrorKind;

/// What a reader shares with the writer.
#[derive(Debug)]
pub struct Fill<H> {
    head: H,
    /// The body's announced length.
    length: Option<u64>,
    state: Mutex<State>,
}

/// How a fill ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The body is whole.
    Whole(Option<HeaderMap>),
    /// It is not, and never will be.
    Failed(ErrorKind),
}

impl<H> Fill<H> {
    /// A fill that has its head and no byte of its body yet, and its writer.
    #[must_use]
    pub fn new(head: H, length: Option<u64>, limits: Limits) -> (Arc<Self>, FillWriter<H>) {
        let fill = Arc::new(Self { head, length, state: Mutex::new(State::new()) });
        let writer = FillWriter::new(Arc::clone(&fill), limits);
        (fill, writer)
    }

    /// The response's head.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// The body's length, where the origin announced it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How many bytes of the body have come.
    pub fn filled(&self) -> u64 {
        self.lock().len()
    }

    /// A reader of the bytes `start..end` (`None`: to the end, trailers included), or `None`
    /// where the fill takes no new readers: it failed, or its first bytes are gone.
    pub fn reader(self: &Arc<Self>, start: u64, end: Option<u64>) -> Option<FillReader<H>> {
        let id = self.lock().join(start)?;
        Some(FillReader::new(Arc::clone(self), id, start, end))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned state is still whole: nothing that can panic runs half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
