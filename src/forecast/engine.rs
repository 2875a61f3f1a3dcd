//! The replay: one request after the other, in virtual time.

mod asking;
mod bound;

use std::time::Duration;

use super::keeper::{Item, Keeper, NEVER, Policy};
use super::outcome::{Loss, Outcome};
use super::plan::{Plan, Prospect, Ruled, Step, Store, Treatment, Weigh};
use super::tally::{Detail, Event, Totals};
use super::trace::{REFERENCE, Request, Trace};
use crate::cache::ByResponse;
use crate::clock::Timestamp;
use crate::policy::{Overrides, Reason, Reuse, StaleGrant, Validity, reuse};
use crate::store::evict;

use asking::{Asking, is_unchanged, spared};
pub use bound::Bound;

/// Nothing is stored.
const NOTHING: u32 = u32::MAX;

/// What is played, and against how much memory.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Everything that Seawall may use for responses, in bytes.
    pub memory: u64,
    /// Who stays.
    pub policy: Policy,
    /// Which keys are played.
    pub sample: Sample,
    /// Time.
    pub clockwork: Clockwork,
}

/// How time is dealt with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clockwork {
    /// Requests of the first so many milliseconds fill the cache, and do not count.
    pub warm_up: i64,
    /// How long a fetch takes where the log does not say, in milliseconds; `None`: no time, and
    /// nothing is said of time saved.
    pub latency: Option<u32>,
}

/// Which keys are played: one of `every`, by their hash, against as large a share of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// At least 1.
    pub every: u32,
}

impl Sample {
    /// All keys.
    pub const ALL: Self = Self { every: 1 };

    /// As many as give about `most` of `requests`.
    #[must_use]
    pub fn of(requests: usize, most: usize) -> Self {
        let every = u32::try_from(requests.div_ceil(most.max(1))).unwrap_or(u32::MAX);
        Self { every: every.max(1) }
    }

    fn holds(self, key: u32) -> bool {
        self.every == 1 || (super::keeper::hash(key) >> 32).is_multiple_of(u64::from(self.every))
    }
}

/// What is stored of a key.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// When it came, or was last found to be good, in milliseconds.
    stored_at: i64,
    /// Until when its fetch goes on.
    ready_at: i64,
    /// The kind of the request that it answered.
    kind: u32,
    past: Past,
}

/// Why nothing is stored.
#[derive(Clone, Copy, Debug)]
enum Past {
    Unknown,
    Evicted,
    TurnedAway,
    Invalidated,
    NotStored,
}

/// Plays `trace` as `plan` says. With `detail`, what is found out is noted there too.
#[must_use]
pub fn run(trace: &Trace, plan: &Plan, setup: &Setup, detail: Option<&mut Detail>) -> Totals {
    let start = trace.requests.first().map_or(0, |request| request.at);
    let counts_from = start.saturating_add(setup.clockwork.warm_up);
    let mut engine = Engine::new(trace, plan, setup, detail);
    let future = if setup.policy == Policy::Belady { next_requests(plan) } else { Vec::new() };
    for (index, (request, step)) in trace.requests.iter().zip(&plan.steps).enumerate() {
        if setup.sample.holds(step.key) {
            if let Some(next) = future.get(index) {
                engine.keeper.foresee(*next);
            }
            let event = engine.play(request, *step);
            if request.at >= counts_from {
                engine.note(request, *step, &event);
            }
        }
    }
    engine.totals.finish();
    engine.totals
}

/// For each request the next one for the same key.
fn next_requests(plan: &Plan) -> Vec<u32> {
    let mut next = vec![NEVER; plan.steps.len()];
    let mut of_key = vec![NEVER; plan.keys()];
    for (index, step) in plan.steps.iter().enumerate().rev() {
        let (Some(place), Some(last)) = (next.get_mut(index), of_key.get_mut(step.key as usize))
        else {
            continue;
        };
        *place = std::mem::replace(last, index as u32);
    }
    next
}

