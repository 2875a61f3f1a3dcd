//! The budgets, by hand and at random.

use super::*;
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(1);

/// A frame's bytes.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes())
}

fn update(increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, 0, &increment.to_be_bytes())
}

fn headers(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, 0x5, stream, b"request")
}

/// A connection whose preface has come.
fn begun() -> Watch {
    let mut watch = Watch::new();
    let preface = [vec![b'P'; PREFACE], frame(kind::SETTINGS, 0, 0, &[])].concat();
    watch.receive(&preface, Duration::ZERO).expect("a preface");
    watch
}

/// How many of the same frame at one time are borne, and what the next one is.
fn borne(bytes: &[u8], watch: impl Fn(&mut Watch, &[u8]) -> Result<(), Offence>) -> (u32, Offence) {
    let mut connection = begun();
    for count in 0..100_000 {
        if let Err(offence) = watch(&mut connection, bytes) {
            return (count, offence);
        }
    }
    panic!("no end to {bytes:?}");
}

#[test]
fn every_kind_of_flood_has_an_end() {
    let receive = |watch: &mut Watch, bytes: &[u8]| watch.receive(bytes, NOW);
    let send = |watch: &mut Watch, bytes: &[u8]| watch.send(bytes, NOW);
    let fault = |reason| reset(1, reason);
    for (bytes, expected) in [
        (reset(1, Reason::CANCEL), (200, Offence::Resets)),
        (frame(kind::SETTINGS, 0, 0, &[]), (50, Offence::Settings)),
        (frame(kind::SETTINGS, 0, 0, &[0; 6]), (50, Offence::Settings)),
        (frame(kind::GOAWAY, 0, 0, &[0; 8]), (50, Offence::Settings)),
        (frame(kind::PING, 0, 0, &[0; 8]), (200, Offence::Pings)),
        (frame(kind::PING, 0x1, 0, &[0; 8]), (200, Offence::Pings)),
        (frame(kind::PRIORITY, 0, 3, &[0; 5]), (400, Offence::Priorities)),
        (frame(kind::PRIORITY_UPDATE, 0, 0, &[0; 5]), (400, Offence::Priorities)),
        (update(65_535), (1000, Offence::WindowUpdates)),
        (frame(kind::DATA, 0, 1, &[]), (50, Offence::EmptyData)),
        (frame(0x42, 0, 0, b"anything"), (100, Offence::Unknown)),
    ] {
        // One second's worth of the rate may come on top: the connection is a second old.
        let (count, offence) = borne(&bytes, receive);
        assert_eq!((count, offence), expected, "{bytes:?}");
    }
    for (bytes, expected) in [
        (fault(Reason::PROTOCOL_ERROR), (50, Offence::Faults)),
        (fault(Reason::FLOW_CONTROL_ERROR), (50, Offence::Faults)),
        (fault(Reason::STREAM_CLOSED), (50, Offence::Faults)),
        (fault(Reason::FRAME_SIZE_ERROR), (50, Offence::Faults)),
        (fault(Reason::REFUSED_STREAM), (500, Offence::Refused)),
    ] {
        assert_eq!(borne(&bytes, send), expected, "{bytes:?}");
    }
}

// RFC 9113 §3.4.
#[test]
fn what_was_sent_is_followed_beyond_an_offence() {
    let half = headers(1)[..5].to_vec();
    for (last, is_whole) in [(headers(1), true), (half, false)] {
        let mut watch = begun();
        let resets = reset(1, Reason::PROTOCOL_ERROR).repeat(10_000);
        assert!(watch.send(&[resets, last].concat(), NOW).is_err());
        assert_eq!(watch.is_between_frames(), is_whole);
    }
}

#[test]
fn the_first_frame_has_to_be_settings() {
    for first in [headers(1), frame(kind::SETTINGS, 0x1, 0, &[]), update(1)] {
        let mut watch = Watch::new();
        watch.receive(&[b'P'; PREFACE], NOW).expect("no frame yet");
        assert_eq!(watch.receive(&first, NOW), Err(Offence::Preface));
    }
}

#[test]
fn what_carries_a_request_or_its_answer_is_never_too_much() {
    let mut watch = begun();
    for number in 0..20_000_u32 {
        let stream = 2 * number + 1;
        watch.receive(&headers(stream), NOW).expect("a request");
        watch.receive(&frame(kind::DATA, 0, stream, b"x"), NOW).expect("data");
        watch.receive(&frame(kind::DATA, 0x1, stream, b""), NOW).expect("its end");
        watch.receive(&frame(kind::SETTINGS, 0x1, 0, b""), NOW).expect("an acknowledgement");
        watch.send(&frame(kind::HEADERS, 0x4, stream, b"head"), NOW).expect("an answer");
        watch.send(&reset(stream, Reason::NO_ERROR), NOW).expect("an early one");
        watch.send(&reset(stream, Reason::INTERNAL_ERROR), NOW).expect("a cut one");
    }
    assert_eq!(watch.last_stream(), 39_999);
}

