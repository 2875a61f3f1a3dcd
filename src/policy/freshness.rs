//! How long a response is fresh (RFC 9111 §4.2), and how long past that it may be of use.

use std::time::Duration;

use super::facts::Facts;
use super::imposed::{Imposable, Said};
use super::overrides::Overrides;
use super::status::{is_heuristically_cacheable, is_provoked};

/// A freshness lifetime (RFC 9111 §4.2.1) and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessLifetime {
    /// Counted from the response's generation, so that age has to be less.
    pub duration: Duration,
    /// Who gave it.
    pub source: LifetimeSource,
}

/// Who gave a freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifetimeSource {
    /// `X-Accel-Expires`.
    XAccelExpires,
    /// `s-maxage` (RFC 9111 §5.2.2.10).
    SMaxage,
    /// `max-age` (RFC 9111 §5.2.2.1).
    MaxAge,
    /// `Expires` less `Date` (RFC 9111 §5.3).
    Expires,
    /// Configuration, whatever the origin says.
    Imposed,
    /// Configuration, by status.
    Negative,
    /// The age of `Last-Modified` (RFC 9111 §4.2.2).
    Heuristic,
    /// Configuration.
    Default,
    /// Nobody: the lifetime is zero.
    None,
}

impl LifetimeSource {
    /// The stable word, in kebab-case.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::XAccelExpires => "x-accel-expires",
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Imposed => "imposed",
            Self::Negative => "negative",
            Self::Heuristic => "heuristic",
            Self::Default => "default",
            Self::None => "none",
        }
    }

    /// The origin gave it.
    #[must_use]
    pub const fn is_explicit(self) -> bool {
        matches!(self, Self::XAccelExpires | Self::SMaxage | Self::MaxAge | Self::Expires)
    }
}

/// How long past its lifetime a response may be of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleWindows {
    /// While one request validates it (RFC 5861 §3).
    pub while_revalidate: Duration,
    /// In place of an error (RFC 5861 §4).
    pub if_error: Duration,
    /// While no response comes at all (RFC 9111 §4.2.4).
    pub when_disconnected: Duration,
}

impl Facts {
    /// All windows.
    pub(super) fn windows(&self, overrides: &Overrides) -> StaleWindows {
        StaleWindows {
            while_revalidate: self.revalidate_window(overrides),
            if_error: self.error_window(overrides),
            when_disconnected: self.disconnected_window(overrides),
        }
    }

    /// The lifetime (RFC 9111 §4.2.1), within the configured bounds.
    pub(super) fn lifetime(&self, overrides: &Overrides) -> FreshnessLifetime {
        let imposed = || Some((self.imposed(overrides)?, LifetimeSource::Imposed));
        let given = || {
            let (duration, source) = self.explicit()?;
            Some((duration.max(self.least(overrides)), source))
        };
        let (duration, source) = imposed()
            .or_else(given)
            .or_else(|| self.implicit(overrides))
            .unwrap_or((Duration::ZERO, LifetimeSource::None));
        let duration = self.jittered(duration.min(overrides.max_lifetime), overrides);
        FreshnessLifetime { duration, source }
    }

    /// What the origin says. A targeted field sets `Expires` aside (RFC 9213 §2.2).
    pub(super) fn explicit(&self) -> Option<(Duration, LifetimeSource)> {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let directives = &self.directives;
        let expires = self.expires().filter(|_| !directives.is_targeted());
        self.accel()
            // `X-Accel-Expires` counts from the receipt, the rest from the generation.
            .map(|accel| (accel.saturating_add(self.initial_age()), LifetimeSource::XAccelExpires))
            .or_else(|| directives.s_maxage().map(|s| (seconds(s), LifetimeSource::SMaxage)))
            .or_else(|| directives.max_age().map(|s| (seconds(s), LifetimeSource::MaxAge)))
            .or_else(|| expires.map(|at| (at.since(self.date), LifetimeSource::Expires)))
    }

    /// Cut by this response's part of the jitter.
    fn jittered(&self, lifetime: Duration, overrides: &Overrides) -> Duration {
        if overrides.jitter > 0.0 {
            lifetime.mul_f64(1.0 - overrides.jitter.min(1.0) * f64::from(self.spread))
        } else {
            lifetime
        }
    }

    /// What configuration makes of it, whatever the origin says.
    fn imposed(&self, overrides: &Overrides) -> Option<Duration> {
        // Nearly everywhere: nothing has to be asked then.
        if overrides.lifetime.is_none() && overrides.lifetimes.is_empty() {
            return None;
        }
        let said = match self.explicit() {
            None => Said::Nothing,
            Some((lifetime, _)) if lifetime.is_zero() => Said::Zero,
            Some(_) => Said::Lasting,
        };
        let (status, public) = (self.status, self.directives.public());
        Imposable { status, said, public, impersonal: self.implicit }.lifetime(overrides)
    }