/// What comes of each request.
#[cfg(test)]
pub(super) fn outcomes(trace: &Trace, plan: &Plan, setup: &Setup) -> Vec<Outcome> {
    let mut engine = Engine::new(trace, plan, setup, None);
    let steps = trace.requests.iter().zip(&plan.steps);
    steps.map(|(request, step)| engine.play(request, *step).outcome).collect()
}

struct Engine<'a> {
    trace: &'a Trace,
    plan: &'a Plan,
    keeper: Box<dyn Keeper>,
    /// Bytes for residents and what is being fetched together; no bound where bodies alone count.
    budget: u64,
    held: Vec<Held>,
    gone: Vec<u32>,
    clockwork: Clockwork,
    totals: Totals,
    detail: Option<&'a mut Detail>,
}

impl<'a> Engine<'a> {
    fn new(
        trace: &'a Trace,
        plan: &'a Plan,
        setup: &Setup,
        detail: Option<&'a mut Detail>,
    ) -> Self {
        let capacity = plan.weigh.capacity(setup.memory) / u64::from(setup.sample.every);
        let config = evict::Config { capacity, ..plan.seed.clone() };
        let empty = Held { stored_at: 0, ready_at: 0, kind: NOTHING, past: Past::Unknown };
        Self {
            trace,
            plan,
            keeper: setup.policy.keeper(&config, plan.keys()),
            budget: match (plan.weigh, setup.policy) {
                (Weigh::Body, _) | (_, Policy::Unbounded) => u64::MAX,
                (Weigh::Full, _) => setup.memory / u64::from(setup.sample.every),
            },
            held: vec![empty; plan.keys()],
            gone: Vec::new(),
            clockwork: setup.clockwork,
            totals: Totals::default(),
            detail,
        }
    }

    fn play(&mut self, request: &Request, step: Step) -> Event {
        let Step { key, kind: number } = step;
        let Some(kind) = self.plan.kinds.get(number as usize) else {
            return Event::of(Outcome::Refused, None, 0);
        };
        match &kind.treatment {
            Treatment::Refused(word) => Event::of(Outcome::Refused, Some(Loss::Refused(word)), 0),
            Treatment::Answered(reason) => {
                Event::of(Outcome::Answered, Some(Loss::Policy(*reason)), 0)
            }
            Treatment::Bypassed { reason, invalidates } => {
                if *invalidates {
                    for variant in self.plan.variants.get(&key).into_iter().flatten() {
                        self.forget(*variant, Past::Invalidated);
                    }
                    self.forget(key, Past::Invalidated);
                }
                Event::of(Outcome::Uncacheable, Some(Loss::Policy(*reason)), request.bytes)
            }
            Treatment::LookedUp(lookup) => {
                let asked = Asking { request, key, number, kind, lookup };
                match self.stored(key) {
                    Some((held, prospect)) => self.judge(&asked, held, prospect),
                    None => self.fetch(&asked, None),
                }
            }
        }
    }

