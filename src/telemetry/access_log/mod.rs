//! The access log: one line a request, written by a thread of its own.
//!
//! Each core gathers its own lines, and the thread takes them a hundred times a second: to wake it
//! for every line, or to hand it what the line is made of, costs more than the line. So the lines
//! of several cores stand in the order of their time but for a hundredth of a second. Logging never
//! waits: where the sink is slower than the requests, lines are dropped and counted.

mod line;
mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use http::{HeaderValue, Method, StatusCode, Version};

use super::{AccessLog as Config, Format};
use crate::clock::Timestamp;
use crate::context::{Outcome, RequestId};
use line::Lines;
use writer::{Control, Sink, Writer};

/// Bytes of lines that may wait for the writer, of each core.
const CAPACITY: usize = 1024 * 1024;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// One request, as it is logged.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the request came.
    pub time: Timestamp,
    /// Its client.
    pub client: IpAddr,
    /// Its method.
    pub method: &'a Method,
    /// Its scheme.
    pub scheme: &'a str,
    /// The host that it names, as it came.
    pub host: Option<&'a [u8]>,
    /// Its path and query, where it has one.
    pub target: Option<&'a str>,
    /// Its HTTP version.
    pub version: Version,
    /// The status that the client got.
    pub status: StatusCode,
    /// Bytes of the body that was sent.
    pub bytes: u64,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// From the request's head to the response's head.
    pub first_byte: Duration,
    /// What the cache did.
    pub outcome: Outcome,
    /// The request's id.
    pub id: RequestId,
    /// The field `Referer`.
    pub referer: Option<&'a HeaderValue>,
    /// The field `User-Agent`.
    pub user_agent: Option<&'a HeaderValue>,
    /// The upstream that the request's route leads to.
    pub upstream: Option<&'a str>,
}

/// A handle on the access log; clones share it.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Arc<Handle>>);

/// The access log as one core sees it.
#[derive(Clone, Debug, Default)]
pub struct CoreLog {
    handle: Option<Arc<Handle>>,
    core: usize,
}

#[derive(Debug)]
struct Handle {
    cores: Arc<[Mutex<Waiting>]>,
    wake: Sender<()>,
    control: Sender<Control>,
    dropped: AtomicU64,
}

/// The lines of one core that nobody has written yet.
#[derive(Debug)]
struct Waiting {
    lines: Lines,
    text: Vec<u8>,
}

/// Why the access log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error("access log {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("access log: {0}")]
    Thread(#[from] io::Error),
}

impl AccessLog {
    /// Opens the log of `cores` cores, at least one, and starts its writer, or makes a log that is
    /// off.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub fn open(config: &Config, cores: usize) -> Result<Self, OpenError> {
        let Some(format) = config.format else { return Ok(Self::default()) };
        let sink = match &config.path {
            None => Sink::Stdout(io::stdout()),
            Some(path) => Sink::File(
                append(path).map_err(|source| OpenError::File { path: path.clone(), source })?,
            ),
        };
        Ok(Self::start(format, sink, config.path.clone(), cores)?)
    }

    fn start(format: Format, sink: Sink, path: Option<PathBuf>, cores: usize) -> io::Result<Self> {
        let waiting = || Mutex::new(Waiting { lines: Lines::new(format), text: Vec::new() });
        let cores: Arc<[_]> = (0..cores.max(1)).map(|_| waiting()).collect();
        let (wake, woken) = bounded(1);
        let (control, commands) = bounded(1);
        let writer = Writer::new(Arc::clone(&cores), sink, path);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&woken, &commands))?;
        let dropped = AtomicU64::new(0);
        Ok(Self(Some(Arc::new(Handle { cores, wake, control, dropped }))))
    }

    /// The log for `core`; more of them than it was opened for share.
    #[must_use]
    pub fn core(&self, core: usize) -> CoreLog {
        CoreLog { handle: self.0.clone(), core }
    }

    /// Lines dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |handle| handle.dropped.load(Ordering::Relaxed))
    }

    /// Opens the file again, after it was moved away. Never blocks.
    pub fn reopen(&self) {
        if let Some(handle) = &self.0 {
            // If a command waits already, it is this one or the end.
            let _ = handle.control.try_send(Control::Reopen);
        }
    }

    /// Writes what waits and ends the log; returns after a second at the latest. What is logged
    /// after it is dropped.
    pub fn close(&self) {
        if let Some(handle) = &self.0 {
            let (done, ended) = bounded(1);
            if handle.control.send_timeout(Control::Stop(done), LAST_LINES).is_ok() {
                let _ = ended.recv_timeout(LAST_LINES);
            }
        }
    }
}

