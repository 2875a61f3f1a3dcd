//! The same by time, host, type, rule and URL, for the one replay that is shown in full.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::{Counts, Event};
use crate::forecast::assume::media_type;
use crate::forecast::outcome::{Loss, Outcome};
use crate::forecast::plan::{Plan, host_of, path_of};
use crate::forecast::trace::{Request, Trace};
use crate::policy::Reason;

/// Stretches of time that are told apart, at most.
const MOST_BUCKETS: i64 = 200;

/// Widths of a stretch, in seconds.
const WIDTHS: [i64; 16] = [
    1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800,
    2_592_000,
];

/// Hosts and kinds of paths that are told apart; the rest is one.
const MOST_GROUPS: usize = 1000;

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// All requests.
    pub all: Counts,
    /// Those answered from memory.
    pub hits: Counts,
    /// Requests to origins.
    pub origin: u64,
}

impl Bucket {
    fn note(&mut self, request: &Request, event: &Event) {
        self.all.add(request.bytes);
        if event.outcome.is_hit() {
            self.hits.add(request.bytes);
        }
        self.origin += u64::from(event.origin.is_some());
    }
}

/// Requests that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What.
    pub name: String,
    /// What came of them.
    pub bucket: Bucket,
}

/// A URL whose requests were no hits, the first aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The URL, or the key.
    pub url: String,
    /// How often.
    pub requests: u64,
    /// Of how many.
    pub of: u64,
    /// Bytes that its clients got from the origin.
    pub bytes: u64,
    /// Why, most of the time.
    pub loss: Loss,
}

/// Counts by everything.
#[derive(Debug)]
pub struct Detail {
    start: i64,
    /// Milliseconds.
    width: i64,
    timeline: Vec<Bucket>,
    hosts: Groups,
    types: Groups,
    paths: Groups,
    rules: Vec<Bucket>,
    reasons: BTreeMap<Loss, Counts>,
    urls: Vec<Url>,
}

/// Where a URL's requests are counted, in one place in memory.
#[derive(Clone, Copy, Debug)]
struct Url {
    /// The numbers of its host, type and path.
    groups: [u32; 3],
    account: Account,
}

/// Groups of URLs.
#[derive(Debug, Default)]
struct Groups {
    names: HashMap<String, u32, FixedState>,
    buckets: Vec<Bucket>,
}

/// What was lost of one URL.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    all: u32,
    lost: u32,
    bytes: u64,
    /// The reason that has the majority, if one has (Boyer and Moore).
    loss: Option<Loss>,
    lead: u32,
}

impl Detail {
    /// For a trace and its plan.
    #[must_use]
    pub fn new(trace: &Trace, plan: &Plan) -> Self {
        let seconds = trace.span() / 1000;
        let fits = |width: &&i64| seconds / **width < MOST_BUCKETS;
        let width = WIDTHS.iter().find(fits).copied().unwrap_or(seconds / MOST_BUCKETS + 1) * 1000;
        let start =
            trace.requests.first().map_or(0, |request| request.at).div_euclid(width) * width;
        let (mut hosts, mut types, mut paths) =
            (Groups::default(), Groups::default(), Groups::default());
        let mut objects = None;
        let mut groups_of = |asked: u32, is_key: bool| {
            let text = String::from_utf8_lossy(trace.text(asked));
            let host = host_of(&text);
            if is_key && host.is_none() {
                let name = "(objects)";
                let put = || [hosts.number(name), types.number(name), paths.number(name)];
                return *objects.get_or_insert_with(put);
            }
            let path = path_of(&text);
            [
                hosts.number(&host.unwrap_or_default().to_ascii_lowercase()),
                types.number(trace.media_type(asked).unwrap_or_else(|| media_type(path))),
                paths.number(&first_segment(path)),
            ]
        };
        let urls = trace.asked.iter().zip(0..).map(|(known, asked)| Url {
            groups: groups_of(asked, known.is_key),
            account: Account::default(),
        });
        let urls = urls.collect();
        Self {
            start,
            width,
            timeline: Vec::new(),
            hosts,
            types,
            paths,
            rules: vec![Bucket::default(); plan.rulings.len()],
            reasons: BTreeMap::new(),
            urls,
        }
    }

    pub(in crate::forecast) fn note(&mut self, request: &Request, ruling: u32, event: &Event) {
        let bucket = usize::try_from((request.at - self.start) / self.width).unwrap_or(0);
        if bucket >= self.timeline.len() {
            self.timeline.resize(bucket + 1, Bucket::default());
        }
        let buckets = [self.timeline.get_mut(bucket), self.rules.get_mut(ruling as usize)];
        for bucket in buckets.into_iter().flatten() {
            bucket.note(request, event);
        }
        if let Some(loss) = event.loss {
            self.reasons.entry(loss).or_default().add(request.bytes);
        }
        if let Some(Url { groups, account }) = self.urls.get_mut(request.asked as usize) {
            let all = [&mut self.hosts, &mut self.types, &mut self.paths];
            for (all, group) in all.into_iter().zip(groups) {
                all.note(*group, request, event);
            }
            account.all = account.all.saturating_add(1);
            let is_lost = matches!(
                event.outcome,
                Outcome::Missed | Outcome::Uncacheable | Outcome::Revalidated
            );
            // What no cache can win would hide the URLs where something is to be done.
            let never = [Loss::First, Loss::Policy(Reason::Method)];
            if let Some(loss) = event.loss.filter(|loss| is_lost && !never.contains(loss)) {
                account.lose(loss, request.bytes);
            }
        }
    }

