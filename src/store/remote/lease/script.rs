//! What Redis does about leases: small scripts, each atomic, each on one key's own slot.
//!
//! A lease is one string beside the key's hash, with an expiry: `h<token>:<owner>` while somebody
//! holds it, and `d<token>:<why>` for a while after a fetch whose answer is not for others. Tokens
//! are the microseconds of Redis' own clock, and higher than the highest under which this response
//! was ever written (`f` and the field's name, in the hash): of two holders, the later one has the
//! higher token, and what the earlier one writes later is refused by the script that writes.

use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use super::{Owner, Spot};
use crate::store::remote::layout::Place;

/// Takes a lease, unless there is something to read. KEYS: the hash, then a lease's name for each
/// way in which the response may be told apart. ARGV: the new owner, how long it holds without a
/// heartbeat in milliseconds, the mark of the entry that is of no use (or nothing), then for each
/// name the index that goes with it and the entry's field.
const CLAIM: &str = "\
local known, at = redis.call('HGET', KEYS[1], 'v') or '', nil
for i = 2, #KEYS do
  if ARGV[2 * i] == known then at = i end
end
if not at then return {0} end
local name, field = KEYS[at], ARGV[2 * at + 1]
if ARGV[3] == '' then
  if redis.call('HEXISTS', KEYS[1], field) == 1 then return {0} end
else
  local entry = redis.call('HGET', KEYS[1], field)
  if not entry or 'e' .. string.sub(entry, -8) ~= ARGV[3] then return {0} end
end
local state, token, rest = string.match(redis.call('GET', name) or '', '^(%a)(%d+):(.*)$')
if state == 'h' then return {1, at - 2, redis.call('PTTL', name), tonumber(token)} end
if state == 'd' then return {2, at - 2, redis.call('PTTL', name), rest} end
local now, fence = redis.call('TIME'), redis.call('HGET', KEYS[1], 'f' .. field)
local next = math.max(now[1] * 1000000 + now[2], (tonumber(fence or 0) or 0) + 1)
redis.call('SET', name, string.format('h%.0f:%s', next, ARGV[1]), 'PX', ARGV[2])
return {3, at - 2, 0, next}";

/// Has a lease live on. KEYS: its name. ARGV: the owner, for how many milliseconds. 0: it is lost.
const BEAT: &str = "\
local owner = string.match(redis.call('GET', KEYS[1]) or '', '^h%d+:(.*)$')
if owner ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Ends a lease whose holder has written nothing, and tells whoever waits. KEYS: its name. ARGV: the
/// owner, what is told, for how many milliseconds that stays readable. 0: it was lost before.
const END: &str = "\
local token, owner = string.match(redis.call('GET', KEYS[1]) or '', '^h(%d+):(.*)$')
if owner ~= ARGV[1] then return 0 end
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], 'd' .. token .. ':' .. ARGV[2], 'PX', ARGV[3])
else
  redis.call('UNLINK', KEYS[1])
end
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1";

/// Bytes of the answer to a claim.
pub(in crate::store::remote) const MOST_CLAIM: usize = 256;

/// Bytes of a word that is told.
const MOST_WORD: usize = 64;

/// What Redis says to a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// There is something else to read than what is of no use.
    Changed,
    /// Somebody else has it, for so long, under this token.
    Held(Duration, u64),
    /// There was an answer, which is not for others; that holds for so long.
    Apart(Duration, String),
    /// It is the asker's, under this token.
    Granted(u64),
}

/// A claim to any one of `spots`.
pub(super) fn claim(place: &Place, spots: &[Spot], owner: Owner, lease: Duration) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(CLAIM).arg(1 + spots.len()).arg(place.hash());
    for spot in spots {
        command.arg(place.lease(&spot.field));
    }
    let mark = spots.first().map_or(&[][..], |spot| spot.mark.as_slice());
    command.arg(owner.text()).arg(millis(lease)).arg(mark);
    for spot in spots {
        command.arg(&spot.index).arg(&spot.field);
    }
    command
}

/// What was said to a claim, and which of its spots it is about.
pub(super) fn read(answer: Value) -> Option<(usize, Said)> {
    let Value::Array(values) = answer else { return None };
    match <[Value; 4]>::try_from(values) {
        Ok([Value::Int(said), Value::Int(spot), Value::Int(left), last]) => {
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
            let said = match (said, last) {
                (1, Value::Int(token)) => Said::Held(left, u64::try_from(token).ok()?),
                (2, Value::BulkString(word)) => Said::Apart(left, word_of(word)?),
                (3, Value::Int(token)) => Said::Granted(u64::try_from(token).ok()?),
                _ => return None,
            };
            Some((usize::try_from(spot).ok()?, said))
        }
        Err(values) if values == [Value::Int(0)] => Some((0, Said::Changed)),
        _ => None,
    }
}

fn word_of(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|word| word.len() <= MOST_WORD)
}

pub(super) fn beat(name: &str, owner: Owner, lease: Duration) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(BEAT).arg(1).arg(name).arg(owner.text()).arg(millis(lease));
    command
}

pub(super) fn end(name: &str, owner: Owner, word: &str, readable: Duration) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(END).arg(1).arg(name).arg(owner.text()).arg(word).arg(millis(readable));
    command
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(values: impl Into<Vec<Value>>) -> Value {
        Value::Array(values.into())
    }

    #[test]
    fn what_redis_says_is_read_and_nonsense_is_not() {
        let int = Value::Int;
        let word = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let ms = Duration::from_millis;
        for (answer, expected) in [
            (array([int(0)]), Some((0, Said::Changed))),
            (array([int(1), int(1), int(7), int(9)]), Some((1, Said::Held(ms(7), 9)))),
            // It does not expire: nobody of us wrote it, and it is asked for again soon.
            (array([int(1), int(0), int(-1), int(9)]), Some((0, Said::Held(ms(0), 9)))),
            (
                array([int(2), int(0), int(7), word("private")]),
                Some((0, Said::Apart(ms(7), "private".to_owned()))),
            ),
            (array([int(3), int(0), int(0), int(9)]), Some((0, Said::Granted(9)))),
            (array([int(3), int(0), int(0), int(-9)]), None),
            (array([int(2), int(0), int(7), word(&"x".repeat(65))]), None),
            (array([int(4), int(0), int(0), int(9)]), None),
            (array([]), None),
            (int(3), None),
        ] {
            assert_eq!(read(answer.clone()), expected, "{answer:?}");
        }
    }
}
