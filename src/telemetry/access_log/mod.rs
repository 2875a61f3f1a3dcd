//! The access log: one line a request, written by a thread of its own.
//!
//! Logging never waits: where the sink is slower than the requests, lines are dropped and counted.

mod line;
mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::{AccessLog as Config, Format};
use crate::clock::Timestamp;
use crate::context::{Outcome, RequestId};
use writer::{Control, Sink, Writer};

/// Lines that may wait for the writer.
const CAPACITY: usize = 8192;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// One request, as it is logged. Everything in it is cheap to copy: reference counts, no text.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the request came.
    pub time: Timestamp,
    /// Its client.
    pub client: IpAddr,
    /// Its method.
    pub method: Method,
    /// Its normal URI: scheme, host, target.
    pub uri: Uri,
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
    pub referer: Option<HeaderValue>,
    /// The field `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// The upstream that the request's route leads to.
    pub upstream: Option<Arc<str>>,
}

/// A handle on the access log; clones share it.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Arc<Handle>>);

#[derive(Debug)]
struct Handle {
    records: Sender<Record>,
    control: Sender<Control>,
    dropped: AtomicU64,
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
    /// Opens the log and starts its writer, or makes a log that is off.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let Some(format) = config.format else { return Ok(Self::default()) };
        let sink = match &config.path {
            None => Sink::Stdout(io::stdout()),
            Some(path) => Sink::File(
                append(path).map_err(|source| OpenError::File { path: path.clone(), source })?,
            ),
        };
        Ok(Self::start(format, sink, config.path.clone())?)
    }

    fn start(format: Format, sink: Sink, path: Option<PathBuf>) -> io::Result<Self> {
        let (records, incoming) = bounded(CAPACITY);
        let (control, commands) = bounded(1);
        let writer = Writer::new(format, sink, path);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&incoming, &commands))?;
        Ok(Self(Some(Arc::new(Handle { records, control, dropped: AtomicU64::new(0) }))))
    }

    /// Whether anything is logged: if not, no [`Record`] needs to be made.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Logs a request. Never blocks; a line that finds no room is dropped and counted.
    pub fn log(&self, record: Record) {
        if let Some(handle) = &self.0
            && handle.records.try_send(record).is_err()
        {
            handle.dropped.fetch_add(1, Ordering::Relaxed);
        }
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

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Forwarded;
    use std::fs;

    pub(super) fn record(target: &str) -> Record {
        Record {
            time: Timestamp::from_millis(1_700_000_000_123),
            client: [192, 0, 2, 7].into(),
            method: Method::GET,
            uri: target.parse().expect("a URI"),
            version: Version::HTTP_11,
            status: StatusCode::OK,
            bytes: 512,
            duration: Duration::from_micros(1500),
            first_byte: Duration::from_micros(900),
            outcome: Outcome { forwarded: Some(Forwarded::UriMiss), ..Outcome::default() },
            id: RequestId(255),
            referer: None,
            user_agent: Some(HeaderValue::from_static("curl/8")),
            upstream: Some("origin".into()),
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
        let log = AccessLog::open(&config).expect("a file");
        assert!(log.enabled());
        for index in 0..100 {
            log.log(record(&format!("http://example.com/{index}")));
        }
        log.close();
        let text = fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count(), 100);
        assert!(text.lines().next_back().is_some_and(|line| line.contains("GET /99 ")), "{text}");
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_moved_file_is_opened_again() {
        let directory = directory("reopened-log");
        let (path, moved) = (directory.join("access.log"), directory.join("access.log.1"));
        let config = Config { format: Some(Format::Json), path: Some(path.clone()) };
        let log = AccessLog::open(&config).expect("a file");
        fs::rename(&path, &moved).expect("moved");
        log.reopen();
        log.close();
        assert!(path.exists() && moved.exists());
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_slow_sink_drops_and_counts() {
        let (entered, wait) = bounded(1);
        let (release, blocked) = bounded::<()>(1);
        let sink = Sink::Stuck { entered, blocked };
        let log = AccessLog::start(Format::Text, sink, None).expect("a thread");
        log.log(record("http://example.com/"));
        wait.recv().expect("the writer is stuck in a write");
        for _ in 0..CAPACITY + 10 {
            log.log(record("http://example.com/"));
        }
        assert_eq!(log.dropped(), 10);
        drop(release);
        log.close();
    }

    #[test]
    fn a_log_that_is_off_costs_nothing() {
        let log = AccessLog::open(&Config { format: None, path: None }).expect("nothing to open");
        assert!(!log.enabled());
        log.log(record("http://example.com/"));
        log.close();
        assert_eq!(log.dropped(), 0);
    }
}