    /// The origin wants to see each use of what it gave to a visitor that it may know.
    fn is_checked_for_each(&self) -> bool {
        let checked = || self.explicit().is_some_and(|(lifetime, _)| lifetime.is_zero());
        !self.implicit && !self.directives.public() && checked()
    }

    /// What configuration raises the origin's lifetime to.
    const fn least(&self, overrides: &Overrides) -> Duration {
        if is_provoked(self.status) { Duration::ZERO } else { overrides.min_lifetime }
    }

    /// What is made up where the origin says nothing.
    fn implicit(&self, overrides: &Overrides) -> Option<(Duration, LifetimeSource)> {
        if !self.implicit {
            return None;
        }
        let status = self.status.as_u16();
        let negative = overrides.negative.iter().find(|(listed, _)| *listed == status);
        if let Some((_, lifetime)) = negative.filter(|_| !is_provoked(self.status)) {
            return Some((*lifetime, LifetimeSource::Negative));
        }
        let guessable = is_heuristically_cacheable(self.status) || self.directives.public();
        if !guessable {
            return None;
        }
        self.heuristic(overrides).or_else(|| {
            let usable = !is_provoked(self.status) && !overrides.default_lifetime.is_zero();
            usable.then_some((overrides.default_lifetime, LifetimeSource::Default))
        })
    }

    /// RFC 9111 §4.2.2.
    fn heuristic(&self, overrides: &Overrides) -> Option<(Duration, LifetimeSource)> {
        let heuristic = overrides.heuristic?;
        let provoked_too = heuristic.error_statuses && is_heuristically_cacheable(self.status);
        if is_provoked(self.status) && !provoked_too {
            return None;
        }
        let unmodified = self.date.since(self.last_modified?);
        let fraction = if heuristic.fraction > 0.0 { heuristic.fraction.min(1.0) } else { 0.0 };
        let lifetime = unmodified.mul_f64(fraction).min(heuristic.max);
        Some((lifetime, LifetimeSource::Heuristic))
    }

    /// How long past the lifetime it may be served while one request validates it.
    pub(super) fn revalidate_window(&self, overrides: &Overrides) -> Duration {
        let configured = overrides.stale_while_revalidate;
        self.window(self.directives.stale_while_revalidate(), configured, overrides)
    }

    /// How long past the lifetime it may be served in place of an error.
    pub(super) fn error_window(&self, overrides: &Overrides) -> Duration {
        self.window(self.directives.stale_if_error(), overrides.stale_if_error, overrides)
    }

    /// How long past the lifetime it may be served while no response comes at all.
    pub(super) fn disconnected_window(&self, overrides: &Overrides) -> Duration {
        self.window(None, overrides.stale_when_disconnected, overrides)
    }

    /// Whether the windows are closed (RFC 9111 §4.2.4).
    pub(super) fn bars_stale(&self, overrides: &Overrides) -> bool {
        let directives = &self.directives;
        let impersonal = || self.implicit || directives.public();
        let excused = || overrides.serve_forbidden_stale && !directives.no_cache() && impersonal();
        directives.bars_stale() && !excused()
    }

