//! A fill's promises, with one writer and many readers.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::budget::{Budget, Charge};
use crate::error::ProxyError;

const LIMITS: Limits =
    Limits { max_object_size: 1 << 20, window: 64 * 1024, stall_timeout: Duration::from_secs(5) };

fn charge() -> (Budget, Charge) {
    let budget = Budget::new(1 << 24);
    let charge = budget.try_charge(0).expect("nothing fits");
    (budget, charge)
}

async fn collect<B>(body: B) -> Result<Bytes, ProxyError>
where
    B: Body<Data = Bytes, Error = ProxyError>,
{
    Ok(body.collect().await?.to_bytes())
}

#[tokio::test]
async fn readers_before_during_and_after_get_the_same_bytes() {
    let (budget, mut charge) = charge();
    let (fill, writer) = Fill::new((), None, LIMITS);
    let early = fill.reader(0, None).expect("open");
    assert_eq!(writer.append(b"hello ", &mut charge), Appended::Storing);
    let middle = fill.reader(0, None).expect("open");
    assert_eq!(writer.append(&vec![b'x'; 40_000], &mut charge), Appended::Storing);
    let Finished::Whole(blocks) = writer.finish(None, charge) else { panic!("whole") };
    let late = fill.reader(0, None).expect("a whole fill can still be read");
    let expected = [&b"hello "[..], &vec![b'x'; 40_000]].concat();
    for reader in [early, middle, late] {
        assert_eq!(collect(reader).await.expect("whole"), expected);
    }
    assert_eq!((blocks.len(), budget.used()), (40_006, 40_006));
    drop((blocks, fill));
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_reader_gets_each_piece_as_it_comes() {
    let (_budget, mut charge) = charge();
    let (fill, writer) = Fill::new((), None, LIMITS);
    let mut reader = fill.reader(0, None).expect("open");
    for piece in ["a", "bc", "def"] {
        let _ = writer.append(piece.as_bytes(), &mut charge);
        let frame = reader.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), piece);
    }
}

#[tokio::test]
async fn a_failed_or_dropped_fill_never_looks_whole() {
    let (_budget, mut charge) = charge();
    let (fill, writer) = Fill::new((), Some(10), LIMITS);
    let reader = fill.reader(0, None).expect("open");
    let _ = writer.append(b"half", &mut charge);
    writer.fail(ErrorKind::BodyTruncated);
    let error = collect(reader).await.expect_err("not whole");
    assert_eq!(error.kind, ErrorKind::BodyTruncated);
    assert!(fill.reader(0, None).is_none(), "nobody joins a failed fill");

    let (fill, writer) = Fill::new((), Some(10), LIMITS);
    let reader = fill.reader(0, None).expect("open");
    drop(writer);
    let error = collect(reader).await.expect_err("not whole");
    assert_eq!(error.kind, ErrorKind::FetchAbandoned);
}

#[tokio::test]
async fn a_range_of_a_growing_fill_ends_where_it_should() {
    let (_budget, mut charge) = charge();
    let (fill, writer) = Fill::new((), Some(12), LIMITS);
    let reader = fill.reader(3, Some(7)).expect("open");
    assert_eq!(reader.size_hint().exact(), Some(4));
    let _ = writer.append(b"abcde", &mut charge);
    let _ = writer.append(b"fghijkl", &mut charge);
    assert_eq!(collect(reader).await.expect("before the fill ends"), "defg");
}

