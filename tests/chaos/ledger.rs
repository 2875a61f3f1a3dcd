//! What has happened, in one order: the model that every response is held against.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use seawall::clock::{Clock, ManualClock, Timestamp};

use super::site::{Place, Representation, Resource};

/// How long a fault explains errors that come after it: longer than the proxy's timeouts of 2 s, and
/// the four times as long for which it expects another failure of what failed late.
const AFTERMATH: Duration = Duration::from_secs(12);

/// What an origin said of a response's use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Seconds of freshness.
    pub lifetime: u64,
    /// Seconds of `stale-while-revalidate`.
    pub revalidate: u64,
    /// Seconds of `stale-if-error`.
    pub if_error: u64,
    /// Whether anybody else may get it.
    pub shared: bool,
    pub no_cache: bool,
    /// Whether stale is out of the question.
    pub strict: bool,
}

/// A response as an origin gave it.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Its place in the order of events.
    pub sequence: u64,
    pub at: Timestamp,
    /// The request that it answered.
    pub request: u64,
    pub representation: Representation,
    pub status: u16,
    pub terms: Terms,
    /// Its body was not sent to the end.
    pub cut: bool,
    /// It is a 304 to a tag that is not the resource's, or a part where all was due.
    pub lie: bool,
}

/// A purge, or an unsafe request that was answered without error.
#[derive(Clone, Copy, Debug)]
struct Purge {
    hard: bool,
    /// What was emitted before this is covered.
    begun: u64,
    /// Requests that began after this must not see what is covered.
    done: u64,
}

#[derive(Clone, Debug)]
pub enum Scope {
    Place(Place),
    /// URLs that begin so.
    Prefix(String),
    All,
}

/// How a purge covers a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Valid,
    Soft,
    Hard,
}

/// The book of one round.
pub struct Ledger {
    state: Mutex<State>,
    clock: Clock,
    /// So that serial numbers of different rounds differ.
    first: u64,
}

#[derive(Default)]
struct State {
    sequence: u64,
    versions: HashMap<Resource, u64>,
    emissions: Vec<Emission>,
    purges: HashMap<Place, Vec<Purge>>,
    wide: Vec<(Scope, Purge)>,
    faults: HashMap<Resource, Instant>,
    outages: HashMap<u8, Instant>,
    executions: HashMap<String, u32>,
    counts: BTreeMap<(&'static str, String), u64>,
    violations: Vec<String>,
}

impl Ledger {
    pub fn new(clock: ManualClock, first: u64) -> Self {
        Self { state: Mutex::default(), clock: Clock::Manual(clock), first }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock")
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The next place in the order of events.
    pub fn tick(&self) -> u64 {
        let mut state = self.state();
        state.sequence += 1;
        state.sequence
    }

    pub fn count(&self, table: &'static str, row: impl Into<String>) {
        *self.state().counts.entry((table, row.into())).or_default() += 1;
    }

    pub fn violation(&self, what: String) {
        println!("VIOLATION: {what}");
        self.state().violations.push(what);
    }

    pub fn version(&self, resource: Resource) -> u64 {
        self.state().versions.get(&resource).copied().unwrap_or(1)
    }

    /// The resource changes.
    pub fn advance(&self, resource: Resource) {
        *self.state().versions.entry(resource).or_insert(1) += 1;
    }

    /// Books a response that an origin is about to send; its serial number.
    pub fn emit(&self, mut emission: Emission) -> u64 {
        let at = self.now();
        let mut state = self.state();
        state.sequence += 1;
        (emission.sequence, emission.at) = (state.sequence, at);
        state.emissions.push(emission);
        self.first + state.emissions.len() as u64
    }

    pub fn emission(&self, serial: u64) -> Option<Emission> {
        let index = serial.checked_sub(self.first + 1)?;
        self.state().emissions.get(usize::try_from(index).ok()?).cloned()
    }

    /// The number of the latest response.
    pub fn last(&self) -> u64 {
        self.first + self.state().emissions.len() as u64
    }

    /// Books a purge that is done now.
    pub fn purged(&self, scope: Scope, hard: bool, begun: u64) {
        let purge = Purge { hard, begun, done: self.tick() };
        let mut state = self.state();
        match scope {
            Scope::Place(place) => state.purges.entry(place).or_default().push(purge),
            wide => state.wide.push((wide, purge)),
        }
    }

    /// Where a response stands for a request that began at `begun`.
    pub fn standing(&self, emission: &Emission, begun: u64) -> Standing {
        let place = emission.representation.place;
        let url = place.url();
        let covers = |scope: &Scope| match scope {
            Scope::Place(purged) => *purged == place,
            Scope::Prefix(prefix) => url.starts_with(prefix),
            Scope::All => true,
        };
        let state = self.state();
        let narrow = state.purges.get(&place).into_iter().flatten();
        let wide = state.wide.iter().filter(|(scope, _)| covers(scope)).map(|(_, purge)| purge);
        let concerns = |purge: &&Purge| purge.done < begun && emission.sequence < purge.begun;
        let standing = |purge: &Purge| if purge.hard { Standing::Hard } else { Standing::Soft };
        let standings = narrow.chain(wide).filter(concerns).map(standing);
        standings.max().unwrap_or(Standing::Valid)
    }

    /// Books a fault that concerns `resource`; where `outage`, everything at its origin.
    pub fn fault(&self, resource: Resource, outage: bool) {
        let mut state = self.state();
        state.faults.insert(resource, Instant::now());
        if outage {
            state.outages.insert(resource.origin, Instant::now());
        }
    }

    pub fn outage(&self, origin: u8) {
        self.state().outages.insert(origin, Instant::now());
    }

    /// Whether a fault explains an error for a request that was sent at `sent`.
    pub fn explains(&self, resource: Resource, sent: Instant) -> bool {
        let state = self.state();
        let faults = [state.faults.get(&resource), state.outages.get(&resource.origin)];
        faults.into_iter().flatten().any(|&fault| fault + AFTERMATH > sent)
    }

    /// Books that an origin carried out the unsafe request with this token; how often by now.
    pub fn execute(&self, token: &str) -> u32 {
        let mut state = self.state();
        let count = state.executions.entry(token.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    pub fn counts(&self) -> BTreeMap<(&'static str, String), u64> {
        self.state().counts.clone()
    }
}