impl CoreLog {
    /// Whether anything is logged: if not, no [`Record`] needs to be made.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.handle.is_some()
    }

    /// Logs a request. Never waits for the sink; a line that finds no room is dropped and counted.
    pub fn log(&self, record: &Record<'_>) {
        let Some(handle) = &self.handle else { return };
        let waiting = &handle.cores[self.core % handle.cores.len()];
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { lines, text } = &mut *waiting;
        let before = text.len();
        if before >= CAPACITY {
            handle.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.write(record, text);
        drop(waiting);
        if before == 0 {
            // If it is to wake already, it has yet to look.
            let _ = handle.wake.try_send(());
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Forwarded;
    use std::fs;

    pub(super) fn record(target: &str) -> Record<'_> {
        static USER_AGENT: HeaderValue = HeaderValue::from_static("curl/8");
        Record {
            time: Timestamp::from_millis(1_700_000_000_123),
            client: [192, 0, 2, 7].into(),
            method: &Method::GET,
            scheme: "http",
            host: Some(b"example.com"),
            target: Some(target),
            version: Version::HTTP_11,
            status: StatusCode::OK,
            bytes: 512,
            duration: Duration::from_micros(1500),
            first_byte: Duration::from_micros(900),
            outcome: Outcome { forwarded: Some(Forwarded::UriMiss), ..Outcome::default() },
            id: RequestId(255),
            referer: None,
            user_agent: Some(&USER_AGENT),
            upstream: Some("origin"),
        }
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("seawall-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        path
    }

    #[test]
    fn what_waits_is_written_before_the_end() {
        let directory = directory("access-log");
        let path = directory.join("access.log");
        let config = Config { format: Some(Format::Text), path: Some(path.clone()) };
        let log = AccessLog::open(&config, 2).expect("a file");
        assert!(log.core(0).enabled());
        for index in 0..100 {
            log.core(index).log(&record(&format!("/{index}")));
        }
        log.close();
        let text = fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count(), 100);
        for index in 0..100 {
            assert!(text.contains(&format!("GET /{index} ")), "{index}: {text}");
        }
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn lines_are_written_without_being_asked_for() {
        let (entered, wait) = bounded(1);
        let (release, blocked) = bounded(1);
        let sink = Sink::Stuck { entered, blocked };
        let log = AccessLog::start(Format::Text, sink, None, 1).expect("a thread");
        for _ in 0..3 {
            log.core(0).log(&record("/"));
            wait.recv().expect("the writer writes");
            release.send(()).expect("it waits");
        }
        log.close();
    }

    #[test]
    fn a_moved_file_is_opened_again() {
        let directory = directory("reopened-log");
        let (path, moved) = (directory.join("access.log"), directory.join("access.log.1"));
        let config = Config { format: Some(Format::Json), path: Some(path.clone()) };
        let log = AccessLog::open(&config, 1).expect("a file");
        log.core(0).log(&record("/before"));
        fs::rename(&path, &moved).expect("moved");
        log.reopen();
        log.close();
        assert!(path.exists());
        // What was logged before is where it would have been, had it been written at once.
        let before = fs::read_to_string(&moved).expect("moved");
        assert!(before.contains("\"/before\""), "{before}");
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_slow_sink_drops_and_counts() {
        let (entered, wait) = bounded(1);
        let (release, blocked) = bounded::<()>(1);
        let sink = Sink::Stuck { entered, blocked };
        let log = AccessLog::start(Format::Text, sink, None, 1).expect("a thread");
        log.core(0).log(&record("/"));
        wait.recv().expect("the writer is stuck in a write");
        let mut line = Vec::new();
        Lines::new(Format::Text).write(&record("/"), &mut line);
        for _ in 0..CAPACITY.div_ceil(line.len()) + 10 {
            log.core(0).log(&record("/"));
        }
        assert_eq!(log.dropped(), 10);
        drop(release);
        log.close();
    }

    #[test]
    fn a_log_that_is_off_costs_nothing() {
        let off = Config { format: None, path: None };
        let log = AccessLog::open(&off, 1).expect("nothing to open");
        assert!(!log.core(0).enabled());
        log.core(0).log(&record("/"));
        log.close();
        assert_eq!(log.dropped(), 0);
    }
}
