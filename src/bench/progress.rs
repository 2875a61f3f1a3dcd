//! How far a run is, where somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::drive::{Bound, Driver, Gauges};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// A line on standard error, if that is a terminal, until it is dropped.
#[derive(Debug)]
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows how `driver` gets on with a phase of this `bound`.
    pub(super) fn start(what: &'static str, driver: &Arc<Driver>, bound: Bound) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        if bar.is_hidden() {
            return Self(None);
        }
        let (done, ended) = mpsc::channel();
        let gauges = Arc::clone(&driver.gauges);
        let watch = thread::Builder::new().name("bench-progress".to_owned()).spawn(move || {
            let look = Look::new(what, bar, &gauges, bound);
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                look.update(&gauges);
            }
            look.bar.finish_and_clear();
        });
        // Without a thread for it, the run goes on unseen.
        Self(watch.ok().map(|watch| (done, watch)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, watch)) = self.0.take() {
            drop(done);
            let _ = watch.join();
        }
    }
}

/// Where a phase began.
struct Look {
    bar: ProgressBar,
    bound: Bound,
    start: Instant,
    answered: u64,
    hits: u64,
    failed: u64,
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Look {
    fn new(what: &'static str, bar: ProgressBar, gauges: &Gauges, bound: Bound) -> Self {
        let length = match bound {
            Bound { requests: Some(requests), .. } => Some(requests),
            Bound { time: Some(time), .. } => Some(time.as_millis().try_into().unwrap_or(u64::MAX)),
            Bound { .. } => None,
        };
        let form = match length {
            Some(length) => {
                bar.set_length(length);
                "{prefix} [{bar:30}] {percent:>3} % {msg}"
            }
            None => "{prefix} {spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        let (answered, hits, failed) =
            (load(&gauges.answered), load(&gauges.hits), load(&gauges.failed));
        Self { bar, bound, start: Instant::now(), answered, hits, failed }
    }

    fn update(&self, gauges: &Gauges) {
        let answered = load(&gauges.answered) - self.answered;
        let hits = load(&gauges.hits) - self.hits;
        let failed = load(&gauges.failed) - self.failed;
        let took = self.start.elapsed();
        let share = |part: u64| 100.0 * part as f64 / answered.max(1) as f64;
        let rate = answered as f64 / took.as_secs_f64().max(0.001);
        let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.bar.set_message(format!(
            "{answered} answers, {rate:.0}/s, {:.1} % hits{failures}",
            share(hits.min(answered))
        ));
        match self.bound {
            Bound { requests: Some(_), .. } => self.bar.set_position(answered + failed),
            Bound { time: Some(_), .. } => {
                self.bar.set_position(took.as_millis().try_into().unwrap_or(u64::MAX));
            }
            Bound { .. } => self.bar.tick(),
        }
    }
}
