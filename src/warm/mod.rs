//! `seawall warm`: asks a running cache for a list of URLs, so that it has them.
//!
//! A thread reads the [`list`], [`worker`]s ask for what is on it, and [`outcome`] counts what became
//! of it. What is not read yet waits in the file: memory is bounded however long the list is.

mod list;
mod outcome;
mod worker;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use seawall::forecast::{Source, SourceError};
use seawall::shutdown::{Shutdown, watch_signals};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::list::{Item, ListError};
use self::outcome::{Became, Tally};
use self::worker::{Common, Worker};
use crate::bench::target::Trust;
use crate::cli::Warm;
use crate::say;

/// What is read ahead of the workers.
const READ_AHEAD: usize = 256;

/// URLs that are told of by themselves where not all are: what did not get into the cache.
const MOST_TOLD: u64 = 20;

/// What browsers send, so that what they are given is what was stored.
const USUAL_CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

/// How often the bar moves.
const EVERY: Duration = Duration::from_millis(200);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every URL was answered.
    Warm,
    /// Some were not, or a line named none.
    Failures,
}

/// Why a list is not asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WarmError {
    #[error(transparent)]
    Open(#[from] SourceError),
    #[error("{}: {cause}", .file.display())]
    List { file: PathBuf, cause: String },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    #[error("these lists name nothing to ask for")]
    Nothing,
}

/// Runs it, and says what came of it.
pub(crate) fn run(warm: &Warm) -> Result<Ended, WarmError> {
    let stop = Shutdown::new();
    watch_signals(&stop, || (), || ())?;
    let sources: Vec<_> =
        warm.from.iter().map(|file| Source::open(file)).collect::<Result<_, _>>()?;
    let bar = bar(&sources);
    let read: Vec<_> = sources.iter().map(Source::progress).collect();
    let (sender, items) = mpsc::channel(READ_AHEAD);
    let (lists, to) = (warm.from.clone().into_iter().zip(sources), warm.to.clone());
    let reading = thread::Builder::new().name("warm-list".to_owned());
    let reading = reading.spawn(move || read_all(lists, to.as_ref(), &sender))?;
    let common = Arc::new(common(warm, items, bar.clone(), stop));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(drive(&common, warm.connections, &bar, &read));
    let took = began.elapsed();
    bar.finish_and_clear();
    // Names may still be looked up, and a pipe still be open: nobody waits for them.
    runtime.shutdown_background();
    let interrupted = common.stop.is_draining();
    let fault = match (interrupted, reading.is_finished()) {
        (false, _) | (true, true) => reading.join().unwrap_or(Ok(())).err(),
        (true, false) => None,
    };
    conclude(warm, &common.tally(), took, interrupted, fault)
}

fn conclude(
    warm: &Warm,
    tally: &Tally,
    took: Duration,
    interrupted: bool,
    fault: Option<WarmError>,
) -> Result<Ended, WarmError> {
    if tally.asked() == 0 && tally.broken == 0 && !interrupted {
        return Err(fault.unwrap_or(WarmError::Nothing));
    }
    say(if warm.json { tally.json(took, interrupted) } else { tally.render(took, interrupted) });
    if let Some(fault) = fault {
        return Err(fault);
    }
    Ok(if tally.is_good() { Ended::Warm } else { Ended::Failures })
}

fn common(warm: &Warm, items: mpsc::Receiver<Item>, bar: ProgressBar, stop: Shutdown) -> Common {
    let mut fields = HeaderMap::new();
    fields.insert(ACCEPT_ENCODING, USUAL_CODINGS);
    for (name, _) in &warm.header {
        fields.remove(name);
    }
    for (name, value) in &warm.header {
        fields.append(name, value.clone());
    }
    // A pace that no clock can keep is none: the next request would never come.
    let pause = warm.rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
    Common {
        items: items.into(),
        fields,
        trust: Trust { ca: warm.ca.clone(), insecure: warm.insecure },
        timeout: warm.timeout,
        max_body: warm.max_body,
        pace: pause.map(|pause| (pause, Mutex::new(Instant::now()))),
        targets: Mutex::new(HashMap::new()),
        tally: Mutex::default(),
        report: Report { each: warm.each, json: warm.json, bar, told: AtomicU64::new(0) },
        stop,
    }
}

/// Reads one list after the other, for as long as somebody takes what they have.
fn read_all(
    lists: impl Iterator<Item = (PathBuf, Source)>,
    to: Option<&crate::cli::Site>,
    sender: &mpsc::Sender<Item>,
) -> Result<(), WarmError> {
    let mut first = Ok(());
    for (file, source) in lists {
        let read = list::read(source, to, |item| sender.blocking_send(item).is_ok());
        // What the other lists have is asked for all the same.
        first = first.and(read.map_err(|cause: ListError| not_read(&file, &cause)));
    }
    first
}

fn not_read(file: &Path, cause: &ListError) -> WarmError {
    let cause = crate::units::harmless(&cause.to_string(), 300);
    WarmError::List { file: file.to_owned(), cause }
}

/// Has the workers work until all is done, and moves the bar.
async fn drive(common: &Arc<Common>, count: u32, bar: &ProgressBar, read: &[Arc<AtomicU64>]) {
    let mut workers = JoinSet::new();
    for _ in 0..count {
        workers.spawn(Worker::new(Arc::clone(common)).run());
    }
    let mut moves = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            done = workers.join_next() => if done.is_none() { return },
            () = common.stop.killed() => return,
            _ = moves.tick() => {
                let (asked, errors) = {
                    let tally = common.tally();
                    (tally.asked(), tally.errors.values().sum::<u64>())
                };
                bar.set_position(read.iter().map(|read| read.load(Ordering::Relaxed)).sum());
                bar.set_message(format!("{asked} URLs, {errors} errors"));
            }
        }
    }
}

/// A bar on standard error, if that is a terminal: how much of the lists is read.
fn bar(sources: &[Source]) -> ProgressBar {
    let length = sources.iter().map(Source::size).sum::<Option<u64>>();
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(5));
    let form = match length {
        Some(_) => "warming [{bar:30}] {percent:>3} % {msg}",
        None => "warming {spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar
}

/// Tells what became of URLs while it goes on.
#[derive(Debug)]
struct Report {
    each: bool,
    json: bool,
    bar: ProgressBar,
    told: AtomicU64,
}

impl Report {
    fn tell(&self, became: &Became, url: impl FnOnce() -> String) {
        let missed = matches!(became, Became::Error(_) | Became::Uncacheable(_));
        // For programs it is all or nothing.
        let some = missed
            && !self.json
            && self.told.load(Ordering::Relaxed) < MOST_TOLD
            && self.told.fetch_add(1, Ordering::Relaxed) < MOST_TOLD;
        if self.each || some {
            let line = became.line(&url(), self.json);
            self.bar.suspend(|| say(line));
        }
    }
}
