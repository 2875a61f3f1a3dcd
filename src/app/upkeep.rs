//! The thread that does what the memory tier leaves for later: it tells the shadow caches what was
//! asked for, and drops what a purge of everything has taken.

use std::time::Duration;
use std::{io, thread};

use crate::store::Memory;

/// How long that may wait: not long, for only so much can wait for the shadow caches.
const PAUSE: Duration = Duration::from_millis(250);

/// Between one lot that is dropped and the next: others want the processor too, and clients' is the
/// first.
const BREATH: Duration = Duration::from_millis(1);

/// How often it sees to it after that that what was dropped is freed: the map does so when nobody can
/// be reading it any more, which it finds out as it goes on.
const LATER: u8 = 3;

/// Starts it. It ends a moment after everybody else has let go of `memory`.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(memory: &Memory) -> io::Result<()> {
    let memory = memory.clone();
    let keep_up = move || {
        let mut later = 0;
        while memory.is_shared() {
            if let Some(feed) = memory.feed() {
                feed.drain();
            }
            let pause = if memory.sweep() > 0 {
                later = LATER;
                BREATH
            } else {
                if later > 0 {
                    later -= 1;
                    memory.settle();
                }
                PAUSE
            };
            thread::sleep(pause);
        }
    };
    thread::Builder::new().name("upkeep".to_owned()).spawn(keep_up).map(drop)
}
