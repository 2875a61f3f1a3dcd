//! Invalidation by stamps: a purge is a record with a sequence number, not a walk over the store.
//!
//! Every stored response carries the sequence at which its fetch began; it stands only while no
//! purge that covers it is younger. So a purge is O(1) whatever it covers, a fill that began
//! before a purge can never be fresh after it, and nothing is left behind that could leak. What a
//! response was checked against is noted on it, so that a hit costs one integer compare.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::key::url_of;

/// What a purge covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One URL, in the cache key's normal form, with all its variants.
    Url(String),
    /// Every URL that begins so.
    Prefix(String),
    /// Everything.
    All,
}

/// How hard a purge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// What is covered becomes stale: it is validated before it is used, or served stale where
    /// that is allowed.
    Soft,
    /// What is covered is gone.
    Hard,
}

/// Where a stored response stands with regard to all purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No purge covers it.
    Valid,
    /// A soft purge does.
    Soft,
    /// A hard purge does.
    Hard,
}

/// A stored response's own part: when its fetch began, and what it has been checked against.
#[derive(Debug)]
pub struct Stamp {
    fetched_at: u64,
    checked_to: AtomicU64,
    standing: AtomicU8,
}

impl Stamp {
    /// The stamp of a fetch that began at sequence `fetched_at`.
    #[must_use]
    pub const fn new(fetched_at: u64) -> Self {
        Self {
            fetched_at,
            checked_to: AtomicU64::new(fetched_at),
            standing: AtomicU8::new(Standing::Valid as u8),
        }
    }
}

/// All purges of this node, in sequence.
#[derive(Debug)]
pub struct Stamps {
    sequence: AtomicU64,
    /// The latest purge that stored responses have to be checked against: hard purges of a URL are
    /// not among them, because the store drops what it holds of it at once.
    concerning: AtomicU64,
    /// Whether anything was ever stored under more than its URL: the store does not find that by
    /// its URL, so that hard purges of URLs concern what is stored.
    parts: AtomicBool,
    records: RwLock<Records>,
    most: usize,
}

#[derive(Debug)]
struct Records {
    /// The latest soft purge of a URL.
    stale: HashMap<String, u64, RandomState>,
    /// The latest hard purge of a URL. The store drops what it holds of the URL at once, so these
    /// are there for the fetches that were under way.
    gone: HashMap<String, u64, RandomState>,
    /// Prefixes and "everything", oldest first.
    wide: VecDeque<(u64, Scope, Mode)>,
    /// Whatever has not been checked since this sequence stands as the hardest purge that has been
    /// forgotten says.
    floor: u64,
    forgotten: Standing,
    /// The same for hard purges of a URL, which concern only what was not stored yet.
    gone_floor: u64,
}

/// Records of a kind kept before the floor is raised over the older half.
const MOST_RECORDS: usize = 16 * 1024;

