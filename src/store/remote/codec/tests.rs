//! What is written is read again as it was, and nothing else is read at all.

use proptest::prelude::*;

use super::*;

fn sample(body: BodyAt) -> Entry {
    let mut fields = HeaderMap::new();
    fields.append("content-type", HeaderValue::from_static("text/html"));
    fields.append("x-a", HeaderValue::from_static("1"));
    fields.append("x-a", HeaderValue::from_bytes(b"\xfc").expect("obs-text"));
    Entry {
        key: "http://a.test/b?c".into(),
        written: Written {
            by: 7,
            sequence: 9,
            began: Timestamp::from_millis(-5),
            position: Position::parse(b"00000000000000ab:17-3"),
        },
        head: HeadRecord {
            status: StatusCode::NOT_FOUND,
            fields,
            response_at: Timestamp::from_secs(1_893_456_000),
            initial_age: Duration::from_millis(1234),
            nominated: vec![
                (HeaderName::from_static("accept"), None),
                (HeaderName::from_static("x-b"), Some(b"2"[..].into())),
            ],
            implicit: true,
            reading: 3,
        },
        body,
    }
}

fn inline() -> Entry {
    sample(BodyAt::Inline(Bytes::from_static(b"the body")))
}

#[test]
fn entries_are_read_as_they_were_written() {
    let chunks = Chunks { id: u128::MAX - 3, length: 1 << 40, size: CHUNK };
    for entry in [inline(), sample(BodyAt::Inline(Bytes::new())), sample(BodyAt::Chunks(chunks))] {
        let bytes = entry.encode().expect("a small head");
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }
}

#[test]
fn when_a_fetch_began_stands_where_the_script_looks_for_it() {
    let began = Timestamp::from_millis(1_893_456_000_123);
    let written = Written { began, ..inline().written };
    let bytes = Entry { written, ..inline() }.encode().expect("a small head");
    assert_eq!(bytes[BEGAN], began.as_millis().to_be_bytes());
}

#[test]
fn indexes_are_read_as_they_were_written() {
    let names = ["accept", "x-b"].map(HeaderName::from_static);
    let bytes = encode_index(names.iter());
    assert_eq!(decode_index(&bytes), Ok(names.to_vec()));
    assert_eq!(Entry::decode(&bytes), Err(Corrupt::Senseless), "an index is no entry");
    let entry = inline().encode().expect("a small head");
    assert_eq!(decode_index(&entry), Err(Corrupt::Senseless), "an entry is no index");
}

#[test]
fn what_another_version_wrote_is_told_apart_from_what_is_torn() {
    let mut bytes = inline().encode().expect("a small head");
    bytes[2] = VERSION + 1;
    assert_eq!(Entry::decode(&bytes), Err(Corrupt::Version));
    assert_eq!(Entry::decode(b"a value of somebody else"), Err(Corrupt::Torn));
    assert_eq!(Entry::decode(b""), Err(Corrupt::Torn));
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let bytes = inline().encode().expect("a small head");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Entry::decode(&flipped).is_err(), "bit {bit}");
    }
    for end in 0..bytes.len() {
        assert!(Entry::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Entry::decode(&longer).is_err());
}

