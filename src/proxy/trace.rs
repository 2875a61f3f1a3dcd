//! What is found out about one request on its way, for whoever wants to explain it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, StatusCode};

use super::rules::Ruling;
use crate::cache::{self, ByResponse};
use crate::key::Target;

/// Is told where a request was routed, if it stands among the request's extensions. Requests of
/// clients carry none, and cost nothing for it.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    routed: OnceLock<Routed>,
    /// What the rules on responses had to say last.
    refined: Mutex<Option<Arc<Ruling>>>,
}

/// Where a request was routed.
#[derive(Clone, Debug)]
pub struct Routed {
    /// What was asked for, in normal form.
    pub asked: Target,
    /// What of it counts: what is keyed, and asked of the origin.
    pub keyed: Target,
    /// The request's fields as they are judged: what does not count of its cookies is gone.
    pub headers: HeaderMap,
    /// The route, the rules that match, and what they set.
    pub ruling: Arc<Ruling>,
}

impl Trace {
    /// Where it went; `None` before, and for what was refused or answered above the routes.
    #[must_use]
    pub fn routed(&self) -> Option<&Routed> {
        self.0.routed.get()
    }

    /// What all rules say, those on responses too as far as they were asked.
    #[must_use]
    pub fn ruling(&self) -> Option<Arc<Ruling>> {
        let refined = self.0.refined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        refined.or_else(|| self.routed().map(|routed| Arc::clone(&routed.ruling)))
    }

    pub(super) fn tell(&self, routed: Routed) {
        // A request is routed once.
        let _ = self.0.routed.set(routed);
    }

    /// The ruling where it waits for the response, so that this is told what it then says.
    pub(super) fn by_response(&self, ruling: &Arc<Ruling>) -> Arc<dyn ByResponse> {
        Arc::new(Watched { ruling: Arc::clone(ruling), trace: self.clone() })
    }
}

/// A ruling whose answers are noted.
#[derive(Debug)]
struct Watched {
    ruling: Arc<Ruling>,
    trace: Trace,
}

impl ByResponse for Watched {
    fn settings(&self, status: StatusCode, headers: &HeaderMap) -> Arc<cache::Config> {
        let refined = self.ruling.refine(status, headers);
        let refined = refined.unwrap_or_else(|| Arc::clone(&self.ruling));
        let settings = Arc::clone(&refined.terms().cache);
        let noted = &self.trace.0.refined;
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(refined);
        settings
    }
}
