//! A bar while a log is read, where somebody looks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seawall::forecast::Source;

/// How often it moves.
const EVERY: Duration = Duration::from_millis(100);

/// A bar that moves by itself.
#[derive(Debug)]
pub(super) struct Shown {
    is_done: Arc<AtomicBool>,
    mover: Option<JoinHandle<()>>,
}

/// Shows how far `source` is read, on standard error if that is a terminal.
pub(super) fn show(file: &Path, source: &Source) -> Shown {
    let bar = source.size().map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let is_done = Arc::new(AtomicBool::new(false));
    if bar.is_hidden() {
        return Shown { is_done, mover: None };
    }
    let form = if source.size().is_some() {
        "{msg} {bar:32} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
    } else {
        "{msg} {spinner} {bytes}, {bytes_per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    let name = file.file_name().map_or("standard input".into(), |name| name.to_string_lossy());
    bar.set_message(crate::units::harmless(&name, 40));
    let (progress, done) = (source.progress(), Arc::clone(&is_done));
    let mover = std::thread::spawn(move || {
        while !done.load(Ordering::Acquire) {
            bar.set_position(progress.load(Ordering::Relaxed));
            std::thread::park_timeout(EVERY);
        }
        bar.finish_and_clear();
    });
    Shown { is_done, mover: Some(mover) }
}

impl Shown {
    /// Takes it away.
    pub(super) fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.is_done.store(true, Ordering::Release);
        if let Some(mover) = self.mover.take() {
            mover.thread().unpark();
            let _ = mover.join();
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop();
    }
}