impl Stamps {
    /// No purges.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(MOST_RECORDS)
    }

    fn with_capacity(most: usize) -> Self {
        let (sequence, concerning) = (AtomicU64::new(0), AtomicU64::new(0));
        let parts = AtomicBool::new(false);
        Self { sequence, concerning, parts, records: RwLock::default(), most }
    }

    /// The sequence of the latest purge: what a fetch that begins now is stamped with.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Records a purge and returns its sequence number.
    pub fn purge(&self, scope: Scope, mode: Mode) -> u64 {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence.load(Ordering::Relaxed) + 1;
        // What is stored under a URL and nothing else, the store drops at once.
        let dropped = matches!((&scope, mode), (Scope::Url(_), Mode::Hard));
        records.add(scope, sequence, mode);
        records.bound(self.most);
        if !dropped || self.parts.load(Ordering::SeqCst) {
            self.concerning.store(sequence, Ordering::Release);
        }
        // Published under the lock: whoever sees the number sees the record.
        self.sequence.store(sequence, Ordering::Release);
        sequence
    }

    /// From now on something is stored under more than its URL. To be called before that is put
    /// into the store, and checked after: then either the purge knows of it, or it of the purge.
    pub fn expect_parts(&self) {
        if !self.parts.load(Ordering::Relaxed) {
            self.parts.store(true, Ordering::SeqCst);
        }
    }

    /// Where a response that is being stored under `key` stands: checked against everything, and
    /// stale from now on where it cannot be known.
    #[must_use]
    pub fn admit(&self, key: &str, stamp: &Stamp) -> Standing {
        let standing = self.outside(key, stamp);
        stamp.standing.fetch_max(standing as u8, Ordering::Relaxed);
        standing
    }

    /// Where a response stands that is being fetched, or held by a request: checked against
    /// everything, and stale where it cannot be known.
    #[must_use]
    pub fn outside(&self, key: &str, stamp: &Stamp) -> Standing {
        let floor = self.records.read().unwrap_or_else(PoisonError::into_inner).gone_floor;
        let unknown = if stamp.fetched_at < floor { Standing::Soft } else { Standing::Valid };
        worse(self.check(key, stamp), unknown)
    }

    /// Where the response stored under `key` stands. Hard purges of its URL are the store's
    /// business: it drops the response.
    #[must_use]
    pub fn standing(&self, key: &str, stamp: &Stamp) -> Standing {
        let checked_to = stamp.checked_to.load(Ordering::Acquire);
        if checked_to >= self.concerning.load(Ordering::Acquire) {
            return standing_from(stamp.standing.load(Ordering::Relaxed));
        }
        self.check(key, stamp)
    }

    /// Checks a response against all records, whatever it was checked against before.
    fn check(&self, key: &str, stamp: &Stamp) -> Standing {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence();
        // The mark before the standing that it vouches for, as in `standing`.
        let checked_to = stamp.checked_to.load(Ordering::Acquire);
        let known = standing_from(stamp.standing.load(Ordering::Relaxed));
        let standing = records.standing(key, stamp.fetched_at, checked_to, known);
        // Two checks may race; each writes what holds up to a sequence no older than it found,
        // and the standing before the mark that vouches for it.
        stamp.standing.fetch_max(standing as u8, Ordering::Relaxed);
        stamp.checked_to.fetch_max(sequence, Ordering::Release);
        standing
    }
}

impl Default for Stamps {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Records {
    fn default() -> Self {
        Self {
            stale: HashMap::default(),
            gone: HashMap::default(),
            wide: VecDeque::new(),
            floor: 0,
            forgotten: Standing::Soft,
            gone_floor: 0,
        }
    }
}

impl Records {
    fn add(&mut self, scope: Scope, sequence: u64, mode: Mode) {
        match (scope, mode) {
            (Scope::Url(url), Mode::Soft) => {
                self.stale.insert(url, sequence);
            }
            (Scope::Url(url), Mode::Hard) => {
                self.gone.insert(url, sequence);
            }
            (Scope::All, Mode::Hard) => {
                // It makes every older record pointless.
                self.stale.clear();
                self.gone.clear();
                self.wide.clear();
                self.wide.push_back((sequence, Scope::All, Mode::Hard));
            }
            (wide, mode) => self.wide.push_back((sequence, wide, mode)),
        }
    }

    fn bound(&mut self, most: usize) {
        if self.gone.len() > most {
            self.gone_floor = median(self.gone.values().copied());
            self.gone.retain(|_, sequence| *sequence > self.gone_floor);
        }
        if self.stale.len() + self.wide.len() > most {
            let wide = self.wide.iter().map(|(sequence, ..)| *sequence);
            let floor = median(self.stale.values().copied().chain(wide));
            let forgotten = self.wide.iter().filter(|(sequence, ..)| *sequence <= floor);
            let hardest = forgotten.map(|(.., mode)| *mode).max().unwrap_or(Mode::Soft);
            self.forgotten = worse(self.forgotten, hardest.into());
            self.stale.retain(|_, sequence| *sequence > floor);
            self.wide.retain(|(sequence, ..)| *sequence > floor);
            self.floor = floor;
        }
    }

