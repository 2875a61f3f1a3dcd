//! Which of the operator's rules speak of a request, and of its response. Pure: no clock, no I/O.
//!
//! What the rules then say is merged elsewhere: a rule here is only its number in the file.

mod condition;
mod key;
mod pattern;
mod query;
mod response;
mod set;

pub use condition::{Condition, Presence};
pub use key::KeyRules;
pub use pattern::{PathPattern, PatternError, Text};
pub use query::QueryRules;
pub use response::ResponseCondition;
pub use set::{Matched, RuleSet, RuleSetError};

use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::key::Target;

/// A request, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The effective URI in normal form: its path is matched as the origin gets it.
    pub target: &'a Target,
    /// The fields, hop-by-hop ones removed.
    pub headers: &'a HeaderMap,
    /// The client's address, as trusted proxies tell it.
    pub client: IpAddr,
}