#[tokio::test]
async fn trailers_reach_readers_of_the_whole_only() {
    let (_budget, charge) = charge();
    let (fill, writer) = Fill::new((), None, LIMITS);
    let (whole, part) = (fill.reader(0, None).expect("open"), fill.reader(0, Some(1)));
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "1".parse().expect("a value"));
    let _ = writer.finish(Some(trailers.clone()), charge);
    assert_eq!(whole.collect().await.expect("whole").trailers(), Some(&trailers));
    assert_eq!(part.expect("open").collect().await.expect("whole").trailers(), None);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outgrows_the_store_passes_through_a_bounded_window() {
    let (budget, mut charge) = charge();
    let limits = Limits { max_object_size: 100_000, ..LIMITS };
    let (fill, writer) = Fill::new((), None, limits);
    let reader = fill.reader(0, None).expect("open");
    let total = 4_000_000;
    let reading = tokio::spawn(collect(reader));
    let mut most = 0;
    let mut state = Appended::Storing;
    for _ in 0..total / 20_000 {
        state = writer.append(&vec![7; 20_000], &mut charge);
        if state == Appended::PassThrough {
            assert!(writer.room(&mut charge).await, "somebody reads");
            assert!(fill.reader(0, None).is_none(), "nobody joins once bytes are gone");
        }
        most = most.max(budget.used());
    }
    assert_eq!(state, Appended::PassThrough);
    assert!(matches!(writer.finish(None, charge), Finished::Passed));
    assert_eq!(reading.await.expect("no panic").expect("whole").len(), total);
    assert!(most <= 100_000 + 20_000, "held {most} bytes");
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_a_pass_through_a_reader_that_stalls_is_cut_and_the_others_go_on() {
    let (_budget, mut charge) = charge();
    let limits = Limits { max_object_size: 1000, ..LIMITS };
    let (fill, writer) = Fill::new((), None, limits);
    let (stalled, reader) = (fill.reader(0, None).expect("open"), fill.reader(0, None));
    let reading = tokio::spawn(collect(reader.expect("open")));
    for _ in 0..50 {
        let _ = writer.append(&vec![7; 20_000], &mut charge);
        assert!(writer.room(&mut charge).await, "one still reads");
    }
    let _ = writer.finish(None, charge);
    assert_eq!(reading.await.expect("no panic").expect("whole").len(), 1_000_000);
    let error = collect(stalled).await.expect_err("cut");
    assert_eq!(error.kind, ErrorKind::ReaderStalled);
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_nobody_reads_ends_after_its_grace_however_it_drips() {
    let (_budget, mut charge) = charge();
    let (fill, writer) = Fill::new((), None, LIMITS);
    drop(fill.reader(0, None));
    let grace = Duration::from_secs(3);
    let begun = tokio::time::Instant::now();
    let abandoned = writer.abandoned(grace, None);
    tokio::pin!(abandoned);
    let mut drip = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut abandoned => break,
            _ = drip.tick() => { let _ = writer.append(b"x", &mut charge); }
        }
    }
    assert_eq!(begun.elapsed(), grace);
    assert!(fill.reader(0, None).is_none(), "nobody joins what has ended");
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_is_read_again_within_its_grace_goes_on() {
    let (_budget, mut charge) = charge();
    let (fill, writer) = Fill::new((), None, LIMITS);
    let again = {
        let abandoned = writer.abandoned(Duration::from_secs(3), None);
        tokio::pin!(abandoned);
        tokio::select! {
            () = &mut abandoned => panic!("within its grace"),
            () = tokio::time::advance(Duration::from_secs(2)) => {}
        }
        let again = fill.reader(0, None).expect("open");
        tokio::select! {
            () = &mut abandoned => panic!("it is read"),
            () = tokio::time::advance(Duration::from_secs(9)) => {}
        }
        again
    };
    let _ = writer.append(b"x", &mut charge);
    let _ = writer.finish(None, charge);
    assert_eq!(collect(again).await.expect("whole"), "x");
}

#[tokio::test]
async fn a_full_budget_means_pass_through_not_growth() {
    let budget = Budget::new(10_000);
    let mut charge = budget.try_charge(0).expect("nothing fits");
    let (fill, writer) = Fill::new((), None, LIMITS);
    let _reader = fill.reader(0, None).expect("open");
    assert_eq!(writer.append(&vec![0; 9_000], &mut charge), Appended::Storing);
    assert_eq!(writer.append(&vec![0; 9_000], &mut charge), Appended::PassThrough);
    assert!(budget.used() <= budget.limit());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_pieces_read_at_any_time_are_the_body(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40_000), 0..8),
        announced in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let body = pieces.concat();
        runtime.block_on(async {
            let (_budget, mut charge) = charge();
            let length = announced.then_some(body.len() as u64);
            let (fill, writer) = Fill::new((), length, LIMITS);
            let mut readers = vec![fill.reader(0, None).expect("open")];
            for piece in &pieces {
                let _ = writer.append(piece, &mut charge);
                readers.push(fill.reader(0, None).expect("open"));
            }
            let Finished::Whole(blocks) = writer.finish(None, charge) else { panic!("whole") };
            assert_eq!(blocks.concat(), body);
            for reader in readers {
                assert_eq!(collect(reader).await.expect("whole"), body);
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_without_a_grace_ends_with_its_last_reader() {
    let graces = tokio::sync::Semaphore::new(1);
    let grace = Duration::from_secs(3);
    let (_one, first) = Fill::new((), None, LIMITS);
    let (_other, second) = Fill::new((), None, LIMITS);
    let begun = tokio::time::Instant::now();
    let waits = first.abandoned(grace, Some(&graces));
    tokio::pin!(waits);
    tokio::select! {
        biased;
        () = &mut waits => panic!("it has the grace"),
        () = second.abandoned(grace, Some(&graces)) => {}
    }
    assert!(begun.elapsed() < grace);
    waits.await;
    assert_eq!(begun.elapsed(), grace);
    assert_eq!(graces.available_permits(), 1);
}
