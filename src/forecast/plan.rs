//! What the rules and the policy say of each kind of request, asked once before anything is played.

mod kind;
mod place;
mod variant;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::assume::{Assumption, Says, media_type};
use super::intern::Interner;
use super::trace::Trace;
use crate::cache;
use crate::config::Settings;
use crate::proxy::{Routes, Ruling};
use crate::store::{evict, memory};

pub(super) use kind::{Kind, Lookup, Prospect, Store, Treatment};
use place::{Placed, Places};
use variant::Variants;

/// What of an object is weighed against the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weigh {
    /// All that it costs: body, head, key, entry; of `memory` there is what the store leaves to
    /// residents.
    Full,
    /// Its body alone, and all of `memory` is there for bodies: as published tables have it.
    Body,
}

impl Weigh {
    /// What residents may weigh together, in bytes, where everything may take `memory`.
    #[must_use]
    pub fn capacity(self, memory: u64) -> u64 {
        match self {
            Self::Full => memory::capacity(usize::try_from(memory).unwrap_or(usize::MAX)),
            Self::Body => memory,
        }
    }
}

/// A configuration, as it is replayed.
#[derive(Debug)]
pub struct Site {
    routes: Routes,
    /// How objects are cached that have a key instead of a URL.
    keyed: Arc<cache::Config>,
    /// Whether rules have to see each request: without any, its URL says all.
    has_rules: bool,
    assumptions: Vec<Assumption>,
    /// What is assumed where neither the log nor the configuration says anything.
    otherwise: Option<Says>,
    weigh: Weigh,
    pub(super) seed: evict::Config,
}

impl Site {
    /// For `settings`. Without `bounded`, objects have any size: where no configuration was given,
    /// and the policy is judged alone.
    #[must_use]
    pub fn new(settings: &Settings, weigh: Weigh, bounded: bool) -> Self {
        let unbounded = |cache: &mut cache::Config| cache.max_object_size = u64::MAX;
        let mut routes = settings.proxy.routes.clone();
        let mut keyed = routes.first().map(|route| route.cache.clone()).unwrap_or_default();
        keyed.enabled = true;
        if !bounded {
            unbounded(&mut keyed);
            for route in &mut routes {
                unbounded(&mut Arc::make_mut(route).cache);
            }
        }
        let optimise = settings.store.optimise;
        Self {
            routes: Routes::new(&routes, &settings.proxy.rules),
            keyed: Arc::new(keyed),
            has_rules: !settings.proxy.rules.list().is_empty(),
            assumptions: Vec::new(),
            otherwise: Some(Assumption::everything_lasts()),
            weigh,
            seed: evict::Config {
                capacity: 0,
                size_exponent: optimise.size_exponent(),
                uses: optimise.uses(),
                seed: 1,
            },
        }
    }

    /// Makes these assumptions, the last that fits winning; and with `silent` no other, so that an
    /// origin that the log and they say nothing of says nothing.
    #[must_use]
    pub fn assuming(mut self, assumptions: Vec<Assumption>, silent: bool) -> Self {
        self.assumptions = assumptions;
        if silent {
            self.otherwise = None;
        }
        self
    }
}

/// A request, as it is played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) key: u32,
    pub(super) kind: u32,
}

/// A trace, as a configuration sees it.
#[derive(Debug)]
pub struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) kinds: Vec<Kind>,
    pub(super) rulings: Vec<Ruled>,
    pub(super) key_lengths: Vec<u32>,
    /// Keys of which a response's `Vary` makes several.
    pub(super) variants: HashMap<u32, Vec<u32>, FixedState>,
    pub(super) seed: evict::Config,
    pub(super) weigh: Weigh,
}

/// Who says what is done with a request.
#[derive(Clone, Debug)]
pub(super) enum Ruled {
    /// Nobody: it is for an object with a key.
    Key,
    /// The route and its rules.
    By(Arc<Ruling>),
    /// It is refused, with the word of an error.
    Refused(&'static str),
}

impl Ruled {
    /// The names of the rules that count, or else that of the route.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Key => "(objects)".to_owned(),
            Self::Refused(word) => format!("({word})"),
            Self::By(ruling) if ruling.rules().is_empty() => {
                format!("route {}", ruling.route().name)
            }
            Self::By(ruling) => ruling.names().join(" + "),
        }
    }
}

/// What kinds are told apart by.
type KindKey = (u32, u32, u32, Extra);

