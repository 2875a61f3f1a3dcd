//! The stream in Redis: how it is read, waited for and written.
//!
//! A blocking read says that there may be something; what there is, one script tells at one moment:
//! which stream it is, what of it is left, and the entries, without those that are larger than any
//! that makes sense. A stream's epoch is the name of a consumer group of it, so the two are lost
//! together, and neither can outlive the other.

use std::time::Duration;

use ::redis::{Cmd, Pipeline, Value, cmd, pipe};

use super::notice::{MOST_BYTES, MOST_FIELDS};
use super::position::{Epoch, StreamId};
use crate::redis::{Connection, Fault, Opened};

/// Entries that the stream keeps, about.
const KEPT: usize = 16 * 1024;

/// How long it outlives the last node.
const LIVES: Duration = Duration::from_secs(30 * 24 * 3600);

/// Entries that are read at once.
const BATCH: usize = 256;

/// Bytes of them; one may go beyond.
const BATCH_BYTES: usize = 256 * 1024;

/// Bytes that their answer may take.
const MOST_ANSWER: usize = BATCH_BYTES + MOST_BYTES + BATCH * MOST_FIELDS;

/// How long a blocking read waits, and how long everything else may take.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// KEYS: the stream. ARGV: the id after which to read, how many entries, bytes and fields of one,
/// bytes of all. Gives the epoch, the first id that is left, the last that there ever was, whether
/// there is more, whether the entry after which to read is there itself, and the entries: an id and
/// its fields, or the id alone of one that is too large.
const READ: &str = "\
local key = KEYS[1]
if redis.call('TYPE', key).ok ~= 'stream' then return {'', '', '', 0, 0, {}} end
local function named(list, name)
  for i = 1, #list, 2 do if list[i] == name then return list[i + 1] end end
end
local epoch, first = '', ''
for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local name = named(group, 'name')
  if epoch == '' and string.sub(name, 1, 6) == 'epoch-' then epoch = string.sub(name, 7) end
end
local info = redis.call('XINFO', 'STREAM', key)
local entry = named(info, 'first-entry')
if entry then first = entry[1] end
local found, sum, more = {}, 0, 0
local most = tonumber(ARGV[2])
local entries = redis.call('XRANGE', key, '(' .. ARGV[1], '+', 'COUNT', most)
for _, entry in ipairs(entries) do
  local fields, bytes = entry[2], 0
  for i = 1, #fields do bytes = bytes + #fields[i] end
  if bytes > tonumber(ARGV[3]) or #fields > tonumber(ARGV[4]) then
    found[#found + 1] = {entry[1]}
  else
    sum = sum + bytes
    if sum > tonumber(ARGV[5]) and #found > 0 then more = 1; break end
    found[#found + 1] = {entry[1], fields}
  end
end
if #entries == most then more = 1 end
local known = #redis.call('XRANGE', key, ARGV[1], ARGV[1])
return {epoch, first, named(info, 'last-generated-id'), more, known, found}";

/// KEYS: the stream. ARGV: a new epoch. What is no stream is nobody's who knows of us.
const BEGIN: &str = "\
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind ~= 'stream' and kind ~= 'none' then redis.call('UNLINK', key) end
if kind == 'stream' then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    for i = 1, #group, 2 do
      if group[i] == 'name' and string.sub(group[i + 1], 1, 6) == 'epoch-' then return 0 end
    end
  end
end
redis.call('XGROUP', 'CREATE', key, 'epoch-' .. ARGV[1], '0', 'MKSTREAM')
redis.call('XADD', key, '*', 'beginning', '1')
return 1";

/// What was read at one moment.
#[derive(Debug)]
pub(super) struct Page {
    /// None where there is no stream, or one that no node has begun.
    pub(super) epoch: Option<Epoch>,
    /// The first entry that is left.
    pub(super) first: Option<StreamId>,
    /// The last that there ever was.
    pub(super) last: StreamId,
    /// Whether there are more entries than these.
    pub(super) more: bool,
    /// Whether the entry is there after which was read.
    pub(super) has_known: bool,
    /// Fields are names and values in turn; none of what is too large.
    pub(super) entries: Vec<(StreamId, Option<Vec<Vec<u8>>>)>,
}

/// Reads what comes after an entry.
pub(super) async fn read(opened: &Opened, key: &str, after: StreamId) -> Result<Page, Fault> {
    let mut command = cmd("EVAL");
    command.arg(READ).arg(1).arg(key).arg(after.to_string()).arg(BATCH);
    command.arg(MOST_BYTES).arg(MOST_FIELDS).arg(BATCH_BYTES);
    page(opened.ask(&command, MOST_ANSWER, PATIENCE).await?).ok_or(Fault::Garbage)
}

/// Begins a stream, where there is none that has begun.
pub(super) async fn begin(opened: &Opened, key: &str, epoch: Epoch) -> Result<(), Fault> {
    let mut command = cmd("EVAL");
    command.arg(BEGIN).arg(1).arg(key).arg(epoch.to_string());
    opened.ask(&command, 64, PATIENCE).await.map(drop)
}

/// Waits until there may be something after an entry, a second at most.
pub(super) async fn wait(opened: &Opened, key: &str, after: StreamId) -> Result<(), Fault> {
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis() as usize);
    command.arg("STREAMS").arg(key).arg(after.to_string());
    opened.ask(&command, MOST_ANSWER, BLOCK + PATIENCE).await.map(drop)
}

/// Keeps the stream from growing and from going, whoever writes to it.
pub(super) async fn tend(opened: &Opened, key: &str) -> Result<(), Fault> {
    let mut trim = cmd("XTRIM");
    trim.arg(key).arg("MAXLEN").arg("~").arg(KEPT);
    opened.ask(&trim, 64, PATIENCE).await?;
    let mut expire = cmd("PEXPIRE");
    expire.arg(key).arg(LIVES.as_millis() as usize);
    opened.ask(&expire, 64, PATIENCE).await.map(drop)
}

/// Adds entries, in order. Gives how many of them there are now: none while there is no stream.
pub(super) async fn add(
    connection: &Connection,
    key: &str,
    entries: &[Vec<Vec<u8>>],
) -> Result<usize, Fault> {
    let mut commands: Pipeline = pipe();
    for fields in entries {
        let mut command: Cmd = cmd("XADD");
        command.arg(key).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(fields);
        commands.add_command(command);
    }
    let most = entries.len() * 64;
    let answers = connection.ask_all(&commands, entries.len(), most, PATIENCE).await?;
    Ok(answers.iter().filter(|answer| **answer != Value::Nil).count())
}

fn page(answer: Value) -> Option<Page> {
    let [epoch, first, last, more, known, entries]: [Value; 6] = array(answer)?.try_into().ok()?;
    let entries = array(entries)?.into_iter().map(entry).collect::<Option<Vec<_>>>()?;
    Some(Page {
        epoch: Epoch::parse(&bytes(epoch)?),
        first: StreamId::parse(&bytes(first)?),
        last: StreamId::parse(&bytes(last)?).unwrap_or_default(),
        more: more == Value::Int(1),
        has_known: known == Value::Int(1),
        entries,
    })
}

fn entry(value: Value) -> Option<(StreamId, Option<Vec<Vec<u8>>>)> {
    let mut parts = array(value)?.into_iter();
    let id = StreamId::parse(&bytes(parts.next()?)?)?;
    let Some(fields) = parts.next() else { return Some((id, None)) };
    let fields = array(fields)?.into_iter().map(bytes).collect::<Option<Vec<_>>>()?;
    Some((id, Some(fields)))
}

pub(super) fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}
