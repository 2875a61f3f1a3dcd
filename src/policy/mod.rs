//! What RFC 9111 allows, as pure functions: no I/O, no clock, `now` is an argument.
//!
//! A response's way: [`storability`] says whether it may be stored, [`StoredHead`] keeps its head
//! with every fact parsed once, [`reuse`] says whether it answers a later request as it stands.
//! [`Overrides`] is all that configuration can change of the RFC's answers, and a [`Reason`]
//! names each decision with the same word everywhere.

mod age;
mod client_lifetime;
mod coded_tag;
mod compression;
mod dates;
mod directives;
mod early;
mod encoding;
mod facts;
mod freshness;
mod groups;
mod imposed;
mod invalidation;
mod language;
mod lines;
mod media_types;
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
mod search;
mod status;
mod storability;
mod stored_head;
mod targeted;
#[cfg(test)]
pub(crate) mod testing;
mod validation;
mod validators;
mod vary;

pub use client_lifetime::tell_client;
pub use coded_tag::{add_origin_tags, client_tag, named_copy, names_tag, origin_tag};
pub use compression::{Compression, Levels, resumes_by_date, speak_of_copy, vary_by_coding};
pub use dates::{format_date, parse_date};
pub use directives::{CacheControl, ResponseDirectives, Source};
pub use early::{early_chance, is_due_early};
pub use encoding::{Coding, Encodings};
pub use freshness::{FreshnessLifetime, LifetimeSource, StaleWindows};
pub use groups::{CACHE_GROUPS, group_names, invalidated_groups};
pub use invalidation::invalidated;
pub use media_types::MediaTypes;
pub use overrides::{Heuristic, Overrides, RequestDirectivesPolicy};
pub use precondition::{Precondition, not_modified_headers};
pub use range::{ByteRange, ContentRange, PartialAnswer, RangeAnswer};
pub use reason::Reason;
pub use record::HeadRecord;
pub use request::{MaxStale, RequestDirectives, RequestFacts};
pub use reuse::{Failure, Reuse, StaleGrant, Validity, on_failure, reuse};
pub use search::{NO_VARY_SEARCH, SearchVariation};
pub use status::is_provoked;
pub use storability::{Storability, eligibility, permit, post_is_reusable, storability};
pub use stored_head::{ResponseTimes, StoredHead};
pub use validation::{
    HeadVerdict, conditional_headers, judge_head, strip_conditionals, validated_by,
};

pub use validators::{EntityTag, Validators};
pub use vary::{VaryKey, VaryOutcome, select};
