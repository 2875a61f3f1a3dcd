//! A client's bytes through the whole proxy: no panic, no request that nobody sent, no split.

use std::sync::OnceLock;

use super::stage::{Client, Stage};
use super::{judge, reading};

/// All that a client sends on one connection, before it ends its side.
pub fn run(data: &[u8]) {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    if data.starts_with(reading::HTTP2) {
        return;
    }
    let turn = STAGE.get_or_init(Stage::new).turn();
    let said = turn.send(data, Client::Finishes);
    let faults = turn.faults();
    assert!(faults.is_empty(), "the origin was sent {faults:#?}");
    let reading = reading::requests(data);
    if let Err(wrong) = judge::requests(&reading, &turn.seen(), &said) {
        panic!("{wrong}\nread as {reading:?}\nanswered {:?}", String::from_utf8_lossy(&said));
    }
}
