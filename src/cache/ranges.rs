//! Parts of what is not stored: of the origin as they are, or cut from the whole, which is fetched
//! for them.
//!
//! A whole is fetched for the sake of a part only as far as it will be stored. Where that turns out
//! not to be so, the answer is let go and the part is asked for by itself, and for a while at once.

use http::header::{AUTHORIZATION, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::response::Parts as ResponseHead;
use http::{HeaderMap, Method};

use super::conclude::Conclusion;
use super::keep::content_length;
use super::lookup::{Ask, Plan};
use super::{Config, Filling, Job, Shared, fill::Fill};
use crate::clock::Timestamp;
use crate::policy::{RangeAnswer, Reason, StoredHead, range};

/// What a request for a part asks of the origin where nothing stored has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranges {
    /// The part.
    #[default]
    Pass,
    /// The whole, if that is to be stored.
    Fill,
}

/// Where a part is to come from, once the head of the whole is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The whole, as it fills.
    Whole,
    /// The origin. The whole fills meanwhile, for as long as it may without readers.
    OriginToo,
    /// The origin alone: the whole is not to be stored.
    Origin,
}

impl Shared {
    /// Has the origin asked for the whole where the client asks for a part and the settings say so.
    pub(super) fn fill_for_part(&self, job: &Job, plan: &mut Plan, now: Timestamp) {
        let headers = job.headers();
        let asks = job.config.ranges == Ranges::Fill
            && job.config.store
            && plan.cacheable
            && matches!(plan.ask, Ask::All | Ask::Validation)
            && *job.method() == Method::GET
            && headers.contains_key(RANGE);
        // These are the origin's to judge, or their answers are most likely not to be stored.
        let own = || [AUTHORIZATION, IF_MATCH, IF_UNMODIFIED_SINCE].iter();
        plan.fills = asks
            && !own().any(|name| headers.contains_key(name))
            && !self.marks.holds(job.own().key().of_parts().as_str(), now);
    }
}

impl Plan {
    /// The part is asked for by itself, and is the client's alone: it must not take the place of
    /// the whole that may be on its way.
    pub(super) fn pass_part(self) -> Self {
        let reason = Reason::RangePass;
        Self { reason, fills: false, cacheable: false, ask: Ask::AsIs, stored: None, ..self }
    }

    /// Why the origin is asked, once its answer is for more than the client asked for.
    pub(super) fn reason_kept(&self) -> Reason {
        if self.fills { Reason::RangeFill } else { self.reason }
    }

    /// Leaves out of a request what asks for a part.
    pub(super) fn ask_for_whole(&self, headers: &mut HeaderMap) {
        if self.fills {
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
        }
    }
}

impl Conclusion<'_> {
    /// Where the client's part comes from, now that the whole's head is there and is `storable`.
    pub(super) fn source(&self, head: &ResponseHead, storable: bool) -> Source {
        let (facts, config) = (self.job.facts(), &self.job.config);
        match content_length(&head.headers).filter(|_| storable) {
            Some(length) if length <= config.max_object_size => {
                let (times, policy) = (self.times(), &config.policy);
                let judged = StoredHead::new(&facts, head.status, &head.headers, times, policy);
                source(self.job, &judged, length, 0)
            }
            // Without a length nobody can say where a part lies. Others may wait for the whole,
            // and it is fetched only as far as it may be stored.
            None if storable => Source::OriginToo,
            _ => Source::Origin,
        }
    }

    /// Where the whole is of no use for parts, they are asked for by themselves for a while.
    pub(super) fn mark_parts(&self, head: &ResponseHead, source: Source) {
        if source != Source::Origin && content_length(&head.headers).is_some() {
            return;
        }
        let (key, now) = (self.job.own().key().of_parts(), self.shared.clock.now());
        let lifetime = self.job.config.hit_for_miss;
        self.shared.marks.set(key.as_str(), Reason::RangePass, now, lifetime);
    }
}

/// Whether a client that asks for a part may get it from a fill that was begun for others.
pub(super) fn joins(fill: &Fill<Filling>, job: &Job) -> bool {
    let length = fill.length().filter(|length| *length <= job.config.max_object_size);
    let filled = fill.filled();
    length.is_some_and(|length| source(job, &fill.head().head, length, filled) == Source::Whole)
}

/// A part that begins far behind what is there is not waited for: no further than the readers of
/// what is not stored may be apart.
fn source(job: &Job, head: &StoredHead, length: u64, filled: u64) -> Source {
    match range::evaluate(job.method(), job.headers(), head, length) {
        RangeAnswer::Single(part) if part.start > reach(&job.config, filled) => Source::OriginToo,
        _ => Source::Whole,
    }
}

const fn reach(config: &Config, filled: u64) -> u64 {
    filled.saturating_add(config.window as u64)
}
