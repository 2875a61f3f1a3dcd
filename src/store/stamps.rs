//! Invalidation by stamps: a purge is a record with a sequence number, not a walk over the store.
//!
//! Every stored response carries the sequence at which its fetch began; it stands only while no
//! purge that covers it is younger. So a purge is O(1) whatever it covers, a fill that began
//! before a purge can never be fresh after it, and nothing is left behind that could leak. What a
//! response was checked against is noted on it, so that a hit costs one integer compare.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;

use super::labels::LabelRecords;
use crate::key::url_of;
use crate::rules::{Label, Labels};

/// What a purge covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One URL, in the cache key's normal form, with all its variants.
    Url(String),
    /// Every URL that begins so.
    Prefix(String),
    /// Every response that has the tag, or is in the group, whatever its URL.
    Label(Label),
    /// Everything.
    All,
}

/// What kind of thing a purge covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One URL.
    Url,
    /// URLs that begin alike.
    Prefix,
    /// What has a tag.
    Tag,
    /// A cache group (RFC 9875).
    Group,
    /// Everything.
    All,
}

impl Kind {
    /// All kinds, for tables.
    pub const ALL: [Self; 5] = [Self::Url, Self::Prefix, Self::Tag, Self::Group, Self::All];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Prefix => "prefix",
            Self::Tag => "tag",
            Self::Group => "group",
            Self::All => "all",
        }
    }
}

/// How hard a purge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// What is covered becomes stale: it is validated before it is used, or served stale where
    /// that is allowed.
    Soft,
    /// The same, and what of it is in use is refreshed without being asked for.
    Refresh,
    /// What is covered is gone.
    Hard,
}

impl Mode {
    /// All, for tables.
    pub const ALL: [Self; 3] = [Self::Soft, Self::Refresh, Self::Hard];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Refresh => "refresh",
            Self::Hard => "hard",
        }
    }
}

/// Where a stored response stands with regard to all purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No purge covers it.
    Valid,
    /// A soft purge does.
    Soft,
    /// Purges may have been missed, soft or hard: it is validated before it is used.
    Doubtful,
    /// A hard purge does.
    Hard,
}

/// A stored response's own part: when its fetch began, what it can be purged by beside its URL, and
/// what it has been checked against.
#[derive(Debug)]
pub struct Stamp {
    fetched_at: u64,
    labels: Option<Arc<Labels>>,
    checked: AtomicU64,
}

/// How a response stood at the latest purge that it was checked against: one number, so that it is
/// never half of one check and half of another.
#[derive(Clone, Copy)]
struct Checked {
    to: u64,
    standing: Standing,
}

impl Checked {
    const fn of_bits(bits: u64) -> Self {
        Self { to: bits >> 2, standing: standing_from(bits as u8 & 3) }
    }

    /// No sequence reaches its two highest bits, but for the one that stands for "all".
    const fn bits(self) -> u64 {
        let most = u64::MAX >> 2;
        let to = if self.to < most { self.to } else { most };
        (to << 2) | self.standing as u64
    }
}

impl Stamp {
    /// The stamp of a response with `labels` whose fetch began at sequence `fetched_at`.
    #[must_use]
    pub const fn new(fetched_at: u64, labels: Option<Arc<Labels>>) -> Self {
        let checked = Checked { to: fetched_at, standing: Standing::Valid };
        Self { fetched_at, labels, checked: AtomicU64::new(checked.bits()) }
    }

    /// The same stamp on the same response, stored anew in another form.
    #[must_use]
    pub fn again(&self) -> Self {
        let checked = AtomicU64::new(self.checked.load(Ordering::Acquire));
        Self { fetched_at: self.fetched_at, labels: self.labels.clone(), checked }
    }

    fn checked(&self) -> Checked {
        Checked::of_bits(self.checked.load(Ordering::Acquire))
    }

    /// Notes a check. Of two that race, what each has found counts.
    fn note(&self, found: Checked) {
        let both = |bits| {
            let known = Checked::of_bits(bits);
            let standing = worse(known.standing, found.standing);
            Some(Checked { to: known.to.max(found.to), standing }.bits())
        };
        let noted = self.checked.fetch_update(Ordering::AcqRel, Ordering::Acquire, both);
        debug_assert!(noted.is_ok(), "there is always something to note");
    }

    /// The latest purge when its fetch began.
    #[must_use]
    pub const fn fetched_at(&self) -> u64 {
        self.fetched_at
    }

    /// Its tags and groups, if it has any.
    #[must_use]
    pub const fn labels(&self) -> Option<&Arc<Labels>> {
        self.labels.as_ref()
    }
}

/// All purges of this node, in sequence.
#[derive(Debug)]
pub struct Stamps {
    sequence: AtomicU64,
    /// The latest purge that stored responses have to be checked against: hard purges of a URL are
    /// not among them, because the store drops what it holds of it at once.
    concerning: AtomicU64,
    /// The same for purges of labels, which concern only responses that have some.
    concerning_labelled: AtomicU64,
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
    labels: LabelRecords,
    /// Whatever has not been checked since this sequence stands as the hardest purge that has been
    /// forgotten says.
    floor: u64,
    forgotten: Standing,
    /// What was fetched before this sequence is doubted.
    doubted: u64,
    /// As `floor`, for hard purges of a URL, which concern only what was not stored yet.
    gone_floor: u64,
}

