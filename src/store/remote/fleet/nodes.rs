//! Who is in the fleet, and how far each node has come: what a purge is waited for by.
//!
//! Each node writes its position into one hash, whenever it has moved and at least once a second,
//! with the time by Redis' clock. A node that is not heard of counts until its own memory can hold
//! nothing that it has not confirmed since: that is what it tells as its bound.

use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use super::position::{Epoch, Position, StreamId};
use super::stream::{array, bytes};
use crate::redis::{Connection, Fault, Opened};

const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that all nodes may take.
const MOST_ANSWER: usize = 512 * 1024;

/// How long the hash outlives the last node, and a node that ended without a word.
const LIVES: Duration = Duration::from_secs(24 * 3600);
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What is added to a node's bound: it is told and noted at slightly different times.
const MARGIN: Duration = Duration::from_secs(2);

/// How long a silent node counts that has no bound.
const UNBOUNDED: Duration = Duration::from_secs(60);

/// The field that tells whether the hash is the one of before: one that was lost and begun anew
/// does not have all who are there.
const MARKER: &[u8] = b"roster";

/// KEYS: the hash. ARGV: the node, what it tells, how long the hash lives in milliseconds, how old
/// in seconds what is forgotten is, or 0, and a marker for a new hash.
const ANNOUNCE: &str = "\
local key, now = KEYS[1], redis.call('TIME')
if redis.call('TYPE', key).ok ~= 'hash' then redis.call('UNLINK', key) end
local millis = now[1] .. string.format('%03d', math.floor(now[2] / 1000))
redis.call('HSET', key, ARGV[1], millis .. ' ' .. ARGV[2])
if not redis.call('HGET', key, 'roster') then redis.call('HSET', key, 'roster', ARGV[5]) end
redis.call('PEXPIRE', key, ARGV[3])
if ARGV[4] ~= '0' then
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local told = tonumber(string.match(all[i + 1], '^%d+') or 0)
    if all[i] ~= 'roster' and told / 1000 < now[1] - ARGV[4] then redis.call('HDEL', key, all[i]) end
  end
end
return 1";

/// KEYS: the hash. Gives the time in seconds and microseconds, and all of the hash.
const ROLL: &str = "\
local now = redis.call('TIME')
return {now[1], now[2], redis.call('HGETALL', KEYS[1])}";

/// What a node tells of itself.
#[derive(Clone, Debug)]
pub(super) struct Told<'a> {
    pub(super) id: u128,
    pub(super) name: &'a str,
    pub(super) position: Position,
    /// For how long its memory may go on without the stream; zero without a bound.
    pub(super) max_unsynced: Duration,
}

/// A node, as it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub(super) id: Vec<u8>,
    /// Its name: the machine's, and some digits.
    pub name: String,
    /// Up to where it has done all purges.
    pub position: Position,
    /// How long ago it was heard of.
    pub silent: Duration,
    pub(super) bound: Duration,
}

/// Who is in the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Roll {
    pub(super) marker: Option<Vec<u8>>,
    pub(super) nodes: Vec<Node>,
}

impl Node {
    /// Whether it may still serve what it has not heard to be purged.
    #[must_use]
    pub fn counts(&self) -> bool {
        let bound = if self.bound.is_zero() { UNBOUNDED } else { self.bound };
        self.silent <= bound + MARGIN
    }

    /// Whether it has done all purges up to `id` of an epoch.
    #[must_use]
    pub fn has_reached(&self, epoch: Epoch, id: StreamId) -> bool {
        self.position.epoch == epoch && self.position.id >= id
    }
}

/// Tells where a node is; with `tidy`, those who are long gone are forgotten.
pub(super) async fn announce(
    opened: &Opened,
    key: &str,
    told: &Told<'_>,
    tidy: bool,
) -> Result<(), Fault> {
    let bound = told.max_unsynced.as_millis();
    let text = format!("{} {bound} {}", told.position, told.name);
    let mut command = cmd("EVAL");
    command.arg(ANNOUNCE).arg(1).arg(key).arg(format!("{:032x}", told.id)).arg(text);
    command.arg(LIVES.as_millis() as usize).arg(if tidy { REMEMBERED.as_secs() } else { 0 });
    command.arg(format!("{:016x}", fastrand::u64(..)));
    opened.ask(&command, 64, PATIENCE).await.map(drop)
}

