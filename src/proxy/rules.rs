//! What the rules that match a request say together.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::FixedState;
use http::{HeaderMap, StatusCode};

use super::{Access, Route};
use crate::cache;
use crate::key::Target;
use crate::rules::{Answer, KeyRules, Matched, Request, RequestEdits, ResponseCondition, RuleSet};

/// Combinations of rules that are remembered for a route. Clients choose which rules they match,
/// and many rules have many combinations.
const MAX_REMEMBERED: usize = 1024;

/// Combinations of rules on responses that are remembered for each of those.
const MAX_REFINED: usize = 64;

/// The operator's rules.
#[derive(Debug, Default)]
pub struct Rules {
    set: RuleSet,
    list: Vec<Rule>,
    compose: Option<Box<dyn Compose>>,
}

/// A rule, as it is shown.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The line of the file where it stands, from 1.
    pub line: usize,
    /// What it asks of responses, if anything.
    pub response: Option<ResponseCondition>,
    /// What it sets, in the order of the file.
    pub settings: Vec<Setting>,
}

impl Rule {
    /// Its name, or else `line 7`.
    #[must_use]
    pub fn known_as(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("line {}", self.line))
    }
}

/// One thing that a rule sets, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key: `cache.keep`.
    pub key: String,
    /// Its value in the file.
    pub value: String,
}

/// Everything that rules can set.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How responses are cached.
    pub cache: Arc<cache::Config>,
    /// What is keyed, and sent to the origin.
    pub key: KeyRules,
    /// What is changed of requests on their way to the origin.
    pub request: Option<Arc<RequestEdits>>,
    /// What is answered without an origin.
    pub answer: Option<Arc<Answer>>,
    /// Who is let in; `None` for everybody.
    pub access: Option<Arc<Access>>,
}

/// Merges what rules set into the settings of a route.
pub trait Compose: Send + Sync + std::fmt::Debug {
    /// What `base` becomes by `rules`, in their order: the last one wins.
    fn compose(&self, base: &cache::Config, rules: &[u16]) -> Terms;
}

impl Rules {
    /// Rules in their order, with their conditions and with how they are merged.
    #[must_use]
    pub fn new(set: RuleSet, list: Vec<Rule>, compose: impl Compose + 'static) -> Self {
        Self { set, list, compose: Some(Box::new(compose)) }
    }

    /// The rules, in the order of the file.
    #[must_use]
    pub fn list(&self) -> &[Rule] {
        &self.list
    }

    /// The numbers of the rules whose request side `request` satisfies.
    #[must_use]
    pub fn matching(&self, request: &Request<'_>) -> Matched {
        self.set.matching(request)
    }

    fn rule(&self, number: u16) -> Option<&Rule> {
        self.list.get(usize::from(number))
    }
}

/// What is set is compared as it is written: functions can't be.
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        let shown = |rules: &Self| format!("{:?} {:?}", rules.set, rules.list);
        shown(self) == shown(other)
    }
}

/// What all rules that match a request say together, over its route.
#[derive(Debug)]
pub struct Ruling {
    rules: Arc<Rules>,
    route: Arc<Route>,
    /// The rules that count, whatever the response will be.
    certain: Matched,
    /// Those that also have to match the response.
    pending: Matched,
    terms: Terms,
    /// What was decided when responses came.
    refined: Memo<Arc<Self>>,
}

/// Which rule set something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBy {
    /// What was set, and to what.
    pub setting: Setting,
    /// The number of the rule in [`Rules::list`].
    pub rule: u16,
}

impl Ruling {
    fn new(rules: &Arc<Rules>, route: &Arc<Route>, certain: Matched, pending: Matched) -> Self {
        let composed = rules.compose.as_ref().filter(|_| !certain.is_empty());
        let terms = composed.map_or_else(
            || Terms { cache: Arc::new(route.cache.clone()), ..Terms::default() },
            |compose| compose.compose(&route.cache, &certain),
        );
        Self {
            rules: Arc::clone(rules),
            route: Arc::clone(route),
            certain,
            pending,
            terms,
            refined: Memo::default(),
        }
    }

    /// What they set, as far as that is known without a response.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The target that a request is keyed by, and sent to; where it is `looked_up`, what is not
    /// keyed of its cookies is removed from `headers`.
    #[must_use]
    pub fn keyed(&self, target: Target, headers: &mut HeaderMap, looked_up: bool) -> Target {
        self.terms.key.apply(target, headers, looked_up)
    }

