//! One kind of request: what is done with it, and what becomes of the answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, ETAG, EXPIRES, LAST_MODIFIED, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Ruled, Says};
use crate::cache::{self, ByResponse};
use crate::forecast::trace::{REFERENCE, Request, Trace};
use crate::key::Target;
use crate::policy::{
    self, LifetimeSource, Overrides, Reason, RequestDirectives, RequestFacts, ResponseTimes,
    Storability, StoredHead, storability,
};
use crate::rules::Answer;
use crate::store::{Stamp, StoredResponse};

/// Requests that are handled alike.
#[derive(Debug)]
pub(in crate::forecast) struct Kind {
    pub(in crate::forecast) treatment: Treatment,
    /// Whose word counts.
    pub(in crate::forecast) ruling: u32,
    /// Whether that rests on an assumption.
    pub(in crate::forecast) is_assumed: bool,
}

/// What is done with a request.
#[derive(Debug)]
pub(in crate::forecast) enum Treatment {
    /// It gets an error.
    Refused(&'static str),
    /// A rule answers it.
    Answered(Reason),
    /// It goes past the cache; and if so it is said, what is stored is no longer good.
    Bypassed { reason: Reason, invalidates: bool },
    /// It is looked up.
    LookedUp(Box<Lookup>),
}

/// What is needed to decide on what is stored.
#[derive(Debug)]
pub(in crate::forecast) struct Lookup {
    pub(in crate::forecast) method: Method,
    pub(in crate::forecast) headers: HeaderMap,
    pub(in crate::forecast) directives: RequestDirectives,
    /// How the origin would answer.
    pub(in crate::forecast) status: StatusCode,
    pub(in crate::forecast) collapses: bool,
    pub(in crate::forecast) max_object_size: u64,
    pub(in crate::forecast) store: Store,
    /// What becomes of the answer to a refresh in the background, which is a GET: where that is not
    /// what the request is.
    pub(in crate::forecast) behind: Option<Store>,
}

impl Lookup {
    /// What is stored by it, or on its account.
    pub(in crate::forecast) fn kept(&self) -> &Store {
        self.behind.as_ref().unwrap_or(&self.store)
    }

    pub(in crate::forecast) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts::new(&self.method, &self.headers, false)
    }
}

/// What becomes of the origin's answer.
#[derive(Debug)]
pub(in crate::forecast) enum Store {
    /// It may be stored.
    Yes(Box<Prospect>),
    /// It may not.
    No(Reason),
    /// It is not one to be stored, though others to the same key may be: a HEAD's, or a part of
    /// which it is not known which one.
    Passing(Reason),
}

/// What would be stored.
#[derive(Debug)]
pub(in crate::forecast) struct Prospect {
    /// The head, as if it had come at [`REFERENCE`].
    pub(in crate::forecast) head: StoredHead,
    /// How long it is of any use.
    pub(in crate::forecast) useful: Duration,
    pub(in crate::forecast) config: Arc<cache::Config>,
}

impl Prospect {
    /// Bytes that it costs beside its body, under a key of `key` bytes.
    pub(in crate::forecast) fn cost(&self, key: usize) -> u64 {
        StoredResponse::cost(&self.head, &Stamp::new(0, None), key) as u64
    }
}

/// All that decides on a kind.
pub(super) struct Question<'a> {
    pub(super) trace: &'a Trace,
    pub(super) request: &'a Request,
    pub(super) ruled: &'a Ruled,
    pub(super) ruling: u32,
    /// What the origin is said to say.
    pub(super) says: Option<&'a Says>,
    /// The same, where nobody else says anything.
    pub(super) otherwise: Option<&'a Says>,
    /// The `Vary` that it is said to have.
    pub(super) vary: Option<&'a HeaderValue>,
    pub(super) keyed: &'a Arc<cache::Config>,
    pub(super) validates: bool,
}