    /// By time: when the first stretch begins, how long each is, both in milliseconds, and all.
    #[must_use]
    pub fn timeline(&self) -> (i64, i64, &[Bucket]) {
        (self.start, self.width, &self.timeline)
    }

    /// By host, those with most requests first.
    #[must_use]
    pub fn hosts(&self) -> Vec<Group> {
        self.hosts.all()
    }

    /// By media type.
    #[must_use]
    pub fn types(&self) -> Vec<Group> {
        self.types.all()
    }

    /// By the first segment of the path.
    #[must_use]
    pub fn paths(&self) -> Vec<Group> {
        self.paths.all()
    }

    /// By the rules that matched.
    #[must_use]
    pub fn rules(&self, plan: &Plan) -> Vec<Group> {
        let named = plan.rulings.iter().zip(&self.rules);
        let group = |(ruled, bucket): (&crate::forecast::plan::Ruled, &Bucket)| Group {
            name: ruled.name(),
            bucket: *bucket,
        };
        sorted(named.map(group).collect())
    }

    /// Why requests were no hits, the most frequent first.
    #[must_use]
    pub fn reasons(&self) -> Vec<(Loss, Counts)> {
        let mut all: Vec<_> = self.reasons.iter().map(|(loss, counts)| (*loss, *counts)).collect();
        all.sort_by_key(|(_, counts)| Reverse(counts.requests));
        all
    }

    /// The `most` URLs that lost most requests.
    #[must_use]
    pub fn lost(&self, trace: &Trace, most: usize) -> Vec<Lost> {
        let mut urls: Vec<_> = (0..self.urls.len()).collect();
        let lost = |index: &usize| self.urls.get(*index).map_or(0, |url| url.account.lost);
        urls.retain(|index| lost(index) > 0);
        let rank = |index: &usize| (Reverse(lost(index)), *index);
        // Only those that are told have to be in order.
        if most < urls.len() {
            urls.select_nth_unstable_by_key(most, rank);
            urls.truncate(most);
        }
        urls.sort_unstable_by_key(rank);
        let told = |index: usize| {
            let account = self.urls.get(index)?.account;
            Some(Lost {
                url: String::from_utf8_lossy(trace.text(index as u32)).into_owned(),
                requests: u64::from(account.lost),
                of: u64::from(account.all),
                bytes: account.bytes,
                loss: account.loss?,
            })
        };
        urls.into_iter().filter_map(told).collect()
    }
}

impl Account {
    fn lose(&mut self, loss: Loss, bytes: u64) {
        self.lost = self.lost.saturating_add(1);
        self.bytes += bytes;
        if self.loss == Some(loss) {
            self.lead += 1;
        } else if self.lead == 0 {
            (self.loss, self.lead) = (Some(loss), 1);
        } else {
            self.lead -= 1;
        }
    }
}

impl Groups {
    /// The number of a group, or of all others where there are too many.
    fn number(&mut self, name: &str) -> u32 {
        let is_full = self.names.len() >= MOST_GROUPS && !self.names.contains_key(name);
        let name = if is_full { "(others)" } else { name };
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = self.buckets.len() as u32;
        self.names.insert(name.to_owned(), number);
        self.buckets.push(Bucket::default());
        number
    }

    fn note(&mut self, group: u32, request: &Request, event: &Event) {
        if let Some(bucket) = self.buckets.get_mut(group as usize) {
            bucket.note(request, event);
        }
    }

    fn all(&self) -> Vec<Group> {
        let group = |(name, number): (&String, &u32)| Group {
            name: name.clone(),
            bucket: self.buckets.get(*number as usize).copied().unwrap_or_default(),
        };
        sorted(self.names.iter().map(group).collect())
    }
}

fn sorted(mut groups: Vec<Group>) -> Vec<Group> {
    groups.retain(|group| group.bucket.all.requests > 0);
    groups.sort_by(|one, other| {
        let by_requests = other.bucket.all.requests.cmp(&one.bucket.all.requests);
        by_requests.then_with(|| one.name.cmp(&other.name))
    });
    groups
}

/// `/shop/` of `/shop/cart`, and `/` of what lies directly below.
fn first_segment(path: &str) -> String {
    let rest = path.strip_prefix('/').unwrap_or(path);
    match rest.split_once('/') {
        Some((segment, _)) => format!("/{segment}/"),
        None => "/".to_owned(),
    }
}