/// What else of what was asked for makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Extra {
    /// The number of the assumption about its lifetime,
    says: Option<usize>,
    /// and of that about `Vary`.
    vary: Option<usize>,
    /// Whether it has a validator.
    validates: bool,
}

impl Plan {
    /// Asks `site` about every request of `trace`.
    #[must_use]
    pub fn new(site: &Site, trace: &Trace) -> Self {
        let mut planner = Planner::new(site, trace);
        let steps = trace.requests.iter().map(|request| planner.step(request)).collect();
        Self {
            steps,
            variants: planner.variants.by_key(),
            kinds: planner.kinds,
            rulings: planner.places.ruled,
            key_lengths: planner.places.key_lengths,
            seed: site.seed.clone(),
            weigh: site.weigh,
        }
    }

    /// Different keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.key_lengths.len()
    }
}

/// Makes a plan.
struct Planner<'a> {
    site: &'a Site,
    trace: &'a Trace,
    places: Places,
    variants: Variants,
    /// By what was asked for; empty where nothing is assumed.
    extras: Vec<Option<Extra>>,
    kinds: Vec<Kind>,
    numbers: HashMap<KindKey, u32, FixedState>,
    last: Option<(KindKey, u32)>,
}

impl<'a> Planner<'a> {
    fn new(site: &'a Site, trace: &'a Trace) -> Self {
        Self {
            site,
            trace,
            places: Places::new(site.has_rules, trace.urls()),
            variants: Variants::new(site, trace),
            extras: if site.assumptions.is_empty() { Vec::new() } else { vec![None; trace.urls()] },
            kinds: Vec::new(),
            numbers: HashMap::default(),
            last: None,
        }
    }

    fn step(&mut self, request: &super::Request) -> Step {
        let (site, trace) = (self.site, self.trace);
        let Placed { key, ruling } =
            self.places.place(request.asked, request.asker, |url, asker, keys| {
                place::find(&site.routes, trace, url, asker, keys)
            });
        let extra = self.extra(request.asked);
        let placed = Placed { key, ruling };
        let key = self.variants.key(site, trace, request, placed, &mut self.places, extra.vary);
        let class = trace.askers.get(request.asker as usize).map_or(0, |asker| asker.class);
        let known_by = (request.response, ruling, class, extra);
        if let Some((last, kind)) = self.last
            && last == known_by
        {
            return Step { key, kind };
        }
        let kind = match self.numbers.get(&known_by) {
            Some(kind) => *kind,
            None => self.add(known_by, request),
        };
        self.last = Some((known_by, kind));
        Step { key, kind }
    }

    fn add(&mut self, known_by: KindKey, request: &super::Request) -> u32 {
        let number = self.kinds.len() as u32;
        let (_, ruling, _, extra) = known_by;
        let ruled = self.places.ruled.get(ruling as usize).cloned().unwrap_or(Ruled::Key);
        let assumption = |number: Option<usize>| self.site.assumptions.get(number?);
        let (says, vary) = (assumption(extra.says), assumption(extra.vary));
        let question = kind::Question {
            trace: self.trace,
            request,
            ruled: &ruled,
            ruling,
            says: says.map(|assumption| &assumption.says),
            otherwise: self.site.otherwise.as_ref(),
            keyed: &self.site.keyed,
            vary: vary.and_then(Assumption::vary),
            validates: extra.validates,
        };
        self.kinds.push(question.answer());
        self.numbers.insert(known_by, number);
        number
    }

    fn extra(&mut self, asked: u32) -> Extra {
        let index = asked as usize;
        if let Some(Some(known)) = self.extras.get(index) {
            return *known;
        }
        let validates = self.trace.asked.get(index).is_some_and(|asked| asked.validates);
        let mut extra = Extra { validates, ..Extra::default() };
        if !self.site.assumptions.is_empty() {
            let text = String::from_utf8_lossy(self.trace.text(asked));
            let path = path_of(&text);
            let told = self.trace.media_type(asked).unwrap_or_else(|| media_type(path));
            let about = |is_vary: bool| {
                self.site.assumptions.iter().rposition(|assumption| {
                    assumption.vary().is_some() == is_vary && assumption.is_about(path, told)
                })
            };
            extra.says = about(false);
            extra.vary = about(true).filter(|_| !self.trace.tells_vary);
        }
        if let Some(place) = self.extras.get_mut(index) {
            *place = Some(extra);
        }
        extra
    }
}

/// The path of an absolute URL, without its query.
pub(super) fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

/// The host of an absolute URL, without its port.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(
        host.rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(host, _)| host),
    )
}

type Keys = Interner;