    /// What is stored of `key`, and counts as used.
    fn stored(&mut self, key: u32) -> Option<(Held, &'a Prospect)> {
        let held = *self.held.get(key as usize)?;
        let kind = self.plan.kinds.get(held.kind as usize)?;
        self.keeper.touch(key);
        match &kind.treatment {
            Treatment::LookedUp(lookup) => match lookup.kept() {
                Store::Yes(prospect) => Some((held, prospect)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Decides on what is stored, as `cache::lookup` does.
    fn judge(&mut self, asked: &Asking<'_>, held: Held, prospect: &'a Prospect) -> Event {
        let Asking { request, lookup, .. } = asked;
        if held.ready_at > request.at && lookup.collapses {
            return Event::of(Outcome::Collapsed, None, 0);
        }
        let config = self.settings(asked, held, prospect);
        let overrides = config.as_ref().map_or(&prospect.config.policy, |config| &config.policy);
        // What came at the reference time is as old then as what came when it did is now.
        let age = u64::try_from(request.at.saturating_sub(held.stored_at)).unwrap_or(0);
        let now = REFERENCE.plus(Duration::from_millis(age));
        let (stored, facts) = (&prospect.head, lookup.facts());
        match reuse(stored, &facts, &lookup.directives, overrides, Validity::Valid, now) {
            Reuse::Fresh => Event::of(Outcome::Fresh, None, 0),
            Reuse::Stale(grant) => {
                let loss = Some(Loss::Policy(grant.reason()));
                // One request refreshes it in the background.
                let is_refreshed = grant == StaleGrant::WhileRevalidate;
                let spared = spared(asked, prospect, overrides, now);
                let origin = match (is_refreshed, spared) {
                    (false, _) => None,
                    (true, Some(_)) => Some(0),
                    (true, None) => Some(self.refresh(asked, prospect)),
                };
                Event { origin, ..Event::of(Outcome::Stale, loss, 0) }
            }
            Reuse::Validate(_) if now > stored.expires_from_store_at(overrides) => {
                self.fetch(asked, Some(Reason::Miss))
            }
            Reuse::Validate(reason) => self.validate(asked, prospect, overrides, reason, now),
            Reuse::Unusable(reason) => self.fetch(asked, Some(reason)),
        }
    }

    /// The settings for what is stored, where other rules count for this request than counted for
    /// the one that it answered.
    fn settings(
        &self,
        asked: &Asking<'_>,
        held: Held,
        prospect: &Prospect,
    ) -> Option<std::sync::Arc<crate::cache::Config>> {
        let before = self.plan.kinds.get(held.kind as usize)?;
        if before.ruling == asked.kind.ruling {
            return None;
        }
        match self.plan.rulings.get(asked.kind.ruling as usize)? {
            Ruled::By(ruling) => {
                Some(ruling.settings(prospect.head.status(), &prospect.head.header_map()))
            }
            Ruled::Key | Ruled::Refused(_) => None,
        }
    }

    /// Asks the origin whether what is stored is still good.
    fn validate(
        &mut self,
        asked: &Asking<'_>,
        prospect: &Prospect,
        overrides: &Overrides,
        reason: Reason,
        now: Timestamp,
    ) -> Event {
        if let Some(grant) = spared(asked, prospect, overrides, now) {
            let loss = Some(Loss::Policy(grant.reason()));
            return Event { origin: Some(0), ..Event::of(Outcome::Stale, loss, 0) };
        }
        if is_unchanged(prospect, &asked.lookup.store) {
            self.keep(asked, &asked.lookup.store);
            let loss = Some(Loss::Policy(reason));
            return Event { origin: Some(0), ..Event::of(Outcome::Revalidated, loss, 0) };
        }
        self.fetch(asked, Some(reason))
    }

    /// What a refresh in the background gets from the origin, in bytes.
    fn refresh(&mut self, asked: &Asking<'_>, prospect: &Prospect) -> u64 {
        let is_unchanged = is_unchanged(prospect, asked.lookup.kept());
        self.keep(asked, asked.lookup.kept());
        if is_unchanged { 0 } else { self.trace.size(asked.request.asked) }
    }

    /// Asks the origin for all of it.
    fn fetch(&mut self, asked: &Asking<'_>, why: Option<Reason>) -> Event {
        let why = why.map_or_else(|| self.past(asked.key), Loss::Policy);
        let size = self.trace.size(asked.request.asked);
        match &asked.lookup.store {
            Store::No(reason) => {
                self.remember(asked.key, Past::NotStored);
                let loss = Loss::Policy(*reason);
                Event::of(Outcome::Uncacheable, Some(loss), asked.request.bytes)
            }
            Store::Passing(Reason::Miss) => Event::of(Outcome::Missed, Some(why), 0),
            Store::Passing(reason) => {
                let loss = Loss::Policy(*reason);
                Event::of(Outcome::Missed, Some(loss), asked.request.bytes)
            }
            Store::Yes(_) if size > asked.lookup.max_object_size => {
                self.remember(asked.key, Past::NotStored);
                let loss = Loss::Policy(Reason::TooLarge);
                Event::of(Outcome::Uncacheable, Some(loss), size)
            }
            Store::Yes(prospect) if !self.has_room(asked, prospect) => {
                self.remember(asked.key, Past::NotStored);
                Event::of(Outcome::Missed, Some(Loss::Policy(Reason::OverBudget)), size)
            }
            Store::Yes(_) => {
                self.keep(asked, &asked.lookup.store);
                if let Some(held) = self.held.get_mut(asked.key as usize) {
                    let took = asked.request.took().or(self.clockwork.latency).unwrap_or(0);
                    held.ready_at = asked.request.at.saturating_add(i64::from(took));
                }
                Event::of(Outcome::Missed, Some(why), size)
            }
        }
    }

    /// Stores the origin's answer, if it is worth its memory.
    fn keep(&mut self, asked: &Asking<'_>, store: &Store) {
        let Store::Yes(prospect) = store else { return };
        let now = Timestamp::from_millis(asked.request.at);
        let size = self.weight(asked, prospect);
        let item = Item { key: asked.key, size, useless_at: now.plus(prospect.useful), now };
        let stays = self.keeper.put(item, &mut self.gone);
        self.totals.resident_max = self.totals.resident_max.max(self.keeper.weight());
        if let Some(held) = self.held.get_mut(asked.key as usize) {
            let kind = if stays { asked.number } else { NOTHING };
            *held = Held { stored_at: asked.request.at, ready_at: 0, kind, past: Past::TurnedAway };
        }
        self.totals.evicted += self.gone.len() as u64;
        for key in self.gone.drain(..) {
            if let Some(held) = self.held.get_mut(key as usize).filter(|_| key != asked.key) {
                *held = Held { kind: NOTHING, past: Past::Evicted, ..*held };
            }
        }
    }

    /// What an object weighs, in bytes.
    fn weight(&self, asked: &Asking<'_>, prospect: &Prospect) -> u64 {
        let body = self.trace.size(asked.request.asked);
        match self.plan.weigh {
            Weigh::Body => body,
            Weigh::Full => {
                let key = self.plan.key_lengths.get(asked.key as usize).copied().unwrap_or(0);
                body + prospect.cost(key as usize)
            }
        }
    }

    /// Whether it can be held while it is fetched, beside all residents: nobody goes before it is
    /// there.
    fn has_room(&self, asked: &Asking<'_>, prospect: &Prospect) -> bool {
        self.budget == u64::MAX
            || self.keeper.weight().saturating_add(self.weight(asked, prospect)) <= self.budget
    }

    fn forget(&mut self, key: u32, past: Past) {
        if let Some(held) = self.held.get_mut(key as usize).filter(|held| held.kind != NOTHING) {
            *held = Held { kind: NOTHING, past, ..*held };
            self.keeper.remove(key);
        }
    }

    fn remember(&mut self, key: u32, past: Past) {
        if let Some(held) = self.held.get_mut(key as usize).filter(|held| held.kind == NOTHING) {
            held.past = past;
        }
    }

    fn past(&self, key: u32) -> Loss {
        match self.held.get(key as usize).map(|held| held.past) {
            None | Some(Past::Unknown) => Loss::First,
            Some(Past::Evicted) => Loss::Evicted,
            Some(Past::TurnedAway) => Loss::TurnedAway,
            Some(Past::Invalidated) => Loss::Invalidated,
            Some(Past::NotStored) => Loss::Policy(Reason::Miss),
        }
    }

    fn note(&mut self, request: &Request, step: Step, event: &Event) {
        let Some(kind) = self.plan.kinds.get(step.kind as usize) else { return };
        let took = request.took().or(self.clockwork.latency);
        self.totals.note(request, event, took, kind.is_assumed);
        if let Some(detail) = self.detail.as_deref_mut() {
            detail.note(request, kind.ruling, event);
        }
    }
}
