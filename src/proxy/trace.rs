//! What is found out about one request on its way, for whoever wants to explain it.

use std::sync::{Arc, OnceLock};

use super::rules::Ruling;
use crate::key::Target;

/// Is told where a request was routed, if it stands among the request's extensions. Requests of
/// clients carry none, and cost nothing for it.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<OnceLock<Routed>>);

/// Where a request was routed.
#[derive(Clone, Debug)]
pub struct Routed {
    /// What was asked for, in normal form.
    pub asked: Target,
    /// What of it counts: what is keyed, and asked of the origin.
    pub keyed: Target,
    /// The route, the rules that match, and what they set.
    pub ruling: Arc<Ruling>,
}

impl Trace {
    /// Where it went; `None` before, and for what was refused or answered above the routes.
    #[must_use]
    pub fn routed(&self) -> Option<&Routed> {
        self.0.get()
    }

    pub(super) fn tell(&self, routed: Routed) {
        // A request is routed once.
        let _ = self.0.set(routed);
    }
}
