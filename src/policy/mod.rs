//! What RFC 9111 allows, as pure functions: no I/O, no clock, `now` is an argument.
//!
//! A response's way: [`storability`] says whether it may be stored, [`StoredHead`] keeps its head
//! with every fact parsed once, [`reuse`] says whether it answers a later request as it stands.
//! [`Overrides`] is all that configuration can change of the RFC's answers, and a [`Reason`]
//! names each decision with the same word everywhere.

mod age;
mod dates;
mod directives;
mod facts;
mod freshness;
mod groups;
mod invalidation;
mod language;
mod names;
mod overrides;
pub mod partial;
pub mod precondition;
pub mod range;
mod reading;
mod reason;
mod record;
mod request;
#[cfg(test)]
mod restriction;
mod reuse;
mod status;
mod storability;
mod stored_head;
mod targeted;
#[cfg(test)]
pub(crate) mod testing;
mod validation;
mod validators;
mod vary;

pub use dates::{format_date, parse_date};
pub use directives::{ResponseDirectives, Source};
pub use freshness::{FreshnessLifetime, LifetimeSource, StaleWindows};
pub use groups::{CACHE_GROUPS, group_names, invalidated_groups};
pub use invalidation::invalidated;
pub use overrides::{Heuristic, Overrides, RequestDirectivesPolicy};
pub use precondition::{Precondition, not_modified_headers};
pub use range::{ByteRange, ContentRange, PartialAnswer, RangeAnswer};
pub use reason::Reason;
pub use record::HeadRecord;
pub use request::{MaxStale, RequestDirectives, RequestFacts};
pub use reuse::{Failure, Reuse, StaleGrant, Validity, on_failure, reuse};
pub use status::is_provoked;
pub use storability::{Storability, eligibility, post_is_reusable, storability};
pub use stored_head::{ResponseTimes, StoredHead};
pub use validation::{
    HeadVerdict, conditional_headers, judge_head, strip_conditionals, validated_by,
};

pub use validators::{EntityTag, Validators};
pub use vary::{VaryKey, VaryOutcome, select};
