//! What comes from Redis: any bytes are an entry, an index and a chunk that was written, or refused;
//! and what is read is written again as it was.

use bytes::Bytes;
use seawall::store::remote::codec::{
    BodyAt, Chunks, Corrupt, Entry, MOST_INLINE, VERSION, decode_index, encode_index,
};
use xxhash_rust::xxh3::xxh3_64;

/// What begins entries, and what begins indexes.
const ENTRY: u8 = 1;
const INDEX: u8 = 2;

/// The bytes as they are, and as what they could be under the right version and checksum: no fuzzer
/// guesses that.
pub fn run(data: &[u8]) {
    for bytes in [data.to_vec(), sealed(VERSION, ENTRY, data), sealed(VERSION, INDEX, data)] {
        entry(&bytes);
        index(&bytes);
    }
    for version in [VERSION - 1, VERSION + 1] {
        let other = sealed(version, ENTRY, data);
        assert_eq!(Entry::decode(&other), Err(Corrupt::Version));
    }
    chunk(data);
}

fn sealed(version: u8, what: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = [b"SW".as_slice(), &[version, what], inner].concat();
    bytes.extend(xxh3_64(&bytes).to_be_bytes());
    bytes
}

fn entry(bytes: &[u8]) {
    let Ok(entry) = Entry::decode(bytes) else { return };
    assert!(entry.head.fields.len() <= 4096 && entry.key.len() <= bytes.len());
    match &entry.body {
        BodyAt::Inline(body) => assert!(body.len() <= MOST_INLINE),
        BodyAt::Chunks(chunks) => assert!(chunks.size > 0 && chunks.count() > 0),
    }
    // A head may be too large to be written, and still be read.
    if let Some(again) = entry.encode() {
        assert_eq!(Entry::decode(&again).as_ref(), Ok(&entry));
    }
}

fn index(bytes: &[u8]) {
    if let Ok(names) = decode_index(bytes) {
        assert!((1..=32).contains(&names.len()));
        let again = encode_index(names.iter());
        assert_eq!(decode_index(&again), Ok(names));
    }
}

/// Numbers of a body's chunks, and a chunk of it.
fn chunk(data: &[u8]) {
    let Some((numbers, content)) = data.split_first_chunk::<12>() else { return };
    let length = u64::from_be_bytes([0, 0, 0, 0, numbers[0], numbers[1], numbers[2], numbers[3]]);
    let size = u32::from_be_bytes([0, 0, numbers[4], numbers[5]]).max(1);
    let index = u64::from(u16::from_be_bytes([numbers[6], numbers[7]]));
    let chunks = Chunks { id: u128::from(numbers[8]) << 90, length, size };
    let content = Bytes::copy_from_slice(content);
    let is_it = content.len() == chunks.length_of(index);
    let sealed = chunks.seal(index, std::slice::from_ref(&content));
    let opened = chunks.open(index, sealed.clone());
    assert_eq!(opened, if is_it { Ok(content) } else { Err(Corrupt::Torn) });
    let other = Chunks { id: chunks.id ^ 1, ..chunks };
    assert_eq!(other.open(index, sealed), Err(Corrupt::Torn));
    let _ = chunks.open(index, data.to_vec());
}