// All of it at one time, so that no rate helps.
#[test]
fn a_busy_client_earns_what_it_does() {
    let mut watch = begun();
    for number in 0..20_000_u32 {
        let stream = 2 * number + 1;
        watch.receive(&headers(stream), NOW).expect("a request");
        for _ in 0..3 {
            watch.receive(&frame(kind::PRIORITY, 0, stream, &[0; 5]), NOW).expect("priorities");
        }
        if number % 4 == 0 {
            watch.receive(&reset(stream, Reason::CANCEL), NOW).expect("one of four cancelled");
            continue;
        }
        watch.send(&frame(kind::HEADERS, 0x4, stream, b"head"), NOW).expect("a head");
        for flags in [0, 1] {
            watch.send(&frame(kind::DATA, flags, stream, &[0; 2048]), NOW).expect("data");
            watch.receive(&update(1024), NOW).expect("its window");
            watch.receive(&update(2048), NOW).expect("the connection's");
            watch.receive(&frame(kind::PING, 0, 0, &[0; 8]), NOW).expect("a measurement");
        }
    }
}

#[test]
fn answers_pay_for_half_as_many_resets() {
    let mut watch = begun();
    let exchange = |watch: &mut Watch| watch.send(&frame(kind::HEADERS, 0x5, 1, b""), NOW);
    for _ in 0..200 {
        watch.receive(&reset(1, Reason::CANCEL), NOW).expect("the burst");
    }
    for _ in 0..100 {
        exchange(&mut watch).expect("an answer");
        exchange(&mut watch).expect("an answer");
        watch.receive(&reset(1, Reason::CANCEL), NOW).expect("paid for");
    }
    exchange(&mut watch).expect("an answer");
    assert_eq!(watch.receive(&reset(1, Reason::CANCEL), NOW), Err(Offence::Resets));
}

#[test]
fn updates_of_next_to_nothing_are_not_earned_by_what_they_cause() {
    let mut watch = begun();
    let dribble = |watch: &mut Watch| {
        watch.receive(&update(1), NOW)?;
        watch.send(&frame(kind::DATA, 0, 1, b"x"), NOW)
    };
    let count = (0..100_000).find(|_| dribble(&mut watch).is_err());
    assert!(count.is_some_and(|count| count <= 12_000), "{count:?}");
}

#[test]
fn a_header_block_is_open_from_its_first_frame_to_the_end_of_its_last() {
    let second = Duration::from_secs;
    let mut watch = begun();
    let open = frame(kind::HEADERS, 0x1, 1, b"a part");
    let (first, rest) = open.split_at(12);
    watch.receive(first, second(1)).expect("a part");
    assert_eq!(watch.head_since(), Some(second(1)));
    watch.receive(rest, second(2)).expect("the frame's end");
    watch.receive(&frame(kind::CONTINUATION, 0, 1, b""), second(3)).expect("nothing");
    assert_eq!(watch.head_since(), Some(second(1)), "a drip doesn't put it off");
    let last = frame(kind::CONTINUATION, 0x4, 1, b"the rest");
    let (first, rest) = last.split_at(10);
    watch.receive(first, second(4)).expect("a part");
    assert_eq!(watch.head_since(), Some(second(1)));
    watch.receive(rest, second(5)).expect("the end");
    assert_eq!(watch.head_since(), None);

    watch.receive(&[headers(3), open].concat(), second(6)).expect("one and a half");
    assert_eq!(watch.head_since(), Some(second(6)));
}

proptest! {
    // The rate at which a client goes over the line is the same however its bytes are cut, and
    // nothing that it sends panics.
    #[test]
    fn any_bytes_are_judged_alike_however_they_are_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..4000),
        cut in 1..100_usize,
    ) {
        let (mut whole, mut pieces) = (begun(), begun());
        let expected = whole.receive(&bytes, NOW);
        let found = bytes.chunks(cut).try_for_each(|piece| pieces.receive(piece, NOW));
        prop_assert_eq!(expected, found);
        prop_assert_eq!(whole.last_stream(), pieces.last_stream());
        let (mut whole, mut pieces) = (begun(), begun());
        let expected = whole.send(&bytes, NOW);
        let found = bytes.chunks(cut).try_for_each(|piece| pieces.send(piece, NOW));
        prop_assert_eq!(expected, found);
    }

    // Rapid reset at any pace: the origin is asked for no more than the budget.
    #[test]
    fn resets_at_any_pace_keep_to_the_budget(pauses in proptest::collection::vec(0..100_u64, 500..1500)) {
        let (mut watch, mut now, mut passed) = (begun(), 0, 0_u64);
        for (number, pause) in pauses.into_iter().enumerate() {
            now += pause;
            let stream = 2 * u32::try_from(number).expect("small") + 1;
            let attack = [headers(stream), reset(stream, Reason::CANCEL)].concat();
            if watch.receive(&attack, Duration::from_millis(now)).is_err() {
                break;
            }
            passed += 1;
            prop_assert!(passed <= 200 + now * 20 / 1000);
        }
    }
}
