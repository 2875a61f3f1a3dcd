//! An origin's bytes through the whole proxy: nothing cut looks whole, to the first client or to
//! the next, and nothing left over becomes the answer to somebody else.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::reading::{self, Answered, Stop};
use super::stage::{Client, SCRIPTED, Script, Stage, Turn};
use super::strict::{self, Said};

/// A line with `GET` or `HEAD`, then the bytes of the origin.
pub fn run(data: &[u8]) {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let is_head = &data[..end] == b"HEAD";
    let method = if is_head { "HEAD" } else { "GET" };
    let bytes = data[end + 1..].to_vec();
    let reading = reading::response(&bytes, is_head);

    let turn = STAGE.get_or_init(Stage::new).turn();
    // One that is whole leaves the connection open, for what is left over to do harm.
    let keep = reading.as_ref().is_ok_and(|answered| answered.delimited);
    turn.script(Script { bytes, keep });
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    for _ in 0..2 {
        check(&reading, &exchange(&turn, method, &format!("{SCRIPTED}/{number}")));
    }
    let innocent = format!("/innocent/{number}");
    let said = exchange(&turn, "GET", &innocent);
    assert_eq!(String::from_utf8_lossy(&said.body), format!("GET {innocent}\n"), "{said:?}");
    let faults = turn.faults();
    assert!(faults.is_empty(), "the origin was sent {faults:#?}");
}

fn exchange(turn: &Turn<'_>, method: &str, target: &str) -> Said {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let said = turn.send(request.as_bytes(), Client::Finishes);
    match strict::responses(&said, &[method == "HEAD"]) {
        // Nothing at all is a cut too: head and fault may come at once.
        Ok(mut all) if all.len() <= 1 => all.pop().unwrap_or_default(),
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(&said)),
    }
}

fn check(reading: &Result<Answered, Stop>, said: &Said) {
    let own = (500..=504).contains(&said.status);
    match reading {
        // The proxy may be stricter than a careful reader, but it may not read something else.
        Ok(answered) if said.complete && !own => {
            assert_eq!(said.status, answered.status);
            assert_eq!(said.body, answered.body, "{said:?}");
        }
        Ok(_) => {}
        Err(_) => assert!(!said.complete || own, "{reading:?} became {said:?}"),
    }
}
