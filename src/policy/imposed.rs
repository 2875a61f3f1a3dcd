//! Lifetimes that configuration imposes, whatever the origin says of freshness.
//!
//! What the origin says of sharing is not touched: `no-store`, `private`, `no-cache`, cookies and
//! credentials mean what they always mean.

use std::time::Duration;

use http::StatusCode;

use super::overrides::Overrides;
use super::status::{is_heuristically_cacheable, is_provoked};

/// What the origin says of freshness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A lifetime above zero.
    Lasting,
    /// A lifetime of zero, or an invalid one.
    Zero,
    /// Nothing.
    Nothing,
}

/// A response, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Imposable {
    pub(super) status: StatusCode,
    pub(super) said: Said,
    /// `public`.
    pub(super) public: bool,
    /// Nothing shows that it is for one visitor.
    pub(super) impersonal: bool,
}

impl Imposable {
    /// The lifetime that `overrides` impose.
    ///
    /// None on an error that a client can provoke; and what may be one visitor's page (a cookie
    /// was sent or set) has to be called lasting or public by the origin first.
    pub(super) fn lifetime(self, overrides: &Overrides) -> Option<Duration> {
        let shared = self.impersonal || self.public || self.said == Said::Lasting;
        if is_provoked(self.status) || !shared {
            return None;
        }
        let status = self.status.as_u16();
        let listed = overrides.lifetimes.iter().find(|(listed, _)| *listed == status);
        // A failure would last as long as a page: errors are listed or keep their own lifetime.
        let good = self.status.is_success() || self.status.is_redirection();
        // As without configuration, some statuses are stored only if the origin speaks of it.
        let meant =
            is_heuristically_cacheable(self.status) || self.public || self.said != Said::Nothing;
        listed.map(|(_, lifetime)| *lifetime).or(overrides.lifetime.filter(|_| good && meant))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::policy::testing::{AT_ONCE, NOW_DATE, get, headers, secs, stored};
    use crate::policy::{LifetimeSource, Reason, Storability, StoredHead, storability};

    fn imposing() -> Overrides {
        Overrides {
            lifetime: Some(secs(60)),
            lifetimes: vec![(302, secs(30)), (404, secs(10)), (503, secs(1)), (400, secs(5))],
            ..Overrides::default()
        }
    }

    /// The lifetime in seconds of what is stored.
    fn outcome(
        request: &[(&str, &str)],
        status: u16,
        fields: &[(&str, &str)],
    ) -> Result<u64, Reason> {
        let (request, fields) = (headers(request), headers(fields));
        let status = StatusCode::from_u16(status).unwrap();
        match storability(&get(&request), status, &fields, &imposing()) {
            Storability::DoNotStore(reason) => Err(reason),
            Storability::Store => {
                let head = StoredHead::new(&get(&request), status, &fields, AT_ONCE, &imposing());
                Ok(head.freshness(&imposing()).duration.as_secs())
            }
        }
    }

    #[test]
    fn whatever_the_origin_says_of_freshness() {
        for control in ["", "max-age=0", "max-age=9999", "s-maxage=3", "public", "must-revalidate"]
        {
            assert_eq!(outcome(&[], 200, &[("cache-control", control)]), Ok(60), "{control}");
        }
        assert_eq!(outcome(&[], 200, &[("date", NOW_DATE), ("expires", "0")]), Ok(60));
        let head = stored(200, &[("cache-control", "max-age=5")], &imposing());
        assert_eq!(head.freshness(&imposing()).source, LifetimeSource::Imposed);
    }

    #[test]
    fn not_what_the_origin_says_of_sharing() {
        for (control, reason) in [
            ("no-store", Reason::NoStore),
            ("private", Reason::Private),
            ("no-cache", Reason::NoCache),
        ] {
            assert_eq!(outcome(&[], 200, &[("cache-control", control)]), Err(reason));
        }
        assert_eq!(outcome(&[], 200, &[("set-cookie", "a=b")]), Err(Reason::SetCookie));
        assert_eq!(outcome(&[("authorization", "a")], 200, &[]), Err(Reason::Authorization));
    }

    #[test]
    fn what_may_be_one_visitors_page_has_to_be_called_shared_first() {
        let cookie = [("cookie", "a=b")];
        for (control, expected) in [
            ("", Err(Reason::NoFreshness)),
            ("max-age=0", Err(Reason::NoFreshness)),
            ("max-age=5", Ok(60)),
            ("max-age=0, public", Ok(60)),
        ] {
            assert_eq!(outcome(&cookie, 200, &[("cache-control", control)]), expected, "{control}");
        }
    }

    #[test]
    fn errors_are_listed_or_keep_their_own_lifetime() {
        for (status, control, expected) in [
            (301, "", Ok(60)),
            (302, "", Ok(30)),
            (307, "", Err(Reason::Status)),
            (307, "max-age=5", Ok(60)),
            (404, "max-age=9999", Ok(10)),
            (410, "max-age=7", Ok(7)),
            (500, "", Err(Reason::Status)),
            (503, "", Ok(1)),
            (400, "", Err(Reason::Status)),
            (400, "max-age=7", Ok(7)),
        ] {
            let found = outcome(&[], status, &[("cache-control", control)]);
            assert_eq!(found, expected, "{status} {control}");
        }
    }

    #[test]
    fn a_lifetime_of_zero_is_validated_each_time() {
        let never = Overrides { lifetime: Some(Duration::ZERO), ..Overrides::default() };
        let fields = [("cache-control", "max-age=9"), ("etag", "\"a\"")];
        let storable = |fields: &[_]| {
            storability(&get(&HeaderMap::new()), StatusCode::OK, &headers(fields), &never)
        };
        assert_eq!(storable(&fields), Storability::Store);
        assert_eq!(storable(&fields[..1]), Storability::DoNotStore(Reason::NoFreshness));
        assert!(stored(200, &fields, &never).freshness(&never).duration.is_zero());
    }
}
