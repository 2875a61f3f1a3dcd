//! Writing behind: one task, one connection, in order.
//!
//! Chunks first, then one script that makes them known: a reader finds all of a body or none. The
//! script is also where a lease's token would be checked: it runs on the key's own slot.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::{Pipeline, Value, pipe};
use bytes::Bytes;
use tokio::time::sleep;

use super::Config;
use super::codec::{BEGAN, BodyAt, CHUNK, Chunks, Entry, MOST_INLINE, Written, encode_index};
use super::counters::{Counters, Wrote};
use super::fleet::Fleet;
use super::known::Known;
use super::layout::{self, Place, variant};
use super::queue::{Queue, Work, Write};
use super::timeline::SKEW;
use crate::body::Blocks;
use crate::clock::Clock;
use crate::key::CacheKey;
use crate::redis::{Connection, Fault, Lane, Room};
use crate::store::{Content, Memory, Standing, StoredResponse};

/// Puts an entry into its key's hash. KEYS: the hash. ARGV: the entry's field, the entry, how long
/// it lives in milliseconds, the index or nothing, how many fields there may be, until when a fetch
/// can have begun.
///
/// Without an index it is the only response; with another index than before, the variants of before
/// are told apart by other fields, and go. What was fetched later stays, unless by a clock that is
/// ahead. What is no hash is nobody's who knows of us.
const PUT: &str = "\
local key, field, entry, index = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local left, kind = redis.call('PTTL', key), redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', key) end
local known = redis.call('HGET', key, 'v') or ''
if known ~= index or (index ~= '' and redis.call('HLEN', key) > tonumber(ARGV[5])) then
  redis.call('UNLINK', key)
  left = 0
  if index ~= '' then redis.call('HSET', key, 'v', index) end
else
  local old = redis.call('HGET', key, field)
  if old and string.sub(old, 3, 3) == string.sub(entry, 3, 3) then
    local then_, now_ = string.sub(old, 5, 12), string.sub(entry, 5, 12)
    if then_ > now_ and then_ <= ARGV[6] then return 0 end
  end
end
redis.call('HSET', key, field, entry)
redis.call('PEXPIRE', key, math.max(tonumber(ARGV[3]), left))
return 1";

const _: () = assert!(BEGAN.start == 4 && BEGAN.end == 12, "the script counts from 1");

/// How long a request that writes may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Responses, and bytes of them, in one pipeline.
const MOST_AT_ONCE: usize = 64;
const MOST_BYTES_AT_ONCE: u64 = 1024 * 1024;

/// Chunks in one pipeline.
const CHUNKS_AT_ONCE: u64 = 4;

/// How long to wait for a connection while there is none.
const NO_CONNECTION: Duration = Duration::from_millis(50);

pub(super) struct Writer {
    pub(super) config: Arc<Config>,
    /// It must not keep the thread alive that it runs on.
    pub(super) room: Weak<Room>,
    pub(super) id: u128,
    pub(super) fleet: Arc<Fleet>,
    pub(super) memory: Memory,
    pub(super) clock: Clock,
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
    pub(super) known: Known,
}

/// A response as it goes to Redis.
struct Prepared<'a> {
    write: &'a Write,
    place: Place,
    /// Milliseconds.
    lives: u64,
}

/// The length of a body that is there as a whole; parts of something are kept in memory alone.
pub(super) fn whole_length(response: &StoredResponse) -> Option<u64> {
    match &response.content {
        Content::Whole(blocks) => Some(blocks.len()),
        Content::Coded | Content::Parts(_) => None,
    }
}

impl Writer {
    /// Runs until the room is gone.
    pub(super) async fn run(mut self) {
        loop {
            self.queue.ready().await;
            let connection = {
                let Some(room) = self.room.upgrade() else { return };
                let connection = room.connection(Lane::Writes).ok_or(NO_CONNECTION);
                connection.and_then(|connection| room.allows_writing().map(|()| connection))
            };
            match connection {
                Ok(connection) => self.work(&connection).await,
                Err(pause) => sleep(pause.max(Duration::from_millis(1))).await,
            }
        }
    }

    async fn work(&mut self, connection: &Connection) {
        match self.queue.take(MOST_AT_ONCE, MOST_BYTES_AT_ONCE) {
            None => {}
            Some(Work::Delete(keys)) => self.delete(connection, keys).await,
            Some(Work::Write(writes)) => self.write(connection, &writes).await,
        }
        self.queue.done();
    }

    async fn delete(&self, connection: &Connection, keys: Vec<CacheKey>) {
        let mut commands = pipe();
        for key in &keys {
            let place = Place::new(&self.config.namespace, key.as_str());
            commands.cmd("UNLINK").arg(place.hash());
        }
        match connection.ask_all(&commands, keys.len(), 0, PATIENCE).await {
            Ok(_) => keys.iter().for_each(|_| self.counters.wrote(Wrote::Deleted)),
            Err(_) => self.queue.delete(keys),
        }
    }

