//! How responses are written in Redis, and read again as the hostile input that they are.
//!
//! An *entry* is a response's head, with its body if that is small, and else with where the body's
//! chunks are. An *index* says by which fields a key's variants are told apart. Both begin with a
//! version and end with a checksum: what another version wrote, or nobody, is a miss. Numbers are
//! big-endian; every length is held against what is there before anything is allocated.

use bytes::{Buf, BufMut, Bytes};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::fleet::position::{Epoch, Position, StreamId};
use crate::clock::Timestamp;
use crate::policy::HeadRecord;
use std::time::Duration;

/// The version of everything below; it stands in the names of keys, too.
pub const VERSION: u8 = 1;

/// Bodies up to this many bytes stand in their entry: one round trip.
pub const MOST_INLINE: usize = 32 * 1024;

/// Bytes of a body's chunk: with its checksum and what Redis puts around it no more than 128 KiB, for
/// what is beyond that takes the allocator's next size, which is a quarter larger.
pub const CHUNK: u32 = 128 * 1024 - 64;

/// Bytes of an entry beside an inline body; a response with a larger head is not written.
pub const MOST_HEAD: usize = 128 * 1024;

const MAGIC: [u8; 2] = *b"SW";
const CHECKSUM: usize = size_of::<u64>();

/// What begins entries, and what begins indexes.
const ENTRY: u8 = 1;
const INDEX: u8 = 2;

/// Names that one index may hold.
const MOST_NAMES: usize = 32;

/// Field lines that one entry may hold.
const MOST_FIELDS: usize = 4096;

/// Where an entry tells when its fetch began: the script that writes compares these bytes.
pub const BEGAN: std::ops::Range<usize> = 4..12;

/// Who wrote an entry, in the purge sequence of whose process, and when its fetch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The process that fetched it.
    pub by: u128,
    /// The latest purge in that process when the fetch began.
    pub sequence: u64,
    /// When that was, by that node's clock.
    pub began: Timestamp,
    /// Up to where that process had applied the fleet's purges then, where it knew.
    pub position: Option<Position>,
}

/// A response's metadata in Redis.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The cache key: a digest may collide, this does not.
    pub key: Box<str>,
    /// Who wrote it, and when.
    pub written: Written,
    /// The head.
    pub head: HeadRecord,
    /// The body, or where it is.
    pub body: BodyAt,
}

/// Where a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyAt {
    /// In the entry.
    Inline(Bytes),
    /// In chunks.
    Chunks(Chunks),
}

/// A body in chunks: immutable, under an id of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// What its keys are made of.
    pub id: u128,
    /// Bytes in all.
    pub length: u64,
    /// Bytes of each chunk but the last.
    pub size: u32,
}

/// What is wrong with bytes from Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Another version of Seawall wrote it.
    #[error("written by another version")]
    Version,
    /// It is not what was written.
    #[error("torn, altered or never written by Seawall")]
    Torn,
    /// It is whole, and makes no sense.
    #[error("makes no sense")]
    Senseless,
}

impl Chunks {
    /// How many chunks there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.length.div_ceil(self.size as u64)
    }

    /// Bytes of the chunk at `index`.
    #[must_use]
    pub fn length_of(&self, index: u64) -> usize {
        let before = index.saturating_mul(u64::from(self.size));
        let rest = self.length.saturating_sub(before).min(u64::from(self.size));
        // Invariant: at most a `u32`.
        usize::try_from(rest).unwrap_or(0)
    }

    fn seed(&self, index: u64) -> u64 {
        // Of two different ids, the halves differ somewhere.
        (self.id as u64) ^ ((self.id >> 64) as u64).rotate_left(32) ^ index
    }

    /// A chunk as it is written: its bytes under a checksum that only it has.
    #[must_use]
    pub fn seal(&self, index: u64, pieces: &[Bytes]) -> Vec<u8> {
        let mut sealed =
            Vec::with_capacity(CHECKSUM + pieces.iter().map(Bytes::len).sum::<usize>());
        sealed.put_u64(0);
        for piece in pieces {
            sealed.extend_from_slice(piece);
        }
        let sum = xxh3_64_with_seed(&sealed[CHECKSUM..], self.seed(index));
        sealed[..CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        sealed
    }

    /// The bytes of the chunk at `index`.
    ///
    /// # Errors
    /// [`Corrupt::Torn`] where it is not that chunk.
    pub fn open(&self, index: u64, sealed: Vec<u8>) -> Result<Bytes, Corrupt> {
        let mut sealed = Bytes::from(sealed);
        let sum = sealed.try_get_u64().map_err(|_| Corrupt::Torn)?;
        let whole = sealed.len() == self.length_of(index)
            && xxh3_64_with_seed(&sealed, self.seed(index)) == sum;
        if whole { Ok(sealed) } else { Err(Corrupt::Torn) }
    }
}

