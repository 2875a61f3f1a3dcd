//! Which settings the reading of a response depended on when it was stored.
//!
//! Lifetimes and windows are worked out at each use, so that they follow the settings. Which field
//! speaks, whether a cookie, an answer to `Authorization` or to what is not keyed may be kept, and
//! which URLs a response answers, is decided once: a response for which that has changed since, by a
//! reload or because another rule stored it, is fetched again.

use http::header::AUTHORIZATION;

use super::overrides::Overrides;
use super::request::RequestFacts;
use super::stored_head::StoredHead;

const TARGETED: u8 = 1;
const SURROGATE: u8 = 1 << 1;
const ACCEL: u8 = 1 << 2;
const COOKIE: u8 = 1 << 3;
const AUTHORIZED: u8 = 1 << 4;
const SEARCH: u8 = 1 << 5;
const UNKEYED: u8 = 1 << 6;

/// The settings that mattered for one response, and what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Of the settings below, those that are about a field of this response.
    concerned: u8,
    settings: u8,
}

impl Reading {
    /// Of what has come to be stored, which has fields with these `names`.
    pub(super) fn new<'a>(
        names: impl Iterator<Item = &'a [u8]>,
        request: &RequestFacts<'_>,
        overrides: &Overrides,
    ) -> Self {
        // In one pass: most responses have none of them.
        let concerned = names.fold(0, |found, name| found | setting_for(name))
            | if request.headers.contains_key(AUTHORIZATION) { AUTHORIZED } else { 0 }
            | if request.told_unkeyed { UNKEYED } else { 0 };
        // What was not told is shared by nobody's leave: a record has to show the one by the other.
        let untold = if request.told_unkeyed { 0 } else { UNKEYED };
        Self { concerned, settings: settings(overrides) & !untold }
    }

    /// Of what was stored elsewhere, under `settings` as [`Reading::settings`] tells them.
    pub(super) fn recorded(stored: &StoredHead, request: &RequestFacts<'_>, settings: u8) -> Self {
        let new = Self::new(stored.names(), request, &Overrides::default());
        Self { concerned: new.concerned | (settings & UNKEYED), settings }
    }

    /// What the settings were, for a record.
    pub(super) const fn settings(self) -> u8 {
        self.settings
    }

    /// Whether it would be read in the same way today.
    pub(super) fn is_todays(self, overrides: &Overrides) -> bool {
        (self.settings ^ settings(overrides)) & self.concerned == 0
    }
}

/// The setting that is about the field with this name, if there is one.
fn setting_for(name: &[u8]) -> u8 {
    match name {
        b"seawall-cache-control" | b"cdn-cache-control" => TARGETED,
        b"surrogate-control" => SURROGATE,
        b"x-accel-expires" => ACCEL,
        b"set-cookie" => COOKIE,
        b"no-vary-search" => SEARCH,
        _ => 0,
    }
}

fn settings(overrides: &Overrides) -> u8 {
    let bit = |on, bit| if on { bit } else { 0 };
    bit(overrides.targeted, TARGETED)
        | bit(overrides.surrogate_control, SURROGATE)
        | bit(overrides.x_accel_expires, ACCEL)
        | bit(overrides.store_set_cookie, COOKIE)
        | bit(overrides.share_authorized, AUTHORIZED)
        | bit(overrides.no_vary_search, SEARCH)
        | bit(overrides.share_unkeyed, UNKEYED)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::policy::testing::{AT_ONCE, get, headers, reuse_at, stored, stored_for};
    use crate::policy::{Reason, Reuse};

    #[test]
    fn what_would_be_read_otherwise_today_is_not_used() {
        let plain = Overrides::default();
        let changed = Reuse::Unusable(Reason::SettingsChanged);
        let control = ("cache-control", "max-age=60");
        for (field, then) in [
            (("cdn-cache-control", "no-store"), Overrides { targeted: false, ..plain.clone() }),
            (("seawall-cache-control", "private"), Overrides { targeted: false, ..plain.clone() }),
            (
                ("surrogate-control", "max-age=9"),
                Overrides { surrogate_control: true, ..plain.clone() },
            ),
            (("x-accel-expires", "9"), Overrides { x_accel_expires: true, ..plain.clone() }),
            (("no-vary-search", "key-order"), Overrides { no_vary_search: true, ..plain.clone() }),
            (("set-cookie", "a=b"), Overrides { store_set_cookie: true, ..plain.clone() }),
        ] {
            let head = stored(200, &[control, field], &then);
            assert_eq!(reuse_at(&head, &then, 1), Reuse::Fresh, "{field:?}");
            assert_eq!(reuse_at(&head, &plain, 1), changed, "{field:?}");
            let unconcerned = stored(200, &[control], &then);
            assert_eq!(reuse_at(&unconcerned, &plain, 1), Reuse::Fresh, "{field:?}");
        }
        let then = Overrides { share_unkeyed: true, ..plain.clone() };
        let fields = headers(&[control]);
        let none = headers(&[]);
        for told_unkeyed in [true, false] {
            let facts = RequestFacts { told_unkeyed, ..get(&none) };
            let head = StoredHead::new(&facts, StatusCode::OK, &fields, AT_ONCE, &then);
            let restored = StoredHead::restore(&head.record().unwrap(), &then).unwrap();
            for head in [head, restored] {
                assert_eq!(reuse_at(&head, &then, 1), Reuse::Fresh);
                let today = if told_unkeyed { changed } else { Reuse::Fresh };
                assert_eq!(reuse_at(&head, &plain, 1), today, "{told_unkeyed}");
            }
        }
        let then = Overrides { share_authorized: true, ..plain.clone() };
        let head = stored_for(&[("authorization", "Basic eDp5")], 200, &[control], &then);
        assert_eq!(reuse_at(&head, &then, 1), Reuse::Fresh);
        assert_eq!(reuse_at(&head, &plain, 1), changed);
    }
}