    /// The route that it is over.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The rules that count, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[u16] {
        &self.certain
    }

    /// The rules that also have to match the response, in the order of the file.
    #[must_use]
    pub fn pending(&self) -> &[u16] {
        &self.pending
    }

    /// A rule, by its number.
    #[must_use]
    pub fn rule(&self, number: u16) -> Option<&Rule> {
        self.rules.rule(number)
    }

    /// The names of the rules that count, in the order of the file; unnamed ones by their lines.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.certain
            .iter()
            .filter_map(|number| self.rules.rule(*number))
            .map(Rule::known_as)
            .collect()
    }

    /// Itself, where it waits for the response.
    pub(super) fn by_response(self: &Arc<Self>) -> Option<Arc<dyn cache::ByResponse>> {
        if self.pending.is_empty() {
            return None;
        }
        let ruling: Arc<dyn cache::ByResponse> = self.clone();
        Some(ruling)
    }

    /// What was set by which rule: for each key the last one, as only that counts.
    #[must_use]
    pub fn set_by(&self) -> Vec<SetBy> {
        let mut all: Vec<SetBy> = Vec::new();
        for number in &self.certain {
            for setting in self.rules.rule(*number).into_iter().flat_map(|rule| &rule.settings) {
                all.retain(|earlier| earlier.setting.key != setting.key);
                all.push(SetBy { setting: setting.clone(), rule: *number });
            }
        }
        all
    }

    /// What also the rules on responses say; `None` where they say nothing more.
    #[must_use]
    pub fn refine(&self, status: StatusCode, headers: &HeaderMap) -> Option<Arc<Self>> {
        let holds = |number: &u16| {
            let response = self.rules.rule(*number).and_then(|rule| rule.response.as_ref());
            response.is_some_and(|response| response.holds(status, headers))
        };
        let more: Matched = self.pending.iter().copied().filter(holds).collect();
        if more.is_empty() {
            return None;
        }
        Some(self.refined.get(&more, MAX_REFINED, || {
            let mut certain = self.certain.clone();
            certain.extend(more.iter().copied());
            certain.sort_unstable();
            Arc::new(Self::new(&self.rules, &self.route, certain, Matched::new()))
        }))
    }
}

impl cache::ByResponse for Ruling {
    fn settings(&self, status: StatusCode, headers: &HeaderMap) -> Arc<cache::Config> {
        let refined = self.refine(status, headers);
        Arc::clone(refined.as_ref().map_or(&self.terms.cache, |ruling| &ruling.terms.cache))
    }
}

/// All rules over one route, with what they said before.
#[derive(Debug)]
pub(super) struct Ruled {
    rules: Arc<Rules>,
    /// What the route says alone.
    pub(super) alone: Arc<Ruling>,
    said: Memo<Arc<Ruling>>,
}

impl Ruled {
    pub(super) fn new(rules: &Arc<Rules>, route: &Arc<Route>) -> Self {
        let alone = Ruling::new(rules, route, Matched::new(), Matched::new());
        Self { rules: Arc::clone(rules), alone: Arc::new(alone), said: Memo::default() }
    }

    pub(super) fn ruling(&self, request: &Request<'_>) -> Arc<Ruling> {
        if self.rules.set.is_empty() {
            return Arc::clone(&self.alone);
        }
        let matched = self.rules.matching(request);
        if matched.is_empty() {
            return Arc::clone(&self.alone);
        }
        self.said.get(&matched, MAX_REMEMBERED, || {
            let pending =
                |number: &u16| self.rules.rule(*number).is_some_and(|rule| rule.response.is_some());
            let (pending, certain) = matched.iter().copied().partition(pending);
            Arc::new(Ruling::new(&self.rules, &self.alone.route, certain, pending))
        })
    }
}

/// What follows from combinations of rules, as far as there is room.
#[derive(Debug)]
struct Memo<T>(RwLock<HashMap<Matched, T, FixedState>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Clone> Memo<T> {
    fn get(&self, rules: &Matched, most: usize, make: impl FnOnce() -> T) -> T {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(rules) {
            return known.clone();
        }
        let new = make();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= most {
            // Whatever is asked for often comes back at once.
            known.clear();
        }
        known.insert(rules.clone(), new.clone());
        new
    }
}
