//! Which slot of a Cluster a key is in, and which server has which slots. Pure.

use ::redis::Value;

use super::config::Address;
use super::sentinel::is_host;

/// Slots of a Cluster.
pub(super) const SLOTS: usize = 16_384;

/// Parts that the slots may be told in: each slot for itself.
const MOST_RANGES: usize = SLOTS;

/// Slots of one server, the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) owner: Address,
}

/// The slot of a key: of what stands in its first braces, if there is something.
pub(super) fn slot(key: &str) -> usize {
    let key = key.as_bytes();
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    usize::from(crc16(tag.unwrap_or(key))) % SLOTS
}

/// CRC-16/XMODEM, as the Cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        let [high, _] = sum.to_be_bytes();
        sum << 8 ^ TABLE[usize::from(high ^ byte)]
    })
}

const TABLE: [u16; 256] = {
    const POLYNOMIAL: u16 = 0x1021;
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut sum = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte as usize] = sum;
        byte += 1;
    }
    table
};

/// Who has which slots, after the answer to `CLUSTER SLOTS` of the server at `asked`; none where it
/// makes no sense.
pub(super) fn read(answer: Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(parts) = answer else { return None };
    if parts.len() > MOST_RANGES {
        return None;
    }
    parts.iter().map(|told| range(told, asked)).collect()
}

fn range(told: &Value, asked: &Address) -> Option<Range> {
    let Value::Array(fields) = told else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = fields.as_slice() else {
        return None;
    };
    let place = |slot: &i64| usize::try_from(*slot).ok().filter(|slot| *slot < SLOTS);
    let (first, last) = (place(first)?, place(last)?);
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    let port = u16::try_from(*port).ok().filter(|port| *port != 0)?;
    Some(Range { first, last, owner: address(host, port, asked)? })
}

/// Where a server is that another one names. One that does not know its own name is where it was
/// asked.
fn address(host: &str, port: u16, asked: &Address) -> Option<Address> {
    let host = if matches!(host, "" | "?") { &asked.host } else { host };
    is_host(host).then(|| Address::new(host, port))
}

/// Where an error of the server at `asked` leads to: `host:port`.
pub(super) fn target(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    address(host, port.parse().ok().filter(|port| *port != 0)?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!((slot(""), slot("foo"), slot("somekey")), (0, 12_182, 11_058));
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
    }

    #[test]
    fn what_belongs_together_is_in_one_slot() {
        assert_eq!(slot("shop:nodes:{shop:purges}"), slot("shop:purges"));
        assert_eq!(slot("shop:1:{0123}:l:aa"), slot("shop:1:{0123}"));
    }

    #[test]
    fn the_answer_of_a_server_is_read_and_nonsense_is_not() {
        let asked = Address::new("10.0.0.1", 7000);
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), bulk("id")]);
        let part = |first, last, node| {
            Value::Array(vec![Value::Array(vec![Value::Int(first), Value::Int(last), node])])
        };
        let owner = |answer| read(answer, &asked).map(|ranges| ranges[0].owner.to_string());
        for (answer, expected) in [
            (part(0, 5, node(bulk("10.0.0.2"), 7001)), Some("10.0.0.2:7001")),
            (part(0, 5, node(bulk("fd00::2"), 7001)), Some("[fd00::2]:7001")),
            (part(0, 5, node(bulk(""), 7001)), Some("10.0.0.1:7001")),
            (part(0, 5, node(Value::Nil, 7001)), Some("10.0.0.1:7001")),
            (part(0, 16_384, node(bulk("a"), 7001)), None),
            (part(-1, 5, node(bulk("a"), 7001)), None),
            (part(0, 5, node(bulk("a b"), 7001)), None),
            (part(0, 5, node(bulk("a"), 0)), None),
            (part(0, 5, Value::Nil), None),
        ] {
            assert_eq!(owner(answer.clone()).as_deref(), expected, "{answer:?}");
        }
        assert_eq!(read(Value::Array(vec![]), &asked), Some(vec![]));
        assert_eq!(read(Value::Okay, &asked), None);
    }

    #[test]
    fn an_error_tells_where_to_ask() {
        let asked = Address::new("10.0.0.1", 7000);
        let to = |text| target(text, &asked).map(|address| address.to_string());
        assert_eq!(to("10.0.0.2:7001").as_deref(), Some("10.0.0.2:7001"));
        assert_eq!(to("fd00::2:7001").as_deref(), Some("[fd00::2]:7001"));
        assert_eq!(to(":7001").as_deref(), Some("10.0.0.1:7001"));
        assert_eq!((to("7001"), to("a:0"), to("a:x"), to("a/b:1")), (None, None, None, None));
    }
}
