//! What a purge would take, found out without doing it.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::stamps::Scope;
use crate::key::url_of;
use crate::rules::Labels;

/// How much of what is stored purges would cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Responses that they cover; each variant is one.
    pub responses: u64,
    /// Bytes that these take.
    pub bytes: u64,
    /// All responses that are stored, and not purged already.
    pub of_responses: u64,
    /// Bytes that all take.
    pub of_bytes: u64,
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
    pub(super) fn count(&mut self, bytes: u64, is_covered: bool) {
        self.of_responses += 1;
        self.of_bytes += bytes;
        if is_covered {
            self.responses += 1;
            self.bytes += bytes;
        }
    }
}
