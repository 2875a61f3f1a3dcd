//! What several tests of the bench need.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::origin::Through;
use super::record::{Answer, Record};
use super::summary::{Run, Summary};
use super::verdict::{Told, Verdict};
use super::workload::Noted;

/// A file that is gone when this is dropped.
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file with this text.
pub(super) fn file(name: &str, text: &str) -> File {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("seawall-bench-{}-{number}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    File(path)
}

pub(super) fn run() -> Run {
    Run {
        url: "http://127.0.0.1:8080".to_owned(),
        workload: "a <list>".to_owned(),
        pace: "as fast as answers come (closed loop)".to_owned(),
        transport: "16 connections, HTTP/1.1".to_owned(),
    }
}

/// A hundred answers of ten bytes in two seconds: eighty hits in a millisecond each, ten misses in
/// a hundred, and ten that shared the fetch of one of those.
pub(super) fn summary() -> Summary {
    let mut record = Record::default();
    for (verdict, count, took) in
        [(Verdict::Hit, 80, 1), (Verdict::Miss, 10, 100), (Verdict::Collapsed, 10, 50)]
    {
        for number in 0..count {
            let answer = Answer {
                status: StatusCode::OK,
                verdict,
                told: Some(Told::CacheStatus),
                bytes: 10,
            };
            record.answered(
                answer,
                Duration::from_millis(took),
                Duration::from_millis(20 * number),
            );
        }
    }
    let through = Some(Through { requests: 10, not_modified: 0, bytes: 100 });
    Summary::new(run(), record, Duration::from_secs(2), through, Noted::default(), false)
}
