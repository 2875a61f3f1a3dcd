//! Writing behind: one task, one connection, in order.
//!
//! Chunks first, then one script that makes them known: a reader finds all of a body or none. The
//! script also checks the token of the lease under which it was fetched, ends that lease, and tells
//! whoever waits: it runs on the key's own slot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::redis::{Pipeline, Value, pipe};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::Config;
use super::codec::{BEGAN, BodyAt, CHUNK, Chunks, Entry, MOST_INLINE, Written, encode_index};
use super::counters::{Counters, Wrote};
use super::fleet::Fleet;
use super::known::Known;
use super::layout::{self, Place, variant};
use super::lease::Lease;
use super::queue::{Queue, Work, Write};
use super::timeline::SKEW;
use crate::body::Blocks;
use crate::clock::Clock;
use crate::key::CacheKey;
use crate::redis::{Connection, Fault, Lane, Room};
use crate::store::{Content, Memory, Standing, StoredResponse};

/// Puts an entry into its key's hash. KEYS: the hash, and the lease under which the entry was
/// fetched, if there was one. ARGV: the entry's field, the entry, how long it lives in milliseconds,
/// the index or nothing, how many fields there may be, until when a fetch can have begun, the
/// lease's token or 0, its owner or nothing.
///
/// What was fetched under a lease that another node has had since is refused, by whoever's clock.
/// Without an index the entry is the only response; with another index than before, the variants of
/// before are told apart by other fields, and go. What was fetched later stays, unless by a clock
/// that is ahead. What is no hash is nobody's who knows of us. Beside each entry stands the highest
/// token under which it was written.
const PUT: &str = "\
local key, field, entry, index = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local lease, token, last, owner = KEYS[2], tonumber(ARGV[7]), nil, nil
if lease then
  last, owner = string.match(redis.call('GET', lease) or '', '^%a(%d+):(.*)$')
  if last and tonumber(last) > token then return 2 end
end
local left, kind = redis.call('PTTL', key), redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', key) end
local fence = tonumber(redis.call('HGET', key, 'f' .. field) or 0) or 0
if lease and fence > token then return 2 end
local known, stays = redis.call('HGET', key, 'v') or '', false
if known ~= index or (index ~= '' and redis.call('HLEN', key) > tonumber(ARGV[5])) then
  redis.call('UNLINK', key)
  left = 0
  if index ~= '' then redis.call('HSET', key, 'v', index) end
else
  local old = redis.call('HGET', key, field)
  if old and string.sub(old, 3, 3) == string.sub(entry, 3, 3) then
    local then_, now_ = string.sub(old, 5, 12), string.sub(entry, 5, 12)
    stays = then_ > now_ and then_ <= ARGV[6]
  end
end
if not stays then
  local highest = string.format('%.0f', math.max(fence, token))
  redis.call('HSET', key, field, entry, 'f' .. field, highest)
  redis.call('PEXPIRE', key, math.max(tonumber(ARGV[3]), left))
end
if lease and owner == ARGV[8] then
  redis.call('UNLINK', lease)
  redis.call('PUBLISH', lease, 'stored')
end
return stays and 0 or 1";

/// Fields of one variant: the entry, and its highest token.
const FIELDS: usize = 2;

const _: () = assert!(BEGAN.start == 4 && BEGAN.end == 12, "the script counts from 1");

/// How long a request that writes may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Responses, and bytes of them, in one pipeline.
const MOST_AT_ONCE: usize = 64;
const MOST_BYTES_AT_ONCE: u64 = 1024 * 1024;

/// Chunks in one pipeline.
const CHUNKS_AT_ONCE: u64 = 4;

/// How often it is looked whether a server is back for which deletions wait.
const LOOKED_AGAIN: Duration = Duration::from_millis(500);

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
    pub(super) known: Mutex<Known>,
    /// Deletions at servers that are away.
    pub(super) parked: Mutex<VecDeque<CacheKey>>,
}