    fn standing(&self, key: &str, fetched: u64, checked: u64, known: Standing) -> Standing {
        let url = url_of(key);
        // The store has not dropped this, whatever was forgotten.
        let forgotten = url.len() < key.len() && checked < self.gone_floor;
        if forgotten || self.gone.get(url).is_some_and(|&sequence| sequence > fetched) {
            return Standing::Hard;
        }
        let mut worst = known;
        if checked < self.floor {
            worst = worse(worst, self.forgotten);
        }
        if self.stale.get(url).is_some_and(|&sequence| sequence > fetched) {
            worst = worse(worst, Standing::Soft);
        }
        let unchecked = self.wide.iter().rev().take_while(|(sequence, ..)| *sequence > checked);
        for (_, scope, mode) in unchecked {
            if scope.covers(key) {
                worst = worse(worst, (*mode).into());
            }
        }
        worst
    }
}

fn median(sequences: impl Iterator<Item = u64>) -> u64 {
    let mut sequences: Vec<u64> = sequences.collect();
    let middle = sequences.len() / 2;
    *sequences.select_nth_unstable(middle).1
}

impl Scope {
    /// Whether the scope covers a cache key.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Self::Url(url) => url == url_of(key),
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Self::All => true,
        }
    }
}

impl From<Mode> for Standing {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Soft => Self::Soft,
            Mode::Hard => Self::Hard,
        }
    }
}

fn worse(one: Standing, other: Standing) -> Standing {
    standing_from((one as u8).max(other as u8))
}

