//! A request that is looked up, and what the origin's answer to it comes to.

use http::header::ETAG;

use crate::clock::Timestamp;
use crate::forecast::plan::{Kind, Lookup, Prospect, Store};
use crate::forecast::trace::Request;
use crate::policy::{self, Failure, Overrides, StaleGrant, on_failure};

/// A request that is looked up.
pub(super) struct Asking<'a> {
    pub(super) request: &'a Request,
    pub(super) key: u32,
    /// That of its kind.
    pub(super) number: u32,
    pub(super) kind: &'a Kind,
    pub(super) lookup: &'a Lookup,
}

/// What allows what is stored to be served, and to stay, where the origin fails.
pub(super) fn spared(
    asked: &Asking<'_>,
    stored: &Prospect,
    overrides: &Overrides,
    now: Timestamp,
) -> Option<StaleGrant> {
    let lookup = asked.lookup;
    if !lookup.status.is_server_error() {
        return None;
    }
    let directives = lookup.directives.effective(overrides.request_directives, false);
    on_failure(&stored.head, &directives, overrides, Failure::Status(lookup.status), now)
}

/// Whether the origin would say 304: what it would send has the entity tag or date of what is
/// stored. Other changes a log does not tell.
pub(super) fn is_unchanged(stored: &Prospect, answer: &Store) -> bool {
    let Store::Yes(new) = answer else { return false };
    if stored.head.validators().is_empty() {
        return false;
    }
    let tag = |head: &policy::StoredHead| head.get(&ETAG);
    match (tag(&stored.head), tag(&new.head)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}