/// Some items for each server, and a connection if it can be asked.
type Parts<T> = Vec<(Option<Connection>, Vec<T>)>;

/// A response as it goes to Redis.
struct Prepared<'a> {
    write: &'a Write,
    blocks: &'a Arc<Blocks>,
    place: &'a Place,
    /// Milliseconds.
    lives: u64,
}

/// What becomes known at once.
#[derive(Default)]
struct Batch<'a> {
    commands: Pipeline,
    writes: Vec<&'a Write>,
}

/// What the script says.
fn written(answer: &Value, lease: Option<&Lease>) -> Wrote {
    let (outcome, end): (_, fn(&Lease)) = match answer {
        Value::Int(0) => (Wrote::Older, Lease::written),
        Value::Int(2) => (Wrote::Fenced, Lease::fenced),
        _ => (Wrote::Stored, Lease::written),
    };
    if let Some(lease) = lease {
        end(lease);
    }
    outcome
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
    pub(super) async fn run(self) {
        loop {
            tokio::select! {
                () = self.queue.ready() => {}
                () = sleep(LOOKED_AGAIN), if self.has_parked() => self.unpark(),
            }
            let allowed = {
                let Some(room) = self.room.upgrade() else { return };
                room.allows_writing()
            };
            match allowed {
                Ok(()) => self.work().await,
                Err(pause) => sleep(pause.max(Duration::from_millis(1))).await,
            }
        }
    }

    async fn work(&self) {
        match self.queue.take(MOST_AT_ONCE, MOST_BYTES_AT_ONCE) {
            None => {}
            Some(Work::Delete(keys)) => {
                let placed = keys.into_iter().map(|key| (self.place(&key), key)).collect();
                let parts = self.parts(placed, |(place, _)| place);
                let parts = parts.into_iter().map(|(connection, keys)| async move {
                    match connection {
                        Some(connection) => self.delete(&connection, keys).await,
                        None => self.park(keys),
                    }
                });
                join_all(parts).await;
            }
            Some(Work::Write(writes)) => {
                let placed = writes.into_iter().map(|write| (self.place(&write.key), write));
                let parts = self.parts(placed.collect(), |(place, _)| place);
                let parts = parts.into_iter().map(|(connection, writes)| async move {
                    match connection {
                        Some(connection) => self.write(&connection, &writes).await,
                        None => writes.iter().for_each(|_| self.counters.wrote(Wrote::Failed)),
                    }
                });
                join_all(parts).await;
            }
        }
        self.queue.done();
    }

    fn place(&self, key: &CacheKey) -> Place {
        Place::new(&self.config.namespace, key.as_str())
    }

    /// What is to be done at each server, and by which connection, if there is one.
    fn parts<T>(&self, items: Vec<T>, place: impl Fn(&T) -> &Place) -> Parts<T> {
        match self.room.upgrade() {
            Some(room) => room.parts(Lane::Writes, items, |item| place(item).hash()),
            None => Vec::new(),
        }
    }

    /// Deletions at a server that is away wait, and are in the way of nobody.
    fn park(&self, keys: Vec<(Place, CacheKey)>) {
        let mut parked = self.parked();
        for (_, key) in keys {
            if parked.len() >= self.config.queue_items {
                parked.pop_front();
                self.counters.wrote(Wrote::DeletionLost);
            }
            parked.push_back(key);
        }
    }

    fn has_parked(&self) -> bool {
        !self.parked().is_empty()
    }

    fn unpark(&self) {
        let parked = std::mem::take(&mut *self.parked());
        self.queue.delete(parked);
    }

    fn parked(&self) -> MutexGuard<'_, VecDeque<CacheKey>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn delete(&self, connection: &Connection, keys: Vec<(Place, CacheKey)>) {
        let mut commands = pipe();
        for (place, _) in &keys {
            commands.cmd("UNLINK").arg(place.hash());
        }
        match connection.ask_all(&commands, keys.len(), 0, PATIENCE).await {
            Ok(_) => keys.iter().for_each(|_| self.counters.wrote(Wrote::Deleted)),
            Err(_) => self.queue.delete(keys.into_iter().map(|(_, key)| key)),
        }
    }

    async fn write(&self, connection: &Connection, writes: &[(Place, Write)]) {
        let prepared = writes.iter().filter_map(|(place, write)| self.prepare(place, write));
        let prepared: Vec<_> = prepared.collect();
        let (small, large): (Vec<_>, Vec<_>) = prepared
            .iter()
            .map(|prepared| (prepared, prepared.blocks.len() <= MOST_INLINE as u64))
            .partition(|(_, small)| *small);
        // What is small does not wait for what is not.
        let mut batch = Batch::default();
        for (prepared, _) in small {
            let body = prepared.blocks.concat().into();
            self.put(&mut batch, prepared, BodyAt::Inline(body));
        }
        self.commit(connection, batch).await;
        let mut batch = Batch::default();
        for (prepared, _) in large {
            match self.chunks(connection, prepared, prepared.blocks).await {
                Ok(chunks) => self.put(&mut batch, prepared, BodyAt::Chunks(chunks)),
                Err(_) => self.counters.wrote(Wrote::Failed),
            }
        }
        self.commit(connection, batch).await;
    }

    async fn commit(&self, connection: &Connection, batch: Batch<'_>) {
        let Batch { commands, writes } = batch;
        if writes.is_empty() {
            return;
        }
        match connection.ask_all(&commands, writes.len(), 0, PATIENCE).await {
            Ok(answers) => {
                for (answer, write) in answers.iter().zip(writes) {
                    self.counters.wrote(written(answer, write.lease.as_ref()));
                }
            }
            Err(_) => writes.iter().for_each(|_| self.counters.wrote(Wrote::Failed)),
        }
    }

    /// What is to be written of a response; `None` where that would bring back what is gone.
    fn prepare<'a>(&self, place: &'a Place, write: &'a Write) -> Option<Prepared<'a>> {
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
        let Content::Whole(blocks) = &response.content else { return None };
        let lives = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST);
        Some(Prepared { write, blocks, place, lives })
    }

    /// Adds the command that makes a response known, unless its head is too large.
    fn put<'a>(&self, batch: &mut Batch<'a>, prepared: &Prepared<'a>, body: BodyAt) {
        if self.command(&mut batch.commands, prepared, body) {
            batch.writes.push(prepared.write);
        } else {
            self.counters.wrote(Wrote::TooLarge);
        }
    }

    fn command(&self, commands: &mut Pipeline, prepared: &Prepared<'_>, body: BodyAt) -> bool {
        let Write { key, response, began, lease } = prepared.write;
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
        let command = commands.cmd("EVAL").arg(PUT);
        let hash = prepared.place.hash();
        match lease {
            None => command.arg(1).arg(hash),
            Some(lease) => command.arg(2).arg(hash).arg(lease.name()),
        };
        command
            .arg(field)
            .arg(entry)
            .arg(prepared.lives)
            .arg(index)
            .arg(FIELDS * self.config.max_variants)
            .arg(&latest[..])
            .arg(lease.as_ref().map_or(0, Lease::token))
            .arg(lease.as_ref().map(|lease| lease.owner().text()).unwrap_or_default());
        true
    }

    /// Where a body's chunks are: written now, or before, and then they live on.
    async fn chunks(
        &self,
        connection: &Connection,
        prepared: &Prepared<'_>,
        blocks: &Arc<Blocks>,
    ) -> Result<Chunks, Fault> {
        let known = self.known().get(blocks);
        if let Some(chunks) = known {
            if live_on(connection, prepared, &chunks).await? {
                return Ok(chunks);
            }
            self.known().forget(blocks);
        }
        let chunks = self.write_chunks(connection, prepared, blocks).await?;
        self.known().note(blocks, chunks);
        Ok(chunks)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
