//! Which of the operator's rules speak of a request, and of its response. Pure: no clock, no I/O.
//!
//! What the rules then say is merged elsewhere: a rule here is only its number in the file.

mod answer;
mod condition;
mod edits;
mod key;
mod networks;
mod pattern;
mod query;
mod response;
mod rewrite;
mod set;
mod tag;
mod template;
mod unkeyed;

pub use answer::{Answer, Fixed, Redirect};
pub use condition::{Condition, Presence};
pub use edits::{
    Evaluated, FieldEdit, FieldEdits, RequestEdits, is_fixed_in_requests, is_fixed_in_responses,
};
pub use key::KeyRules;
pub use networks::Networks;
pub use pattern::{PathPattern, PatternError, Text};
pub use query::QueryRules;
pub use response::ResponseCondition;
pub use rewrite::{NotAPath, Rewrite};
pub use set::{Matched, RuleSet, RuleSetError};
pub use tag::{Label, LabelError, Labels, TagRules, TooManyTags, tags};
pub use template::{TagTemplate, Template, TemplateError};

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