impl Entry {
    /// The entry as it is written; `None` where its head is too large for one.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = begin(ENTRY);
        out.put_i64(self.written.began.as_millis());
        out.put_u128(self.written.by);
        out.put_u64(self.written.sequence);
        put_position(&mut out, self.written.position);
        put_long(&mut out, self.key.as_bytes());
        put_head(&mut out, &self.head);
        if out.len() > MOST_HEAD || self.head.fields.len() > MOST_FIELDS {
            return None;
        }
        match &self.body {
            BodyAt::Inline(body) => {
                out.put_u8(0);
                put_long(&mut out, body);
            }
            BodyAt::Chunks(chunks) => {
                out.put_u8(1);
                out.put_u128(chunks.id);
                out.put_u64(chunks.length);
                out.put_u32(chunks.size);
            }
        }
        Some(finish(out))
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`Corrupt`], whatever the bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut rest = open(bytes, ENTRY)?;
        entry(&mut rest).filter(|_| rest.is_empty()).ok_or(Corrupt::Senseless)
    }
}

/// The fields by which a key's variants are told apart, as an index.
#[must_use]
pub fn encode_index<'a>(names: impl ExactSizeIterator<Item = &'a HeaderName>) -> Vec<u8> {
    let mut out = begin(INDEX);
    out.put_u8(u8::try_from(names.len()).unwrap_or(u8::MAX));
    names.for_each(|name| put_short(&mut out, name.as_str().as_bytes()));
    finish(out)
}

/// Reads an index.
///
/// # Errors
/// [`Corrupt`], whatever the bytes are.
pub fn decode_index(bytes: &[u8]) -> Result<Vec<HeaderName>, Corrupt> {
    let mut rest = open(bytes, INDEX)?;
    let count = rest.try_get_u8().map_err(|_| Corrupt::Senseless)?;
    let names: Option<Vec<_>> =
        (0..count).map(|_| HeaderName::from_bytes(short(&mut rest)?).ok()).collect();
    let sensible = |names: &Vec<_>| (1..=MOST_NAMES).contains(&names.len());
    names.filter(|names| sensible(names) && rest.is_empty()).ok_or(Corrupt::Senseless)
}

fn begin(what: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, what]);
    out
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let sum = xxh3_64(&out);
    out.put_u64(sum);
    out
}

/// What stands between version and checksum.
fn open(bytes: &[u8], what: u8) -> Result<&[u8], Corrupt> {
    let (rest, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Corrupt::Torn)?;
    let [m, a, version, kind, inner @ ..] = rest else { return Err(Corrupt::Torn) };
    if [*m, *a] != MAGIC {
        return Err(Corrupt::Torn);
    }
    if *version != VERSION {
        return Err(Corrupt::Version);
    }
    if xxh3_64(rest) != u64::from_be_bytes(*sum) {
        return Err(Corrupt::Torn);
    }
    if *kind == what { Ok(inner) } else { Err(Corrupt::Senseless) }
}

fn put_position(out: &mut Vec<u8>, position: Option<Position>) {
    let id = position.map_or_else(StreamId::default, |position| position.id);
    out.put_u64(position.map_or(0, |position| position.epoch.get()));
    out.put_u64(id.millis);
    out.put_u64(id.number);
}

