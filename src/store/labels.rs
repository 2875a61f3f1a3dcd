//! Purges by tag and by group.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::stamps::{Mode, Standing, median, worse};
use crate::rules::{Label, Labels};

/// Purges that are kept in their sequence, beside the latest of each label.
const MOST_RECENT: usize = 1024;

/// What a record takes beside its label's text: its place in the map and among the recent ones.
const RECORD_OVERHEAD: usize = 128;

/// The latest purges of every label, until there are too many.
#[derive(Debug)]
pub(super) struct LabelRecords {
    latest: HashMap<Label, Latest, RandomState>,
    /// The latest purges, oldest first: most responses have been checked against all but a few.
    recent: VecDeque<(u64, Label, Mode)>,
    /// `recent` holds every purge after this sequence.
    recent_since: u64,
    bytes: usize,
    most_bytes: usize,
    /// What has labels and has not been checked since this sequence stands as the hardest purge
    /// that has been forgotten says.
    floor: u64,
    forgotten: Standing,
}

/// When a label was purged last; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    soft: u64,
    hard: u64,
}

impl LabelRecords {
    /// No purges; some that take up to `most_bytes` are kept.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            latest: HashMap::default(),
            recent: VecDeque::new(),
            recent_since: 0,
            bytes: 0,
            most_bytes,
            floor: 0,
            forgotten: Standing::Valid,
        }
    }

    pub(super) fn add(&mut self, label: Label, sequence: u64, mode: Mode) {
        if !self.latest.contains_key(&label) {
            self.bytes += cost(&label);
        }
        let latest = self.latest.entry(label.clone()).or_default();
        match mode {
            Mode::Soft | Mode::Refresh => latest.soft = sequence,
            Mode::Hard => latest.hard = sequence,
        }
        self.recent.push_back((sequence, label, mode));
        if self.recent.len() > MOST_RECENT
            && let Some((oldest, ..)) = self.recent.pop_front()
        {
            self.recent_since = oldest;
        }
        if self.bytes > self.most_bytes {
            self.forget();
        }
    }

    /// Raises the floor over the older half.
    fn forget(&mut self) {
        self.floor = median(self.latest.values().map(|latest| latest.soft.max(latest.hard)));
        let (floor, mut forgotten) = (self.floor, self.forgotten);
        self.latest.retain(|_, latest| {
            let stays = latest.soft.max(latest.hard) > floor;
            if !stays {
                let hard = latest.hard > 0;
                forgotten = worse(forgotten, if hard { Standing::Hard } else { Standing::Soft });
            }
            stays
        });
        self.forgotten = forgotten;
        self.bytes = self.latest.keys().map(cost).sum();
    }

    /// All that is purged now is older than a purge of everything.
    pub(super) fn clear(&mut self, sequence: u64) {
        self.latest.clear();
        self.recent.clear();
        self.recent_since = sequence;
        self.bytes = 0;
    }

    /// What purges after `checked` have made of a response with `labels`.
    pub(super) fn standing(&self, labels: &Labels, checked: u64) -> Standing {
        let unknown = if checked < self.floor { self.forgotten } else { Standing::Valid };
        let unseen = self.recent.len() - self.recent.partition_point(|(at, ..)| *at <= checked);
        // A search takes about as many steps as the count has digits.
        let steps = 1 + labels.len().ilog2() as usize;
        let purged = if checked >= self.recent_since && unseen * steps < labels.len() {
            let unseen = self.recent.range(self.recent.len() - unseen..);
            let purged = unseen.filter(|(_, label, _)| labels.contains(label));
            purged.map(|(.., mode)| *mode).max()
        } else {
            let latest = labels.iter().filter_map(|label| self.latest.get(label));
            latest.filter_map(|latest| latest.after(checked)).max()
        };
        purged.map_or(unknown, |mode| worse(unknown, mode.into()))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Latest {
    /// The hardest purge after `sequence`.
    fn after(self, sequence: u64) -> Option<Mode> {
        match self {
            Self { hard, .. } if hard > sequence => Some(Mode::Hard),
            Self { soft, .. } if soft > sequence => Some(Mode::Soft),
            _ => None,
        }
    }
}

fn cost(label: &Label) -> usize {
    label.as_bytes().len() + RECORD_OVERHEAD
}
