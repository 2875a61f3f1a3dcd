//! What the demo shows of each request: its access log, read back and put into a short line.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use seawall::telemetry::{AccessLog, Format};
use serde::Deserialize;

use super::paint::{Ink, Paint};
use crate::say;

/// How long lines are gathered, so that a crowd's answers are one line.
const GATHER: Duration = Duration::from_millis(50);

/// Lines of different requests that are gathered; the next one shows them.
const MOST_GROUPS: usize = 32;

/// Words in the order in which the totals show them.
const WORDS: [&str; 8] =
    ["hit", "stale", "revalidated", "collapsed", "miss", "bypass", "error", "local"];

/// The fields of an access log's line that are shown.
#[derive(Debug, Deserialize)]
struct Line {
    cache: String,
    status: u16,
    method: String,
    target: String,
    duration: f64,
    detail: Option<String>,
}

/// How often each word came.
#[derive(Debug, Default)]
struct Totals([u64; WORDS.len()]);

/// How long the last lines may take to be shown.
const LAST_LINES: Duration = Duration::from_millis(500);

/// What is watched.
pub(super) struct Watch {
    /// The log's end of the pipe; it has to stay open until the log has opened it by its path.
    log: PipeWriter,
    /// Disconnected once all is shown.
    shown: Receiver<Infallible>,
}

impl Watch {
    /// The access log that is watched.
    pub(super) fn access_log(&self) -> AccessLog {
        let path = PathBuf::from(format!("/dev/fd/{}", self.log.as_raw_fd()));
        AccessLog { format: Some(Format::Json), path: Some(path) }
    }

    /// Waits a moment for the lines of a log that was closed.
    pub(super) fn finish(self) {
        drop(self.log);
        // Nothing is ever sent: this ends when the other end is gone.
        let _ = self.shown.recv_timeout(LAST_LINES);
    }
}

/// Starts to show what the access log of [`Watch::access_log`] says; `at_origin` counts the
/// requests that went on to the origin.
pub(super) fn start(at_origin: impl Fn() -> u64 + Send + 'static) -> io::Result<Watch> {
    let (reader, writer) = io::pipe()?;
    let (sender, lines) = mpsc::channel();
    let (showing, shown) = mpsc::channel();
    thread::Builder::new().name("demo-log".to_owned()).spawn(move || read_all(reader, &sender))?;
    thread::Builder::new().name("demo-watch".to_owned()).spawn(move || {
        show_all(&lines, at_origin);
        drop(showing);
    })?;
    Ok(Watch { log: writer, shown })
}

fn read_all(log: PipeReader, lines: &mpsc::Sender<Line>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        if let Ok(line) = serde_json::from_str(&line)
            && lines.send(line).is_err()
        {
            return;
        }
    }
}

fn show_all(lines: &Receiver<Line>, at_origin: impl Fn() -> u64) {
    let paint = Paint::of_stdout();
    let mut totals = Totals::default();
    while let Ok(first) = lines.recv() {
        for group in gather(first, lines) {
            totals.count(&group.line.cache, group.count);
            let sum = format!("[{}; origin {}]", totals.show(), at_origin());
            say(format_args!("{}   {}", show(&group, paint), paint.paint(Ink::Dim, &sum)));
        }
    }
}

/// Lines that differ in nothing but how long they took.
#[derive(Debug)]
struct Group {
    /// The slowest of them.
    line: Line,
    count: u64,
}

/// What comes within a moment of `first`, like with like.
fn gather(first: Line, lines: &Receiver<Line>) -> Vec<Group> {
    let end = Instant::now() + GATHER;
    let mut groups = vec![Group { line: first, count: 1 }];
    while groups.len() < MOST_GROUPS
        && let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        match groups.iter_mut().find(|group| group.line.is_like(&line)) {
            Some(group) => {
                group.count += 1;
                group.line.duration = group.line.duration.max(line.duration);
            }
            None => groups.push(Group { line, count: 1 }),
        }
    }
    groups
}

impl Line {
    fn is_like(&self, other: &Self) -> bool {
        self.cache == other.cache
            && self.status == other.status
            && self.method == other.method
            && self.target == other.target
            && self.detail == other.detail
    }
}

fn show(group: &Group, paint: Paint) -> String {
    let Group { line, count } = group;
    let milliseconds = line.duration * 1000.0;
    let word = paint.paint(Ink::of_word(&line.cache), &format!("{:<11}", line.cache));
    let times = if *count > 1 { format!("  × {count}") } else { String::new() };
    let request = format!("{} {}", line.method, line.target);
    // Clients choose the target: it must not steer the terminal.
    let request: String = request.chars().filter(|letter| !letter.is_control()).take(60).collect();
    // Most outcomes are said by the word alone.
    let detail = line.detail.as_deref().filter(|detail| *detail != line.cache);
    let why = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
    format!("{word} {} {request:<16} {milliseconds:>9.1} ms{why}{times}", line.status)
}

impl Totals {
    fn count(&mut self, word: &str, times: u64) {
        if let Some(index) = WORDS.iter().position(|known| *known == word) {
            self.0[index] += times;
        }
    }

    fn show(&self) -> String {
        let counted = WORDS.iter().zip(self.0).filter(|(_, count)| *count > 0);
        counted.map(|(word, count)| format!("{word} {count}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_line_says_what_the_cache_did() {
        let line = r#"{"cache":"miss","status":200,"method":"GET","target":"/slow\u001b[2J",
            "duration":2.0015,"detail":"no-freshness","more":1}"#;
        let line = serde_json::from_str(line).unwrap();
        let shown = show(&Group { line, count: 1 }, Paint::none());
        assert!(shown.starts_with("miss        200 GET /slow[2J"), "{shown}");
        assert!(shown.ends_with("2001.5 ms (no-freshness)"), "{shown}");
    }

    #[test]
    fn totals_leave_out_what_never_came() {
        let mut totals = Totals::default();
        for word in ["miss", "hit", "hit", "unheard-of"] {
            totals.count(word, 1);
        }
        totals.count("hit", 48);
        assert_eq!(totals.show(), "hit 50, miss 1");
    }

    #[test]
    fn a_crowd_is_one_line() {
        let line = |cache: &str, duration| Line {
            cache: cache.to_owned(),
            status: 200,
            method: "GET".to_owned(),
            target: "/slow".to_owned(),
            duration,
            detail: None,
        };
        let (sender, lines) = mpsc::channel();
        for (cache, duration) in [("collapsed", 1.5), ("miss", 2.0), ("collapsed", 1.9)] {
            sender.send(line(cache, duration)).unwrap();
        }
        // Nothing more comes, so that nothing is waited for.
        drop(sender);
        let groups = gather(line("collapsed", 1.0), &lines);
        let shown: Vec<_> = groups.iter().map(|group| show(group, Paint::none())).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(shown[0].starts_with("collapsed ") && shown[0].ends_with("1900.0 ms  × 3"));
        assert!(shown[1].starts_with("miss ") && shown[1].ends_with("2000.0 ms"));
    }

    #[test]
    fn the_log_can_be_opened_by_its_path() {
        let (mut reader, log) = io::pipe().unwrap();
        let watch = Watch { log, shown: mpsc::channel().1 };
        let path = watch.access_log().path.unwrap();
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        log.write_all(b"line\n").unwrap();
        drop(log);
        watch.finish();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "line\n");
    }
}