impl Question<'_> {
    pub(super) fn answer(&self) -> Kind {
        let (treatment, is_assumed) = self.treatment();
        Kind { treatment, ruling: self.ruling, is_assumed }
    }

    fn treatment(&self) -> (Treatment, bool) {
        let certain = |treatment| (treatment, false);
        let asker = self.trace.askers.get(self.request.asker as usize);
        let response = self.trace.responses.get(self.request.response as usize);
        let (Some(asker), Some(response)) = (asker, response) else {
            return certain(Treatment::Refused("internal"));
        };
        let facts = RequestFacts::new(&asker.method, &asker.headers, false);
        let (mut headers, status) = (response.headers.clone(), response.status);
        let config = match self.ruled {
            Ruled::Refused(word) => return certain(Treatment::Refused(word)),
            Ruled::Key => {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=2147483647"));
                let policy = Overrides { max_lifetime: Duration::MAX, ..self.keyed.policy.clone() };
                Arc::new(cache::Config { policy, ..(**self.keyed).clone() })
            }
            Ruled::By(ruling) => {
                let terms = ruling.terms();
                match terms.answer.as_deref() {
                    Some(Answer::Redirect(_)) => {
                        return certain(Treatment::Answered(Reason::Redirect));
                    }
                    Some(Answer::Fixed(_)) => {
                        return certain(Treatment::Answered(Reason::FixedAnswer));
                    }
                    None => {}
                }
                let is_unkeyed = || terms.request.as_ref().is_some_and(|it| it.tells_unkeyed());
                let bypass = if terms.cache.enabled {
                    let eligible = policy::eligibility(&facts).err();
                    let unkeyed = || is_unkeyed().then_some(Reason::UnkeyedEdit);
                    let off = || (!terms.cache.lookup).then_some(Reason::LookupOff);
                    eligible.or_else(unkeyed).or_else(off)
                } else {
                    Some(Reason::CacheOff)
                };
                if let Some(reason) = bypass {
                    let invalidates = invalidates(facts.method, status, &headers);
                    return certain(Treatment::Bypassed { reason, invalidates });
                }
                ruling.settings(status, &headers)
            }
        };
        if self.validates && !headers.contains_key(ETAG) && !headers.contains_key(LAST_MODIFIED) {
            headers.insert(ETAG, HeaderValue::from_static("\"logged\""));
        }
        let is_varied = match self.vary {
            Some(vary) if !headers.contains_key(VARY) => {
                headers.insert(VARY, vary.clone());
                true
            }
            _ => false,
        };
        let get = RequestFacts::new(&Method::GET, &asker.headers, false);
        let behind = *facts.method == Method::HEAD;
        let behind = behind.then(|| self.store(&get, status, headers.clone(), &config).0);
        let (store, is_assumed) = self.store(&facts, status, headers, &config);
        let lookup = Lookup {
            method: asker.method.clone(),
            headers: asker.headers.clone(),
            directives: RequestDirectives::parse(&asker.headers),
            status,
            collapses: config.collapse,
            max_object_size: config.max_object_size,
            store,
            behind,
        };
        (Treatment::LookedUp(Box::new(lookup)), is_assumed || is_varied)
    }

    /// What becomes of the answer, and whether that rests on an assumption.
    fn store(
        &self,
        facts: &RequestFacts<'_>,
        status: StatusCode,
        mut headers: HeaderMap,
        config: &Arc<cache::Config>,
    ) -> (Store, bool) {
        if *facts.method != Method::GET {
            return (Store::Passing(Reason::Miss), false);
        }
        if status == StatusCode::PARTIAL_CONTENT {
            return (Store::Passing(Reason::PartialMiss), false);
        }
        if !config.store {
            return (Store::No(Reason::StoreOff), false);
        }
        let is_told = self.trace.tells_lifetimes
            || headers.contains_key(CACHE_CONTROL)
            || headers.contains_key(EXPIRES);
        let says = self.says.or_else(|| {
            let head = head(facts, status, &headers, &config.policy);
            let nobody = head.freshness(&config.policy).source == LifetimeSource::None;
            self.otherwise.filter(|_| nobody)
        });
        let says = says.filter(|_| !is_told);
        let mut config = Arc::clone(config);
        let before = storability(facts, status, &headers, &config.policy);
        match says {
            None | Some(Says::Vary(_)) => {}
            Some(Says::Lifetime(lifetime)) => {
                let policy = Overrides { default_lifetime: *lifetime, ..config.policy.clone() };
                config = Arc::new(cache::Config { policy, ..(*config).clone() });
            }
            Some(Says::Control(control)) => {
                headers.insert(CACHE_CONTROL, control.clone());
            }
        }
        match storability(facts, status, &headers, &config.policy) {
            // What is not stored whatever is assumed, rests on nothing.
            Storability::DoNotStore(reason) => {
                let is_same = before == Storability::DoNotStore(reason);
                (Store::No(reason), says.is_some() && !is_same)
            }
            Storability::Store => {
                let head = head(facts, status, &headers, &config.policy);
                let useless_at = head.expires_from_store_at(&config.policy);
                let prospect = Prospect { useful: useless_at.since(REFERENCE), head, config };
                (Store::Yes(Box::new(prospect)), says.is_some())
            }
        }
    }
}

fn head(
    facts: &RequestFacts<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    policy: &Overrides,
) -> StoredHead {
    let times = ResponseTimes { request_at: REFERENCE, response_at: REFERENCE };
    StoredHead::new(facts, status, headers, times, policy)
}

/// Whether the target of such a request is no longer good (RFC 9111 §4.4).
fn invalidates(method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
    // Any target: the answer names it itself, whatever it is.
    let target = Target::parse("http://localhost/");
    target.is_ok_and(|target| !policy::invalidated(method, status, &target, headers).is_empty())
}