    async fn write(&mut self, connection: &Connection, writes: &[Write]) {
        let prepared: Vec<_> = writes.iter().filter_map(|write| self.prepare(write)).collect();
        let mut commands = pipe();
        let mut count = 0;
        for prepared in &prepared {
            let Content::Whole(blocks) = &prepared.write.response.content else { continue };
            let body = if blocks.len() <= MOST_INLINE as u64 {
                BodyAt::Inline(blocks.as_slices().concat().into())
            } else {
                let Ok(chunks) = self.chunks(connection, prepared, blocks).await else {
                    self.counters.wrote(Wrote::Failed);
                    continue;
                };
                BodyAt::Chunks(chunks)
            };
            if self.put(&mut commands, prepared, body) {
                count += 1;
            } else {
                self.counters.wrote(Wrote::TooLarge);
            }
        }
        if count > 0 {
            self.commit(connection, &commands, count).await;
        }
    }

    async fn commit(&self, connection: &Connection, commands: &Pipeline, count: usize) {
        match connection.ask_all(commands, count, 0, PATIENCE).await {
            Ok(answers) => answers.iter().for_each(|answer| {
                let newer = *answer == Value::Int(0);
                self.counters.wrote(if newer { Wrote::Older } else { Wrote::Stored });
            }),
            Err(_) => (0..count).for_each(|_| self.counters.wrote(Wrote::Failed)),
        }
    }

    /// What is to be written of a response; `None` where that would bring back what is gone.
    fn prepare<'a>(&self, write: &'a Write) -> Option<Prepared<'a>> {
        let (key, response) = (write.key.as_str(), &write.response);
        let now = self.clock.now();
        let lives = response.useless_at.since(now);
        let standing = self.memory.standing_outside(key, &response.stamp);
        // What is doubted here is judged by who reads it.
        let stands = matches!(standing, Standing::Valid | Standing::Doubtful);
        if lives.is_zero() || !stands {
            self.counters.wrote(Wrote::Outdated);
            return None;
        }
        let lives = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST);
        Some(Prepared { write, place: Place::new(&self.config.namespace, key), lives })
    }

    /// Adds the command that makes a response known; `false` where its head is too large.
    fn put(&self, commands: &mut Pipeline, prepared: &Prepared<'_>, body: BodyAt) -> bool {
        let Write { key, response, began } = prepared.write;
        let Some(head) = response.head.record() else { return false };
        let sequence = response.stamp.fetched_at();
        let position = self.fleet.position_at(sequence);
        let written = Written { by: self.id, sequence, began: *began, position };
        let entry = Entry { key: key.as_str().into(), written, head, body };
        let Some(entry) = entry.encode() else { return false };
        let (field, index) = match response.head.vary() {
            None => (layout::PLAIN.to_vec(), Vec::new()),
            Some(vary) => {
                let names: Vec<_> = vary.names().collect();
                (variant(vary), encode_index(names.into_iter()))
            }
        };
        let latest = self.clock.now().plus(SKEW).as_millis().to_be_bytes();
        commands
            .cmd("EVAL")
            .arg(PUT)
            .arg(1)
            .arg(prepared.place.hash())
            .arg(field)
            .arg(entry)
            .arg(prepared.lives)
            .arg(index)
            .arg(self.config.max_variants)
            .arg(&latest[..]);
        true
    }

    /// Where a body's chunks are: written now, or before, and then they live on.
    async fn chunks(
        &mut self,
        connection: &Connection,
        prepared: &Prepared<'_>,
        blocks: &Arc<Blocks>,
    ) -> Result<Chunks, Fault> {
        if let Some(chunks) = self.known.get(blocks) {
            if live_on(connection, prepared, &chunks).await? {
                return Ok(chunks);
            }
            self.known.forget(blocks);
        }
        let chunks = self.write_chunks(connection, prepared, blocks).await?;
        self.known.note(blocks, chunks);
        Ok(chunks)
    }

    /// Writes a body's chunks under a new id.
    async fn write_chunks(
        &self,
        connection: &Connection,
        prepared: &Prepared<'_>,
        blocks: &Arc<Blocks>,
    ) -> Result<Chunks, Fault> {
        let chunks = Chunks { id: fastrand::u128(..), length: blocks.len(), size: CHUNK };
        let size = u64::from(CHUNK);
        for first in (0..chunks.count()).step_by(CHUNKS_AT_ONCE as usize) {
            let mut commands = pipe();
            let some = first..chunks.count().min(first + CHUNKS_AT_ONCE);
            for index in some.clone() {
                let pieces: Vec<Bytes> = blocks.slices(index * size, (index + 1) * size);
                commands
                    .cmd("SET")
                    .arg(prepared.place.chunk(&chunks, index))
                    .arg(chunks.seal(index, &pieces))
                    .arg("PX")
                    .arg(prepared.lives);
            }
            let count = some.count();
            connection.ask_all(&commands, count, 0, PATIENCE).await?;
        }
        Ok(chunks)
    }
}

/// Has a body's chunks live as long as what is about to refer to them; `false` if one is gone.
async fn live_on(
    connection: &Connection,
    prepared: &Prepared<'_>,
    chunks: &Chunks,
) -> Result<bool, Fault> {
    let mut commands = pipe();
    for index in 0..chunks.count() {
        let chunk = prepared.place.chunk(chunks, index);
        commands.cmd("PEXPIRE").arg(chunk).arg(prepared.lives);
    }
    let count = usize::try_from(chunks.count()).unwrap_or(usize::MAX);
    let answers = connection.ask_all(&commands, count, 0, PATIENCE).await?;
    Ok(answers.iter().all(|answer| *answer == Value::Int(1)))
}

/// Longest time that anything lives in Redis, in milliseconds: ten years.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60 * 1000;
