//! What a purge would take, found out without doing it.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::stamps::Scope;
use crate::key::url_of;
use crate::rules::Labels;

/// How much of what is stored purges would cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Responses that they cover; each variant is one.
    pub responses: u64,
    /// Bytes that these take.
    pub bytes: u64,
    /// All responses that are stored, and not purged already.
    pub of_responses: u64,
    /// Bytes that all take.
    pub of_bytes: u64,
    /// How many of those that they cover were asked for lately, by how often.
    by_uses: [u64; 256],
    /// How often all were asked for lately.
    of_uses: u64,
}

/// Any number of purges, to be held against many responses.
pub(super) struct Coverage<'a> {
    all: bool,
    urls: HashSet<&'a str, RandomState>,
    prefixes: Vec<&'a str>,
    labels: HashSet<&'a [u8], RandomState>,
}

impl<'a> Coverage<'a> {
    pub(super) fn new(scopes: &'a [Scope]) -> Self {
        let mut coverage = Self {
            all: false,
            urls: HashSet::default(),
            prefixes: Vec::new(),
            labels: HashSet::default(),
        };
        for scope in scopes {
            match scope {
                Scope::Url(url) => {
                    coverage.urls.insert(url);
                }
                Scope::Prefix(prefix) => coverage.prefixes.push(prefix),
                Scope::Label(label) => {
                    coverage.labels.insert(label.as_bytes());
                }
                Scope::All => coverage.all = true,
            }
        }
        coverage
    }

    /// Whether any of them covers a response.
    pub(super) fn covers(&self, key: &str, labels: Option<&Labels>) -> bool {
        let labelled = |labels: &Labels| labels.iter().any(|label| self.labels.contains(label));
        self.all
            || self.urls.contains(url_of(key))
            || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
            || !self.labels.is_empty() && labels.is_some_and(labelled)
    }
}

impl Covered {
    /// Adds a response.
    pub(super) fn count(&mut self, bytes: u64, uses: u8, is_covered: bool) {
        self.of_responses += 1;
        self.of_bytes += bytes;
        self.of_uses += u64::from(uses);
        if is_covered {
            self.responses += 1;
            self.bytes += bytes;
            self.by_uses[usize::from(uses)] += 1;
        }
    }

    /// Responses covered that were asked for lately.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.by_uses.iter().skip(1).sum()
    }

    /// What requests that come so many times a second, spread over what is stored as the latest
    /// were, would ask of the origin.
    #[must_use]
    pub fn load(&self, requests: f64) -> Load {
        let each = requests / (self.of_uses as f64).max(1.0);
        let mut load = Load::default();
        for (uses, count) in self.by_uses.iter().enumerate() {
            let (rate, count) = (each * uses as f64, *count as f64);
            load.requests += rate * count;
            // Requests that come at random: the share of objects that one comes for.
            load.first_second += (1.0 - (-rate).exp()) * count;
        }
        load
    }
}

impl Default for Covered {
    fn default() -> Self {
        Self { responses: 0, bytes: 0, of_responses: 0, of_bytes: 0, by_uses: [0; 256], of_uses: 0 }
    }
}

/// What a purge means for the origin, by an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests a second for what is covered.
    pub requests: f64,
    /// Fetches and validations in the first second, which is the worst.
    pub first_second: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_one_request_for_each_object_that_is_asked_for() {
        let mut covered = Covered::default();
        // One that takes half of all requests, ten that share the rest, and one nobody wants.
        covered.count(1, 100, true);
        (0..10).for_each(|_| covered.count(1, 10, true));
        covered.count(1, 0, true);
        assert_eq!(covered.used(), 11);
        let load = covered.load(1000.0);
        assert!((load.requests - 1000.0).abs() < 1e-6, "{load:?}");
        assert!((10.9..=11.0).contains(&load.first_second), "{load:?}");
        let load = covered.load(1.0);
        assert!((0.8..=1.0).contains(&load.first_second), "{load:?}");
        covered.count(1, 200, false);
        assert!((covered.load(1000.0).requests - 500.0).abs() < 1e-6);
        assert_eq!(Covered::default().load(5.0), Load::default());
    }
}
