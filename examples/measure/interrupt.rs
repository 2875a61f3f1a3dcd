//! Ctrl-C: what runs is ended in order, its folders are removed, and nothing that was cut is kept.

use std::io;
use std::process;
use std::sync::LazyLock;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

static END: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// From now on the first `SIGINT` or `SIGTERM` asks for the end, and the second one is it.
pub(crate) fn listen() -> io::Result<()> {
    /// As a shell tells it of `SIGINT`.
    const ENDED: i32 = 130;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if END.is_cancelled() {
                    process::exit(ENDED);
                }
                eprintln!("ending what runs; a second signal ends at once");
                END.cancel();
            }
        });
    });
    Ok(())
}

/// # Errors
/// If the end was asked for.
pub(crate) fn check() -> io::Result<()> {
    if END.is_cancelled() { Err(interrupted()) } else { Ok(()) }
}

/// Completes, with an error, when the end is asked for.
pub(crate) async fn asked_for() -> io::Error {
    END.cancelled().await;
    interrupted()
}

fn interrupted() -> io::Error {
    io::Error::other(
        "interrupted: what was measured is kept, and not measured again without --again",
    )
}
