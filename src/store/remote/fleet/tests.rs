//! What a page of the stream makes of what was known before.

use super::position::Epoch;
use super::*;

fn id(millis: u64) -> StreamId {
    StreamId { millis, number: 0 }
}

fn page(epoch: Epoch, first: Option<u64>, last: u64) -> Page {
    let (first, last) = (first.map(id), id(last));
    Page { epoch: Some(epoch), first, last, more: false, has_known: true, entries: Vec::new() }
}

#[test]
fn nothing_was_missed_where_what_was_read_last_is_not_older_than_what_was_trimmed() {
    let epoch = Epoch::random();
    let at = |millis| Some(Position { epoch, id: id(millis) });
    for (known, page, expected) in [
        (None, page(epoch, Some(1), 9), Some(Doubted::Joined)),
        (at(5), page(Epoch::random(), Some(1), 9), Some(Doubted::Lost)),
        (at(9), page(epoch, Some(1), 5), Some(Doubted::SetBack)),
        (at(4), page(epoch, Some(6), 9), Some(Doubted::Trimmed)),
        (at(5), page(epoch, None, 9), Some(Doubted::Trimmed)),
        (at(9), page(epoch, None, 9), None),
        (at(6), page(epoch, Some(6), 9), None),
        (at(7), page(epoch, Some(6), 9), None),
    ] {
        for is_first in [true, false] {
            assert_eq!(missed(known, &page, is_first), expected, "{known:?} {page:?}");
        }
    }
    let before = Some(Position { epoch, id: id(6).before() });
    assert_eq!(missed(before, &page(epoch, Some(6), 9), false), None, "as after every doubt");
}

/// After a failover there may be more in the stream than before, and not what was read last.
#[test]
fn what_was_read_from_another_server_has_to_be_there() {
    let epoch = Epoch::random();
    let at = |millis| Some(Position { epoch, id: id(millis) });
    let other = |first| Page { has_known: false, ..page(epoch, first, 9) };
    assert_eq!(missed(at(7), &other(Some(6)), true), Some(Doubted::SetBack));
    assert_eq!(missed(at(7), &other(Some(6)), false), None, "somebody deleted it");
    let before = Some(Position { epoch, id: id(6).before() });
    assert_eq!(missed(before, &other(Some(6)), true), None, "it was trimmed");
    assert_eq!(missed(at(9), &other(None), true), None, "all of it was");
}

#[test]
fn names_tell_processes_apart() {
    let (one, other) = (name(fastrand::u128(..)), name(fastrand::u128(..)));
    assert_ne!(one, other);
    assert!(
        one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
        "{one}"
    );
}