fn standing_from(byte: u8) -> Standing {
    match byte {
        0 => Standing::Valid,
        1 => Standing::Soft,
        _ => Standing::Hard,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "https://a.example/x/1";

    fn url(url: &str) -> Scope {
        Scope::Url(url.to_owned())
    }

    fn prefix(prefix: &str) -> Scope {
        Scope::Prefix(prefix.to_owned())
    }

    #[test]
    fn a_purge_covers_what_was_fetched_before_it_and_nothing_fetched_after() {
        for (scope, mode, expected) in [
            (url(KEY), Mode::Soft, Standing::Soft),
            (url(KEY), Mode::Hard, Standing::Hard),
            (prefix("https://a.example/x/"), Mode::Soft, Standing::Soft),
            (prefix("https://a.example/x/"), Mode::Hard, Standing::Hard),
            (Scope::All, Mode::Soft, Standing::Soft),
            (Scope::All, Mode::Hard, Standing::Hard),
            (url("https://a.example/x/2"), Mode::Hard, Standing::Valid),
            (prefix("https://a.example/y"), Mode::Hard, Standing::Valid),
        ] {
            let stamps = Stamps::new();
            let before = Stamp::new(stamps.sequence());
            assert_eq!(stamps.admit(KEY, &before), Standing::Valid);
            stamps.purge(scope, mode);
            assert_eq!(stamps.admit(KEY, &before), expected);
            let after = Stamp::new(stamps.sequence());
            assert_eq!(stamps.admit(KEY, &after), Standing::Valid);
        }
    }

    #[test]
    fn a_purge_of_a_url_covers_whatever_is_keyed_beside_it() {
        let key = format!("{KEY}\naccept-language=de");
        for mode in [Mode::Soft, Mode::Hard] {
            let stamps = Stamps::with_capacity(3);
            stamps.expect_parts();
            let stamp = Stamp::new(stamps.sequence());
            assert_eq!(stamps.admit(&key, &stamp), Standing::Valid);
            stamps.purge(url("https://a.example/x"), mode);
            assert_eq!(stamps.standing(&key, &stamp), Standing::Valid);
            stamps.purge(url(KEY), mode);
            // Nothing is forgotten in its favour.
            for other in 0..9 {
                stamps.purge(url(&format!("https://a.example/{other}")), mode);
            }
            assert_eq!(stamps.standing(&key, &stamp), mode.into());
        }
    }

    #[test]
    fn a_soft_purge_does_not_undo_a_hard_one() {
        let stamps = Stamps::new();
        let stamp = Stamp::new(stamps.sequence());
        stamps.purge(url(KEY), Mode::Hard);
        stamps.purge(url(KEY), Mode::Soft);
        assert_eq!(stamps.admit(KEY, &stamp), Standing::Hard);
    }

    #[test]
    fn records_are_bounded_and_what_is_forgotten_is_at_least_stale() {
        let stamps = Stamps::with_capacity(8);
        let stamp = Stamp::new(stamps.sequence());
        for n in 0..100 {
            stamps.purge(url(&format!("https://a.example/{n}")), Mode::Soft);
        }
        assert!(stamps.records.read().expect("no panic").stale.len() <= 8);
        assert_eq!(stamps.standing("https://a.example/0", &stamp), Standing::Soft);
    }

    #[test]
    fn a_forgotten_hard_purge_of_a_prefix_stays_hard() {
        let stamps = Stamps::with_capacity(8);
        let stamp = Stamp::new(stamps.sequence());
        stamps.purge(prefix("https://a.example/"), Mode::Hard);
        for n in 0..100 {
            stamps.purge(prefix(&format!("https://b.example/{n}")), Mode::Soft);
        }
        assert_eq!(stamps.standing(KEY, &stamp), Standing::Hard);
    }

    #[test]
    fn hard_purges_of_other_urls_cost_stored_responses_no_check() {
        let stamps = Stamps::new();
        let stamp = Stamp::new(stamps.sequence());
        stamps.purge(url("https://a.example/other"), Mode::Hard);
        assert_eq!(stamps.standing(KEY, &stamp), Standing::Valid);
        assert_eq!(stamp.checked_to.load(Ordering::Relaxed), 0, "not even looked at");
    }

    #[test]
    fn forgotten_hard_purges_of_urls_concern_only_what_was_being_fetched() {
        let stamps = Stamps::with_capacity(8);
        let (stored, fetching) = (Stamp::new(0), Stamp::new(0));
        for n in 0..100 {
            stamps.purge(url(&format!("https://a.example/{n}")), Mode::Hard);
        }
        assert!(stamps.records.read().expect("no panic").gone.len() <= 8);
        assert_eq!(stamps.standing(KEY, &stored), Standing::Valid);
        assert_eq!(stamps.admit("https://a.example/0", &fetching), Standing::Soft);
    }

    proptest! {
        /// Against a list of all purges that is walked every time.
        #[test]
        fn standings_are_those_of_the_plain_list(
            steps in prop::collection::vec((0..4_usize, any::<bool>(), any::<bool>()), 1..40),
        ) {
            let keys = ["http://a/1", "http://a/2", "http://b/1"];
            let scopes = [url(keys[0]), prefix("http://a/"), prefix("http://b/1"), Scope::All];
            let stamps = Stamps::new();
            let old: Vec<_> = keys.iter().map(|_| Stamp::new(0)).collect();
            let mut purges: Vec<(u64, Scope, Mode)> = Vec::new();
            for (scope, hard, check) in steps {
                let mode = if hard { Mode::Hard } else { Mode::Soft };
                let sequence = stamps.purge(scopes[scope].clone(), mode);
                purges.push((sequence, scopes[scope].clone(), mode));
                if check {
                    for (key, stamp) in keys.iter().zip(&old) {
                        let plain = purges.iter().filter(|(_, scope, _)| scope.covers(key));
                        let plain = plain.map(|(_, _, mode)| *mode).max();
                        let expected = plain.map_or(Standing::Valid, Standing::from);
                        prop_assert_eq!(stamps.admit(key, stamp), expected);
                    }
                }
            }
        }
    }
}