fn put_head(out: &mut Vec<u8>, head: &HeadRecord) {
    out.put_u16(head.status.as_u16());
    out.put_i64(head.response_at.as_millis());
    out.put_u64(u64::try_from(head.initial_age.as_millis()).unwrap_or(u64::MAX));
    out.put_u8(u8::from(head.implicit));
    out.put_u8(head.reading);
    out.put_u8(u8::try_from(head.nominated.len()).unwrap_or(u8::MAX));
    for (name, value) in &head.nominated {
        put_short(out, name.as_str().as_bytes());
        out.put_u8(u8::from(value.is_some()));
        put_long(out, value.as_deref().unwrap_or_default());
    }
    out.put_u32(u32::try_from(head.fields.len()).unwrap_or(u32::MAX));
    for (name, value) in &head.fields {
        put_short(out, name.as_str().as_bytes());
        put_long(out, value.as_bytes());
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    // Invariant: names are bounded by the http crate to less than 64 KiB.
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(bytes);
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    // Invariant: no head or inline body comes near 4 GiB.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

fn entry(rest: &mut &[u8]) -> Option<Entry> {
    let began = Timestamp::from_millis(rest.try_get_i64().ok()?);
    let by = rest.try_get_u128().ok()?;
    let sequence = rest.try_get_u64().ok()?;
    let epoch = Epoch::new(rest.try_get_u64().ok()?);
    let (millis, number) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
    let position = epoch.map(|epoch| Position { epoch, id: StreamId { millis, number } });
    let key = std::str::from_utf8(long(rest)?).ok()?.into();
    let head = head(rest)?;
    let body = match rest.try_get_u8().ok()? {
        0 => {
            let body = long(rest)?;
            (body.len() <= MOST_INLINE).then(|| BodyAt::Inline(Bytes::copy_from_slice(body)))?
        }
        1 => {
            let id = rest.try_get_u128().ok()?;
            let length = rest.try_get_u64().ok()?;
            let size = rest.try_get_u32().ok()?;
            let sensible = size > 0 && size <= 2 * CHUNK && length > 0;
            sensible.then_some(BodyAt::Chunks(Chunks { id, length, size }))?
        }
        _ => return None,
    };
    Some(Entry { key, written: Written { by, sequence, began, position }, head, body })
}

fn head(rest: &mut &[u8]) -> Option<HeadRecord> {
    let status = StatusCode::from_u16(rest.try_get_u16().ok()?).ok()?;
    let response_at = Timestamp::from_millis(rest.try_get_i64().ok()?);
    let initial_age = Duration::from_millis(rest.try_get_u64().ok()?);
    let implicit = rest.try_get_u8().ok()? != 0;
    let reading = rest.try_get_u8().ok()?;
    let count = usize::from(rest.try_get_u8().ok()?);
    let nominated = (0..count).map(|_| nominated(rest)).collect::<Option<Vec<_>>>()?;
    let count = rest.try_get_u32().ok()? as usize;
    if nominated.len() > MOST_NAMES || count > MOST_FIELDS {
        return None;
    }
    let mut fields = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(short(rest)?).ok()?;
        let value = HeaderValue::from_bytes(long(rest)?).ok()?;
        fields.try_append(name, value).ok()?;
    }
    Some(HeadRecord { status, fields, response_at, initial_age, nominated, implicit, reading })
}

fn nominated(rest: &mut &[u8]) -> Option<(HeaderName, Option<Box<[u8]>>)> {
    let name = HeaderName::from_bytes(short(rest)?).ok()?;
    let present = rest.try_get_u8().ok()? != 0;
    let value = long(rest)?;
    Some((name, present.then(|| value.into())))
}

fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(rest.try_get_u16().ok()?);
    rest.split_off(..length)
}

fn long<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = rest.try_get_u32().ok()? as usize;
    rest.split_off(..length)
}

#[cfg(test)]
mod tests;
