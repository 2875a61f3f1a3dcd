//! Which queries of a path ask for the same thing, as its responses have said
//! (draft-ietf-httpbis-no-vary-search).
//!
//! What is known of a path is the last word of its responses, under a mark of its own. A response
//! that is shared by several URLs is stored under the normal form of their queries and that mark:
//! so it can be confused neither with what answers one URL only, nor with what was stored under
//! an earlier word. Forgetting a path is always safe: what was shared is found no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::quality::RandomState;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Map;

use crate::key::{Target, path_of};
use crate::policy::SearchVariation;

/// Bytes that all paths take together, about.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// What a path takes beside its text and its names, about.
const ENTRY_BYTES: usize = 160;

/// A longer path is not remembered.
const MAX_PATH: usize = 1024;

/// What is known of paths.
#[derive(Debug)]
pub(super) struct Searches {
    /// By the URL without its query.
    paths: Map<String, Search, RandomState>,
    marks: AtomicU64,
    /// Whether anything was ever said.
    any: AtomicBool,
}

/// What a path's responses have said of its queries.
#[derive(Clone, Debug)]
pub struct Search {
    /// What counts.
    pub variation: Arc<SearchVariation>,
    mark: u64,
}

impl Search {
    /// What `target` shares a response with all that it is equivalent to under; `None` where that
    /// has no valid form.
    #[must_use]
    pub fn shared(&self, target: &Target) -> Option<Target> {
        let query = self.variation.normal_form(target.path_and_query.query());
        target.shared(query.as_deref(), self.mark)
    }
}

impl Searches {
    pub(super) fn new() -> Self {
        let weigh = |path: &String, search: &Search| {
            let bytes = path.len() + search.variation.heap_bytes() + ENTRY_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let paths = Map::builder()
            .max_capacity(MOST_BYTES)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        Self { paths, marks: AtomicU64::new(0), any: AtomicBool::new(false) }
    }

    /// What is known of the path of `url`.
    pub(super) fn get(&self, url: &str) -> Option<Search> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        self.paths.get(path_of(url))
    }

    /// A response to `url` says this of its path: the last word counts.
    pub(super) fn learn(&self, url: &str, variation: SearchVariation) -> Option<Search> {
        let path = path_of(url);
        if path.len() > MAX_PATH {
            return None;
        }
        self.any.store(true, Ordering::SeqCst);
        let learnt = self.paths.entry_by_ref(path).and_compute_with(|known| match known {
            Some(known) if *known.value().variation == variation => Op::Nop,
            _ => {
                let mark = self.marks.fetch_add(1, Ordering::Relaxed);
                Op::Put(Search { variation: Arc::new(variation), mark })
            }
        });
        match learnt {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry) => Some(entry.into_value()),
            CompResult::Removed(_) | CompResult::StillNone(_) => None,
        }
    }

    /// What was shared under the path of `url` is found no more.
    pub(super) fn forget(&self, url: &str) {
        if self.any.load(Ordering::SeqCst) {
            self.paths.invalidate(path_of(url));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(field: &str) -> SearchVariation {
        SearchVariation::parse([field]).expect("a variation")
    }

    fn key(searches: &Searches, url: &str) -> Option<String> {
        let target = Target::parse(url).expect("a URL");
        Some(searches.get(url)?.shared(&target)?.key().to_string())
    }

    #[test]
    fn the_last_word_counts_and_has_a_mark_of_its_own() {
        let searches = Searches::new();
        assert_eq!(key(&searches, "http://h/x?a=1"), None);
        searches.learn("http://h/x?a=1", said("params=(\"a\")"));
        assert_eq!(key(&searches, "http://h/x?a=2&b=3").as_deref(), Some("http://h/x?b=3\n?0"));
        assert_eq!(key(&searches, "http://h/x").as_deref(), Some("http://h/x\n?0"));
        assert_eq!(key(&searches, "http://h/x/y?a=2"), None);
        searches.learn("http://h/x", said("params=(\"a\")"));
        assert_eq!(key(&searches, "http://h/x").as_deref(), Some("http://h/x\n?0"));
        searches.learn("http://h/x", said("key-order"));
        assert_eq!(key(&searches, "http://h/x?b&a").as_deref(), Some("http://h/x?a=&b=\n?1"));
        searches.forget("http://h/x?c");
        assert_eq!(key(&searches, "http://h/x"), None);
        searches.learn("http://h/x", said("key-order"));
        assert_eq!(key(&searches, "http://h/x").as_deref(), Some("http://h/x\n?2"));
    }

    #[test]
    fn origins_that_say_it_everywhere_take_no_more_than_their_share() {
        let searches = Searches::new();
        let long = format!("http://h/{}", "x".repeat(MAX_PATH));
        assert!(searches.learn(&long, said("key-order")).is_none());
        for number in 0..60_000 {
            searches.learn(&format!("http://h/{number}"), said("key-order"));
        }
        searches.paths.run_pending_tasks();
        assert!(searches.paths.weighted_size() <= MOST_BYTES);
        assert!(searches.get("http://h/59999").is_some());
    }
}
