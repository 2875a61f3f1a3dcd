//! In what two requests with one key may differ.

use super::condition::Condition;
use super::key::KeyRules;

impl<P> Condition<P> {
    /// Whether of two requests that `key` does not tell apart one may satisfy it, and the other
    /// not. The method is plain to see for both ends, so that it does not count.
    #[must_use]
    pub fn reads_unkeyed(&self, key: &KeyRules) -> bool {
        let any = |conditions: &[Self]| conditions.iter().any(|it| it.reads_unkeyed(key));
        match self {
            Self::Path(_) | Self::Method(_) | Self::Secure(_) => false,
            // The key has the host that its aliases share.
            Self::Host(_) => key.host.is_some(),
            Self::Header(name, _) => !key.has_field(name),
            Self::Cookie(name, _) => !key.has_cookie(name),
            Self::Query(name, _) => !key.query.has(name),
            Self::Client(_) => true,
            Self::All(conditions) | Self::Any(conditions) => any(conditions),
            Self::Not(condition) => condition.reads_unkeyed(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};

    use super::*;
    use crate::key::HostPattern;
    use crate::rules::{PathPattern, Presence, QueryRules};

    #[test]
    fn what_is_in_the_key_tells_requests_apart_and_nothing_else_does() {
        let header = |name| Condition::Header(HeaderName::from_static(name), Presence::Present);
        let cookie = |name: &str| Condition::Cookie(name.into(), Presence::Absent);
        let query = |name: &str| Condition::Query(name.into(), Presence::Present);
        let host = || Condition::Host([HostPattern::Exact("a.test".to_owned())].into());
        let aliased = ["a.test", "a.test"].map(|host| host.parse().unwrap());
        let plain = KeyRules::default();
        let key = KeyRules {
            query: QueryRules { drop_tracking: true, ..QueryRules::default() },
            fields: vec![HeaderName::from_static("accept-language")],
            cookies: Some(vec!["theme".to_owned()]),
            host: Some(aliased),
            ..KeyRules::default()
        };
        let path: Condition = Condition::Path([PathPattern::glob("/a").unwrap()].into());
        for (condition, in_plain, in_key) in [
            (path, false, false),
            (Condition::Method([Method::GET].into()), false, false),
            (Condition::Secure(true), false, false),
            (host(), false, true),
            (header("accept-language"), true, false),
            (header("user-agent"), true, true),
            (cookie("theme"), true, false),
            (cookie("session"), true, true),
            (query("page"), false, false),
            (query("utm_source"), false, true),
            (Condition::Client([].into()), true, true),
            (Condition::All([query("page"), cookie("theme")].into()), true, false),
            (Condition::Any([query("page"), header("x-a")].into()), true, true),
            (Condition::Not(Box::new(cookie("session"))), true, true),
        ] {
            assert_eq!(condition.reads_unkeyed(&plain), in_plain, "{condition:?}");
            assert_eq!(condition.reads_unkeyed(&key), in_key, "{condition:?}");
        }
    }
}
