//! The thread that tells the shadow caches what is asked for.

use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use crate::store::Memory;

/// How long what is asked for may wait to be told: not long, for only so much can wait.
const PAUSE: Duration = Duration::from_millis(250);

/// Starts it, where there are shadow caches. It ends a moment after the memory tier has.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(memory: &Memory) -> io::Result<()> {
    let Some(feed) = memory.feed() else { return Ok(()) };
    let feed = Arc::downgrade(feed);
    let follow = move || {
        while let Some(feed) = feed.upgrade() {
            feed.drain();
            drop(feed);
            thread::sleep(PAUSE);
        }
    };
    thread::Builder::new().name("shadows".to_owned()).spawn(follow).map(drop)
}
