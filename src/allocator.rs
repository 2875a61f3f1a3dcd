//! The allocator, and how it has the cache's memory at hand before the first request.
//!
//! A system hands memory out page by page, as each is touched for the first time, and clears it
//! before; in a virtual machine the host may have to do so too. A surge of fills pays for that when
//! there is least to spare. With `[cache] preallocate` it is paid at the start.

use std::env;
use std::ffi::OsString;
use std::hint::black_box;
use std::io;
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds until mimalloc gives what is free back to the system.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

const NEVER: &str = "-1";

/// Bytes taken at a time. mimalloc cuts memory into segments of 32 MiB, whose first 64 KiB are its
/// own: of pieces of this size 63 fit into one.
const PIECE: usize = 512 * 1024;

/// Why the allocator gives back what is freed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// Somebody wants it so.
    #[error("{PURGE_DELAY} is {0:?}: unset it, or write {NEVER}")]
    Set(OsString),
    /// It takes a start, and there is none.
    #[error("the program does not start anew: {0}")]
    Start(#[source] io::Error),
}

/// Has the allocator keep what is freed.
///
/// It asks the environment about that, once, before `main`. So unless it has been told already, the
/// process starts anew, as the same process and with the same arguments: then this does not return.
///
/// # Errors
/// If it gives memory back all the same.
pub(crate) fn keep_freed() -> Result<(), KeepError> {
    match env::var_os(PURGE_DELAY) {
        Some(delay) if delay == NEVER => return Ok(()),
        Some(delay) => return Err(KeepError::Set(delay)),
        None => {}
    }
    // Not /proc/self/exe: what lists processes would show that they are called `exe`.
    let mut program = Command::new(env::current_exe().map_err(KeepError::Start)?);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    Err(KeepError::Start(program.args(arguments).env(PURGE_DELAY, NEVER).exec()))
}

/// Takes `bytes` from the system, on all cores at once, and leaves them free for any thread, if the
/// allocator keeps what is freed.
pub(crate) fn take(bytes: usize) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let pieces = bytes.div_ceil(PIECE).div_ceil(cores);
    let all_have_theirs = Barrier::new(cores);
    let take_share = || {
        // Ones, because zeros would be taken on trust and not touched.
        let share: Vec<Vec<u8>> = (0..pieces).map(|_| black_box(vec![1; PIECE])).collect();
        // What is freed earlier is taken again by the others.
        all_have_theirs.wait();
        drop(share);
    };
    thread::scope(|scope| {
        for _ in 1..cores {
            scope.spawn(take_share);
        }
        take_share();
    });
}
