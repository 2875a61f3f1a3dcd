//! A body in chunks, on its way from Redis.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, cmd, pipe};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http_body::Frame;
use http_body_util::StreamBody;

use super::codec::Chunks;
use super::counters::{Counters, Looked};
use super::layout::Place;
use crate::body::Body;
use crate::error::{ErrorKind, ProxyError};
use crate::redis::{Lane, Room};

/// Chunks that are asked for at once, while those before them are being passed on.
const AT_ONCE: u64 = 2;

/// Chunks whose being there is asked for before the first byte is sent: all of 128 MiB.
const MOST_ASKED_FOR: u64 = 1024;

/// How long each of those requests may take once the answer has begun.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many lookup budgets the first chunks may take: they are a lot larger than an entry.
const FIRST_BUDGETS: u32 = 10;

/// Bytes that a chunk's value takes beside the chunk.
const CHECKSUM: usize = 8;

/// A body that is to be read.
#[derive(Clone, Debug)]
pub struct Reading {
    room: Arc<Room>,
    counters: Arc<Counters>,
    place: Place,
    chunks: Chunks,
    budget: Duration,
}

/// Not all of it is there, or Redis fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete;

impl Reading {
    pub(super) fn new(
        room: Arc<Room>,
        counters: Arc<Counters>,
        place: Place,
        chunks: Chunks,
        budget: Duration,
    ) -> Self {
        Self { room, counters, place, chunks, budget }
    }

    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.chunks.length
    }

    /// Reads the first chunks, and asks whether all others are there. The rest is read while the
    /// body is.
    ///
    /// # Errors
    /// [`Incomplete`]: nothing of it should be used.
    pub async fn begin(self) -> Result<Body, Incomplete> {
        let patience = self.budget.saturating_mul(FIRST_BUDGETS);
        let (all, first) = tokio::join!(self.are_there(patience), self.read(0, patience));
        let (true, Ok(first)) = (all, first) else {
            self.counters.looked(Looked::Incomplete);
            return Err(Incomplete);
        };
        let rest = (AT_ONCE..self.chunks.count()).step_by(AT_ONCE as usize);
        let reading = Arc::new(self);
        let read = move |index| {
            let reading = Arc::clone(&reading);
            async move {
                let chunks = reading.read(index, PATIENCE).await;
                chunks.map_err(|Incomplete| {
                    reading.counters.looked(Looked::Cut);
                    ProxyError::new(ErrorKind::TierCut)
                })
            }
        };
        // Two at a time: one is read while the other is passed on.
        let rest = stream::iter(rest).map(read).buffered(2);
        let all = stream::once(async move { Ok(first) }).chain(rest);
        let frames = all.map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok))).try_flatten();
        Ok(Body::stream(StreamBody::new(frames.map_ok(Frame::data))))
    }

    /// Whether Redis has every chunk at this moment.
    async fn are_there(&self, patience: Duration) -> bool {
        let connection = self.room.connection(Lane::Chunks, self.place.hash());
        let Some(connection) = connection else { return false };
        let count = self.chunks.count().min(MOST_ASKED_FOR);
        let mut exists = cmd("EXISTS");
        (0..count).for_each(|index| {
            exists.arg(self.place.chunk(&self.chunks, index));
        });
        match connection.ask(&exists, 0, patience).await {
            Ok(Value::Int(there)) => u64::try_from(there) == Ok(count),
            _ => false,
        }
    }

    /// The chunks from `index` on that are read at once.
    async fn read(&self, index: u64, patience: Duration) -> Result<Vec<Bytes>, Incomplete> {
        let connection = self.room.connection(Lane::Chunks, self.place.hash()).ok_or(Incomplete)?;
        let wanted = index..self.chunks.count().min(index + AT_ONCE);
        let mut commands = pipe();
        let (mut most, mut count) = (0, 0);
        for index in wanted.clone() {
            // Never more than it should be, whatever is there by now.
            let length = CHECKSUM + self.chunks.length_of(index);
            commands.cmd("GETRANGE").arg(self.place.chunk(&self.chunks, index)).arg(0).arg(length);
            most += length + 1;
            count += 1;
        }
        let values = connection.ask_all(&commands, count, most, patience).await;
        let values = values.map_err(|_| Incomplete)?;
        wanted.zip(values).map(|(index, value)| self.open(index, value)).collect()
    }

    fn open(&self, index: u64, value: Value) -> Result<Bytes, Incomplete> {
        let Value::BulkString(sealed) = value else { return Err(Incomplete) };
        self.chunks.open(index, sealed).map_err(|_| Incomplete)
    }
}
