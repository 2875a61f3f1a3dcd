//! What became of what was asked for, and of all of it together.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::bench::failure::Failure;
use crate::bench::verdict::{self, Verdict};
use crate::units;

/// Reasons that are told apart; who makes up more is counted as one.
const MOST_WORDS: usize = 100;

/// What became of one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It was stored already.
    Hit,
    /// It has come, and is stored now.
    Stored,
    /// It has come, and is not stored: why, in the cache's own word.
    Uncacheable(String),
    /// It has not come, or the origin says that there is no such thing.
    Error(String),
}

impl Became {
    /// What the head of an answer says.
    pub(super) fn read(status: StatusCode, fields: &HeaderMap) -> Self {
        let (verdict, _) = verdict::read(fields);
        let (stored, detail) = verdict::kept(fields);
        let detail = detail.map(|word| units::harmless(&word, 64));
        if status.is_client_error() || status.is_server_error() {
            let number = status.as_str().to_owned();
            return Self::Error(detail.filter(|_| !stored).unwrap_or(number));
        }
        match verdict {
            _ if stored => Self::Stored,
            Verdict::Hit | Verdict::Stale => Self::Hit,
            // The fetch was somebody else's; it was shared, so it is not one that nobody may share.
            Verdict::Collapsed | Verdict::Revalidated => Self::Stored,
            Verdict::Silent => Self::Uncacheable("no-cache-status".to_owned()),
            Verdict::Miss | Verdict::Bypass => {
                Self::Uncacheable(detail.unwrap_or_else(|| verdict.word().to_owned()))
            }
        }
    }

    /// That there was no whole answer.
    pub(super) fn failed(failure: Failure) -> Self {
        Self::Error(failure.word().to_owned())
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stored => "stored",
            Self::Uncacheable(_) => "uncacheable",
            Self::Error(_) => "error",
        }
    }

    const fn why(&self) -> Option<&String> {
        match self {
            Self::Hit | Self::Stored => None,
            Self::Uncacheable(why) | Self::Error(why) => Some(why),
        }
    }

    /// A line for one URL.
    pub(super) fn line(&self, url: &str, json: bool) -> String {
        let (word, why) = (self.word(), self.why());
        if json {
            let mut line = json!({ "url": url, "became": word });
            if let (Some(line), Some(why)) = (line.as_object_mut(), why) {
                line.insert("why".to_owned(), Value::from(why.as_str()));
            }
            return line.to_string();
        }
        let url = units::harmless(url, 500);
        match why {
            None => format!("{word:11} {url}"),
            Some(why) => format!("{word:11} {url} ({why})"),
        }
    }
}

/// What became of all of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) hits: u64,
    pub(super) stored: u64,
    pub(super) uncacheable: BTreeMap<String, u64>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) bytes: u64,
    /// Lines that name no URL, and the first of them.
    pub(super) broken: u64,
    first_broken: Option<(u64, String)>,
}

impl Tally {
    /// Counts one URL, and the bytes that came of it.
    pub(super) fn count(&mut self, became: &Became, bytes: u64) {
        self.bytes += bytes;
        match became {
            Became::Hit => self.hits += 1,
            Became::Stored => self.stored += 1,
            Became::Uncacheable(why) => count(&mut self.uncacheable, why),
            Became::Error(why) => count(&mut self.errors, why),
        }
    }

    /// Counts a line that names no URL.
    pub(super) fn broken(&mut self, line: u64, text: String) {
        self.broken += 1;
        self.first_broken.get_or_insert((line, text));
    }

    /// URLs asked for.
    pub(super) fn asked(&self) -> u64 {
        self.hits + self.stored + sum(&self.uncacheable) + sum(&self.errors)
    }

    /// Whether every URL was answered, and every line named one.
    pub(super) fn is_good(&self) -> bool {
        self.errors.is_empty() && self.broken == 0
    }

    /// All of it, for people.
    pub(super) fn render(&self, took: Duration, interrupted: bool) -> String {
        let (asked, seconds) = (self.asked(), took.as_secs_f64());
        let rate = asked as f64 / seconds.max(0.001);
        let ended = if interrupted { " (interrupted)" } else { "" };
        let mut text = format!(
            "{} URLs in {seconds:.1} s ({rate:.0}/s), {}{ended}",
            units::count(asked),
            units::size(self.bytes),
        );
        let mut row = |word: &str, number: u64, whys: &BTreeMap<String, u64>| {
            let named: Vec<_> =
                whys.iter().map(|(why, count)| format!("{} {why}", units::count(*count))).collect();
            let named =
                if named.is_empty() { String::new() } else { format!("  {}", named.join(", ")) };
            // Writing to a string does not fail.
            let _ = write!(text, "\n  {word:12}{:>9}{named}", units::count(number));
        };
        let none = BTreeMap::new();
        row("hit", self.hits, &none);
        row("stored", self.stored, &none);
        row("uncacheable", sum(&self.uncacheable), &self.uncacheable);
        row("error", sum(&self.errors), &self.errors);
        if let Some((line, first)) = &self.first_broken {
            let lines = units::count(self.broken);
            let _ = write!(text, "\n  {:12}{lines:>9}  first {line}: {first}", "no URL");
        }
        text
    }