/// Somebody who can compute the checksum, and lies in the lengths.
#[test]
fn lengths_beyond_the_bytes_are_refused_before_anything_is_allocated() {
    let bytes = inline().encode().expect("a small head");
    let end = bytes.len() - CHECKSUM;
    for at in 4..end - 4 {
        let mut lie = bytes[..end].to_vec();
        lie[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let lie = finish(lie);
        // It may still be an entry, with another number in it; what counts is that nothing breaks.
        if let Ok(entry) = Entry::decode(&lie) {
            assert!(entry.encode().is_some());
        }
    }
}

#[test]
fn an_inline_body_that_is_too_large_and_senseless_chunks_are_refused() {
    let body = Bytes::from(vec![0; MOST_INLINE + 1]);
    let bytes = sample(BodyAt::Inline(body)).encode().expect("a small head");
    assert_eq!(Entry::decode(&bytes), Err(Corrupt::Senseless));
    for (length, size) in [(0, CHUNK), (5, 0), (5, 2 * CHUNK + 1)] {
        let chunks = BodyAt::Chunks(Chunks { id: 1, length, size });
        let bytes = sample(chunks).encode().expect("a small head");
        assert_eq!(Entry::decode(&bytes), Err(Corrupt::Senseless), "{length} {size}");
    }
}

#[test]
fn a_head_that_is_too_large_is_not_written() {
    let mut entry = inline();
    let value = HeaderValue::from_bytes(&vec![b'a'; MOST_HEAD]).expect("letters");
    entry.head.fields.insert("x-large", value);
    assert_eq!(entry.encode(), None);
}

#[test]
fn a_chunk_is_only_itself() {
    let chunks = Chunks { id: 0x1234_5678_9abc_def0_0fed_cba9_8765_4321, length: 10, size: 4 };
    assert_eq!((chunks.count(), chunks.length_of(2), chunks.length_of(3)), (3, 2, 0));
    let pieces = [Bytes::from_static(b"ab"), Bytes::from_static(b"cd")];
    let sealed = chunks.seal(0, &pieces);
    assert_eq!(chunks.open(0, sealed.clone()), Ok(Bytes::from_static(b"abcd")));
    let other = Chunks { id: 1, ..chunks };
    assert_eq!(chunks.open(1, sealed.clone()), Err(Corrupt::Torn), "another place");
    assert_eq!(other.open(0, sealed.clone()), Err(Corrupt::Torn), "another body");
    assert_eq!(chunks.open(0, sealed[..9].to_vec()), Err(Corrupt::Torn), "cut");
    assert_eq!(chunks.open(0, Vec::new()), Err(Corrupt::Torn), "gone");
    let short = chunks.seal(2, &[Bytes::from_static(b"abc")]);
    assert_eq!(chunks.open(2, short), Err(Corrupt::Torn), "longer than it may be");
}

proptest! {
    #[test]
    fn any_bytes_are_an_entry_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::decode(&bytes);
        let _ = decode_index(&bytes);
        let sealed = finish([begin(ENTRY), bytes.clone()].concat());
        if let Ok(entry) = Entry::decode(&sealed) {
            prop_assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
        }
        let _ = decode_index(&finish([begin(INDEX), bytes].concat()));
    }

    // Somebody who writes to Redis can compute checksums.
    #[test]
    fn any_alteration_of_an_entry_is_an_entry_or_an_error(
        alterations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        chunked in any::<bool>(),
    ) {
        let chunks = BodyAt::Chunks(Chunks { id: 1, length: 99, size: CHUNK });
        let entry = if chunked { sample(chunks) } else { inline() };
        let mut bytes = entry.encode().unwrap();
        bytes.truncate(bytes.len() - CHECKSUM);
        for (index, byte) in alterations {
            let at = 4 + index.index(bytes.len() - 4);
            bytes[at] = byte;
        }
        let short = finish(bytes[..4 + cut.index(bytes.len() - 4)].to_vec());
        for sealed in [finish(bytes), short] {
            if let Ok(entry) = Entry::decode(&sealed) {
                prop_assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
            }
        }
    }

    #[test]
    fn any_entry_survives(
        key in ".{0,40}",
        fields in prop::collection::vec(("[a-z-]{1,9}", prop::collection::vec(32_u8..127, 0..20)), 0..9),
        status in 100_u16..600,
        numbers in any::<(i64, u64, i64, u32, bool, u8)>(),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut entry = sample(BodyAt::Inline(body.into()));
        entry.key = key.into();
        entry.head.fields = fields.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
        }).collect();
        entry.head.status = StatusCode::from_u16(status).unwrap();
        let (at, sequence, began, age, implicit, reading) = numbers;
        entry.head.response_at = Timestamp::from_millis(at);
        entry.head.initial_age = Duration::from_millis(u64::from(age));
        (entry.head.implicit, entry.head.reading) = (implicit, reading);
        let began = Timestamp::from_millis(began);
        entry.written = Written { by: 1, sequence, began, position: None };
        let bytes = entry.encode().unwrap();
        prop_assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    }
}