    /// The origin's grant, else the configured one; none where stale is barred (RFC 9111 §4.2.4).
    /// For an error that a client provoked, and for what may be one visitor's page, none but the
    /// origin's.
    fn window(
        &self,
        granted: Option<u32>,
        configured: Duration,
        overrides: &Overrides,
    ) -> Duration {
        if self.bars_stale(overrides) {
            return Duration::ZERO;
        }
        let sensitive = is_provoked(self.status) || self.is_checked_for_each();
        let configured = if sensitive { Duration::ZERO } else { configured };
        granted.map_or(configured, |seconds| Duration::from_secs(u64::from(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::testing::{AT_ONCE, NOW, NOW_DATE, at, get, headers, secs, stored};
    use crate::policy::{Heuristic, ResponseTimes, Reuse, StoredHead};

    fn lifetime(fields: &[(&str, &str)], overrides: &Overrides) -> (u64, LifetimeSource) {
        let lifetime = stored(200, fields, overrides).freshness(overrides);
        (lifetime.duration.as_secs(), lifetime.source)
    }

    const LATER: (&str, &str) = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
    const DATE: (&str, &str) = ("date", NOW_DATE);

    /// RFC 9111 §4.2.1.
    #[test]
    fn precedence_of_lifetimes() {
        let plain = Overrides::default();
        let max_age = ("cache-control", "max-age=10");
        let both = ("cache-control", "max-age=10, s-maxage=20");
        assert_eq!(lifetime(&[DATE, LATER], &plain), (60, LifetimeSource::Expires));
        assert_eq!(lifetime(&[DATE, LATER, max_age], &plain), (10, LifetimeSource::MaxAge));
        assert_eq!(lifetime(&[DATE, LATER, both], &plain), (20, LifetimeSource::SMaxage));
        assert_eq!(lifetime(&[DATE], &plain), (0, LifetimeSource::None));
        let cdn = ("cdn-cache-control", "foo");
        assert_eq!(lifetime(&[DATE, LATER, max_age, cdn], &plain), (0, LifetimeSource::None));
    }

    /// RFC 9111 §5.3.
    #[test]
    fn expires_counts_from_date_and_an_invalid_one_is_over() {
        let plain = Overrides::default();
        let expires = |value| lifetime(&[DATE, ("expires", value)], &plain);
        assert_eq!(expires("0"), (0, LifetimeSource::Expires));
        assert_eq!(expires(NOW_DATE), (0, LifetimeSource::Expires));
        assert_eq!(lifetime(&[DATE, LATER, LATER], &plain).0, 0);
        // On the origin's clock, whatever ours says; without a `Date` from the receipt.
        let slow = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        assert_eq!(lifetime(&[slow, LATER], &plain).0, 70);
        assert_eq!(lifetime(&[("date", "foo"), LATER], &plain).0, 60);
    }

    /// RFC 9111 §4.2.3.
    #[test]
    fn age_counts_transit_and_residence() {
        let plain = Overrides::default();
        let times = ResponseTimes {
            request_at: at(0),
            response_at: Timestamp::from_millis(NOW.as_millis() + 300),
        };
        let request = HeaderMap::new();
        let age = |fields: &[_], now| {
            let fields = headers(fields);
            let head = StoredHead::new(&get(&request), StatusCode::OK, &fields, times, &plain);
            head.current_age(now).as_millis()
        };
        assert_eq!(age(&[DATE], times.response_at), 300);
        assert_eq!(age(&[DATE, ("age", "5")], times.response_at), 5300);
        assert_eq!(age(&[DATE, ("age", "5")], at(1)), 6000);
        assert_eq!(age(&[("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("age", "5")], at(1)), 11_000);
        assert_eq!(age(&[("date", "Sun, 06 Nov 1994 09:49:27 GMT")], at(1)), 1000);
    }

    #[test]
    fn ttl_is_rounded_down_and_may_be_negative() {
        let plain = Overrides::default();
        let head = stored(200, &[DATE, ("cache-control", "max-age=10")], &plain);
        assert_eq!(head.ttl(&plain, NOW), 10);
        assert_eq!(head.ttl(&plain, Timestamp::from_millis(NOW.as_millis() + 1)), 9);
        assert_eq!(head.ttl(&plain, at(13)), -3);
    }

    #[test]
    fn configured_bounds() {
        let bounds =
            Overrides { min_lifetime: secs(20), max_lifetime: secs(30), ..Overrides::default() };
        for (max_age, seconds) in [("0", 20), ("25", 25), ("99999999999", 30)] {
            let value = format!("max-age={max_age}");
            assert_eq!(lifetime(&[DATE, ("cache-control", &value)], &bounds).0, seconds);
        }
        assert_eq!(lifetime(&[DATE], &bounds).0, 0);
    }

    /// RFC 9111 §4.2.2.
    #[test]
    fn heuristics_are_off_unless_configured_and_then_by_status() {
        let modified = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
        let on = Overrides { heuristic: Some(Heuristic::default()), ..Overrides::default() };
        let errors = Heuristic { error_statuses: true, ..Heuristic::default() };
        let errors = Overrides { heuristic: Some(errors), ..Overrides::default() };
        let seconds = |status, overrides: &_, extra: (&str, &str)| {
            stored(status, &[DATE, modified, extra], overrides)
                .freshness(overrides)
                .duration
                .as_secs()
        };
        let none = ("x", "");
        assert_eq!(seconds(200, &Overrides::default(), none), 0);
        for status in [200, 203, 204, 404, 410] {
            assert_eq!(seconds(status, &on, none), 8640, "{status}");
        }
        for status in [201, 202, 403, 405, 414, 431, 501, 502, 503, 504, 599] {
            assert_eq!(seconds(status, &on, none), 0, "{status}");
        }
        for (status, lifetime) in [(405, 8640), (414, 8640), (501, 8640), (400, 0), (431, 0)] {
            assert_eq!(seconds(status, &errors, none), lifetime, "{status}");
        }
        assert_eq!(seconds(599, &on, ("cache-control", "public")), 8640);
        assert_eq!(seconds(200, &on, ("set-cookie", "a=b")), 0);
    }

    #[test]
    fn nothing_is_made_up_for_one_visitor_or_provoked_errors() {
        let overrides = Overrides {
            default_lifetime: secs(5),
            negative: vec![(503, secs(2)), (400, secs(2)), (431, secs(2))],
            ..Overrides::default()
        };
        let seconds = |status, request: &[_]| {
            let request = headers(request);
            let status = StatusCode::from_u16(status).unwrap();
            let head =
                StoredHead::new(&get(&request), status, &headers(&[DATE]), AT_ONCE, &overrides);
            head.freshness(&overrides).duration.as_secs()
        };
        assert_eq!((seconds(200, &[]), seconds(503, &[]), seconds(403, &[])), (5, 2, 0));
        for status in [400, 405, 414, 421, 431, 501] {
            assert_eq!(seconds(status, &[]), 0, "{status}");
        }
        assert_eq!(seconds(200, &[("cookie", "a")]), 0);
        assert_eq!(seconds(503, &[("authorization", "a")]), 0);
    }

    #[test]
    fn configuration_prolongs_no_provoked_error() {
        let overrides = Overrides {
            min_lifetime: secs(60),
            stale_while_revalidate: secs(60),
            stale_if_error: secs(60),
            ..Overrides::default()
        };
        let lived = |status, control| {
            let head = stored(status, &[DATE, ("cache-control", control)], &overrides);
            let facts = &head.facts;
            let windows = [
                facts.revalidate_window(&overrides),
                facts.error_window(&overrides),
                facts.disconnected_window(&overrides),
            ];
            (head.freshness(&overrides).duration.as_secs(), windows.map(|it| it.as_secs()))
        };
        assert_eq!(lived(404, "max-age=1"), (60, [60, 60, 60]));
        for status in [400, 414, 431, 501] {
            assert_eq!(lived(status, "max-age=1"), (1, [0, 0, 0]), "{status}");
            let granted = "max-age=1, stale-while-revalidate=2, stale-if-error=3";
            assert_eq!(lived(status, granted), (1, [2, 3, 0]), "{status}");
        }
    }

    #[test]
    fn jitter_shortens_each_by_its_own_and_the_same_everywhere() {
        let jitter = Overrides { jitter: 0.5, ..Overrides::default() };
        let fields = headers(&[DATE, ("cache-control", "max-age=1000")]);
        let request = HeaderMap::new();
        let seconds = |seed, overrides: &_| {
            let facts = crate::policy::RequestFacts { seed, ..get(&request) };
            let head = StoredHead::new(&facts, StatusCode::OK, &fields, AT_ONCE, overrides);
            head.freshness(overrides).duration.as_secs()
        };
        let lived: Vec<_> = (0..1000).map(|seed| seconds(seed, &jitter)).collect();
        assert!(lived.iter().all(|it| (500..=1000).contains(it)));
        // About a tenth in each tenth of the span.
        for start in (500..1000).step_by(50) {
            let count = lived.iter().filter(|it| (start..start + 50).contains(*it)).count();
            assert!((50..150).contains(&count), "{start}: {count}");
        }
        assert_eq!(seconds(7, &jitter), seconds(7, &jitter));
        assert_eq!(seconds(7, &Overrides::default()), 1000);
    }

    #[test]
    fn x_accel_expires_replaces_the_lifetime_where_configured() {
        let on = Overrides { x_accel_expires: true, ..Overrides::default() };
        let control = ("cache-control", "max-age=10, private");
        let fields = [DATE, control, ("x-accel-expires", "30"), ("age", "7")];
        let head = stored(200, &fields, &on);
        assert_eq!((head.ttl(&on, NOW), head.facts.directives.private()), (30, true));
        assert_eq!(lifetime(&[DATE, ("x-accel-expires", "@784111797")], &on).0, 20);
        assert_eq!(lifetime(&fields, &Overrides::default()).0, 10);
    }

    proptest! {
        #[test]
        fn fresh_at_t_is_fresh_before_t(max_age in 0_u32..100, age in 0_u32..100, t in 0_i64..100, earlier in 0_i64..100) {
            let plain = Overrides::default();
            let control = format!("max-age={max_age}");
            let head = stored(200, &[DATE, ("cache-control", &control), ("age", &age.to_string())], &plain);
            let fresh = |seconds| crate::policy::testing::reuse_at(&head, &plain, seconds) == Reuse::Fresh;
            prop_assert!(!fresh(t.max(earlier)) || fresh(t.min(earlier)));
        }
    }
}