    /// The same for programs.
    pub(super) fn json(&self, took: Duration, interrupted: bool) -> String {
        json!({
            "asked": self.asked(),
            "hit": self.hits,
            "stored": self.stored,
            "uncacheable": self.uncacheable,
            "error": self.errors,
            "broken_lines": self.broken,
            "first_broken_line": self.first_broken.as_ref().map(|(line, _)| line),
            "bytes": self.bytes,
            "seconds": took.as_secs_f64(),
            "interrupted": interrupted,
        })
        .to_string()
    }
}

fn count(words: &mut BTreeMap<String, u64>, word: &str) {
    let known = words.contains_key(word) || words.len() < MOST_WORDS;
    let word = if known { word } else { "other" };
    *words.entry(word.to_owned()).or_default() += 1;
}

fn sum(words: &BTreeMap<String, u64>) -> u64 {
    words.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, said: &str) -> Became {
        let fields = [(http::HeaderName::from_static("cache-status"), said.parse().unwrap())];
        Became::read(StatusCode::from_u16(status).unwrap(), &HeaderMap::from_iter(fields))
    }

    #[test]
    fn cache_status_says_what_became_of_it() {
        let uncacheable = |why: &str| Became::Uncacheable(why.to_owned());
        let error = |why: &str| Became::Error(why.to_owned());
        for (status, said, became) in [
            (200, "seawall; hit; ttl=5", Became::Hit),
            (200, "seawall; hit; ttl=5; detail=tier-hit", Became::Hit),
            (200, "seawall; fwd=uri-miss; fwd-status=200; ttl=60; stored", Became::Stored),
            (200, "seawall; fwd=stale; fwd-status=304; ttl=60; stored", Became::Stored),
            (200, "seawall; fwd=uri-miss; ttl=60; collapsed", Became::Stored),
            (200, "inner; stored, seawall; fwd=uri-miss; detail=no-store", uncacheable("no-store")),
            (200, "seawall; fwd=bypass; detail=cache-off", uncacheable("cache-off")),
            (200, "seawall; fwd=bypass", uncacheable("bypass")),
            (200, "", uncacheable("no-cache-status")),
            (404, "seawall; fwd=uri-miss; ttl=60; stored", error("404")),
            (404, "seawall; hit; ttl=60", error("404")),
            (503, "seawall; fwd=uri-miss; detail=too-many-waiting", error("too-many-waiting")),
            (502, "", error("502")),
        ] {
            assert_eq!(read(status, said), became, "{status} {said}");
        }
    }

    #[test]
    fn a_summary_counts_reasons_and_bounds_them() {
        let mut tally = Tally::default();
        tally.count(&Became::Hit, 5);
        tally.count(&Became::Stored, 5);
        tally.count(&read(200, "a; fwd=uri-miss; detail=private"), 2);
        assert!(tally.is_good());
        let text = tally.render(Duration::from_secs(2), false);
        assert!(text.starts_with("3 URLs in 2.0 s (2/s), 12 B"), "{text}");
        assert!(text.contains("1 private"), "{text}");
        for number in 0..200 {
            tally.count(&Became::Error(number.to_string()), 0);
        }
        tally.broken(7, "x".to_owned());
        tally.broken(8, "y".to_owned());
        assert!(!tally.is_good());
        assert_eq!((tally.errors.len(), tally.errors["other"]), (MOST_WORDS + 1, 100));
        assert!(tally.render(Duration::ZERO, true).ends_with("2  first 7: x"));
        let json: Value = serde_json::from_str(&tally.json(Duration::ZERO, true)).unwrap();
        assert_eq!((&json["asked"], &json["broken_lines"]), (&json!(203), &json!(2)));
    }

    #[test]
    fn a_line_tells_of_one_url() {
        let error = Became::Error("timeout".to_owned());
        assert_eq!(error.line("http://a.test/", false), "error       http://a.test/ (timeout)");
        let line: Value = serde_json::from_str(&error.line("http://a.test/", true)).unwrap();
        assert_eq!(line, json!({"url": "http://a.test/", "became": "error", "why": "timeout"}));
    }
}