/// Records of a kind kept before the floor is raised over the older half.
const MOST_RECORDS: usize = 16 * 1024;

/// Bytes that purges of labels take at most: some 200,000 tags of usual length. A shop may well
/// purge every product's tag between two requests for a page.
const MOST_LABEL_BYTES: usize = 32 * 1024 * 1024;

impl Stamps {
    /// No purges.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(MOST_RECORDS, MOST_LABEL_BYTES)
    }

    fn with_capacity(most: usize, most_label_bytes: usize) -> Self {
        Self {
            sequence: AtomicU64::new(0),
            concerning: AtomicU64::new(0),
            concerning_labelled: AtomicU64::new(0),
            parts: AtomicBool::new(false),
            records: RwLock::new(Records::new(most_label_bytes)),
            most,
        }
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
        let concerning = match (&scope, mode) {
            // What is stored under a URL and nothing else, the store drops at once.
            (Scope::Url(_), Mode::Hard) if !self.parts.load(Ordering::SeqCst) => None,
            (Scope::Label(_), _) => Some(&self.concerning_labelled),
            _ => Some(&self.concerning),
        };
        records.add(scope, sequence, mode);
        records.bound(self.most);
        if let Some(concerning) = concerning {
            concerning.store(sequence, Ordering::Release);
        }
        // Published under the lock: whoever sees the number sees the record.
        self.sequence.store(sequence, Ordering::Release);
        sequence
    }

    /// Whatever was fetched so far may have been purged without a word. Returns the sequence number
    /// of that.
    pub fn doubt(&self) -> u64 {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence.load(Ordering::Relaxed) + 1;
        records.doubted = sequence;
        self.concerning.store(sequence, Ordering::Release);
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
        stamp.note(Checked { to: stamp.fetched_at, standing });
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
        let checked = stamp.checked();
        let is_current = |concerning: &AtomicU64| checked.to >= concerning.load(Ordering::Acquire);
        if is_current(&self.concerning)
            && (stamp.labels.is_none() || is_current(&self.concerning_labelled))
        {
            return checked.standing;
        }
        self.check(key, stamp)
    }

    /// Checks a response against all records, whatever it was checked against before.
    fn check(&self, key: &str, stamp: &Stamp) -> Standing {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence();
        let Checked { to: checked_to, standing: known } = stamp.checked();
        let mut standing = records.standing(key, stamp.fetched_at, checked_to, known);
        if let Some(labels) = &stamp.labels {
            standing = worse(standing, records.labels.standing(labels, checked_to));
        }
        stamp.note(Checked { to: sequence, standing });
        standing
    }
}

impl Default for Stamps {
    fn default() -> Self {
        Self::new()
    }
}

impl Records {
    fn new(most_label_bytes: usize) -> Self {
        Self {
            stale: HashMap::default(),
            gone: HashMap::default(),
            wide: VecDeque::new(),
            labels: LabelRecords::new(most_label_bytes),
            floor: 0,
            forgotten: Standing::Soft,
            doubted: 0,
            gone_floor: 0,
        }
    }

    fn add(&mut self, scope: Scope, sequence: u64, mode: Mode) {
        match (scope, mode) {
            (Scope::Url(url), Mode::Soft | Mode::Refresh) => {
                self.stale.insert(url, sequence);
            }
            (Scope::Url(url), Mode::Hard) => {
                self.gone.insert(url, sequence);
            }
            (Scope::Label(label), mode) => self.labels.add(label, sequence, mode),
            (Scope::All, Mode::Hard) => {
                // It makes every older record pointless.
                self.stale.clear();
                self.gone.clear();
                self.wide.clear();
                self.labels.clear(sequence);
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
        if fetched < self.doubted {
            worst = worse(worst, Standing::Doubtful);
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

pub(super) fn median(sequences: impl Iterator<Item = u64>) -> u64 {
    let mut sequences: Vec<u64> = sequences.collect();
    let middle = sequences.len() / 2;
    *sequences.select_nth_unstable(middle).1
}

impl Scope {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Url(_) => Kind::Url,
            Self::Prefix(_) => Kind::Prefix,
            Self::Label(label) if label.is_group() => Kind::Group,
            Self::Label(_) => Kind::Tag,
            Self::All => Kind::All,
        }
    }

    /// Whether the scope covers a cache key, as far as that tells.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Self::Url(url) => url == url_of(key),
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Self::Label(_) => false,
            Self::All => true,
        }
    }
}

impl From<Mode> for Standing {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Soft | Mode::Refresh => Self::Soft,
            Mode::Hard => Self::Hard,
        }
    }
}

pub(super) fn worse(one: Standing, other: Standing) -> Standing {
    standing_from((one as u8).max(other as u8))
}

const fn standing_from(byte: u8) -> Standing {
    match byte {
        0 => Standing::Valid,
        1 => Standing::Soft,
        2 => Standing::Doubtful,
        _ => Standing::Hard,
    }
}

#[cfg(test)]
mod tests;