/// A node ends, and nobody has to wait for it.
pub(super) async fn leave(connection: &Connection, key: &str, id: u128) -> Result<(), Fault> {
    let mut command = cmd("HDEL");
    command.arg(key).arg(format!("{id:032x}"));
    connection.ask(&command, 64, PATIENCE).await.map(drop)
}

/// Who is there, by anybody's connection.
pub(super) async fn ask(connection: &Connection, key: &str) -> Result<Roll, Fault> {
    let answer = connection.ask(&question(key), MOST_ANSWER, PATIENCE).await?;
    roll(answer).ok_or_else(|| connection.garbage())
}

/// Who is there, by a connection of one's own.
pub(super) async fn ask_alone(opened: &Opened, key: &str) -> Result<Roll, Fault> {
    roll(opened.ask(&question(key), MOST_ANSWER, PATIENCE).await?).ok_or(Fault::Garbage)
}

fn question(key: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(ROLL).arg(1).arg(key);
    command
}

fn roll(answer: Value) -> Option<Roll> {
    let [seconds, micros, all]: [Value; 3] = array(answer)?.try_into().ok()?;
    let number = |value| std::str::from_utf8(&bytes(value)?).ok()?.parse::<u64>().ok();
    let now = number(seconds)? * 1000 + number(micros)? / 1000;
    let all = array(all)?.into_iter().map(bytes).collect::<Option<Vec<_>>>()?;
    let mut roll = Roll { marker: None, nodes: Vec::new() };
    for [id, told] in all.as_chunks::<2>().0 {
        if id == MARKER {
            roll.marker = Some(told.clone());
        } else {
            // What nobody of us has written is nobody to wait for.
            roll.nodes.extend(node(id, told, now));
        }
    }
    Some(roll)
}

fn node(id: &[u8], told: &[u8], now: u64) -> Option<Node> {
    let mut words = std::str::from_utf8(told).ok()?.splitn(4, ' ');
    let mut word = || words.next();
    let at: u64 = word()?.parse().ok()?;
    let position = Position::parse(word()?.as_bytes())?;
    let bound = Duration::from_millis(word()?.parse().ok()?);
    let name = word()?.chars().filter(|letter| !letter.is_control()).take(100).collect();
    let silent = Duration::from_millis(now.saturating_sub(at));
    Some(Node { id: id.to_vec(), name, position, silent, bound })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::store::remote::fleet) fn node_with_bound(name: &str, bound: Duration) -> Node {
        let position = Position { epoch: Epoch::random(), id: StreamId::default() };
        let (id, silent) = (name.as_bytes().to_vec(), Duration::ZERO);
        Node { id, name: name.to_owned(), position, silent, bound }
    }

    #[test]
    fn a_node_counts_until_its_memory_has_nothing_unconfirmed() {
        let position = Position { epoch: Epoch::random(), id: StreamId::default() };
        let told = |bound: u64| format!("50000 {position} {bound} web 1-ab\u{1b}");
        let at = |now, bound| node(b"1", told(bound).as_bytes(), now).expect("a node");
        let heard = at(50_000, 30_000);
        assert_eq!((heard.name.as_str(), heard.silent), ("web 1-ab", Duration::ZERO));
        assert!(heard.has_reached(position.epoch, position.id));
        assert!(at(82_000, 30_000).counts() && !at(82_001, 30_000).counts());
        assert!(at(112_000, 0).counts() && !at(112_001, 0).counts());
        assert!(at(1, 0).counts(), "a clock that was set back");
        for other in ["", "x", "1 2 3 4", "1 0000000000000001:1-1 x y"] {
            assert_eq!(node(b"1", other.as_bytes(), 0), None, "{other}");
        }
    }
}
