//! What a rule asks of a request.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, Method};
use ipnet::IpNet;

use super::Request;
use super::pattern::{PathPattern, Text};
use crate::key::HostPattern;

/// A condition on a request. `P` is how paths are matched: as patterns where it is written, as
/// their numbers once a set of rules is compiled.
#[derive(Clone, Debug)]
pub enum Condition<P = PathPattern> {
    /// One of these hosts.
    Host(Box<[HostPattern]>),
    /// One of these patterns.
    Path(Box<[P]>),
    /// One of these methods.
    Method(Box<[Method]>),
    /// `https` rather than `http`.
    Secure(bool),
    /// A field.
    Header(HeaderName, Presence),
    /// A cookie, by its exact name.
    Cookie(Box<str>, Presence),
    /// A query parameter, by its name as it stands in the URL.
    Query(Box<str>, Presence),
    /// The client's address lies in one of these networks.
    Client(Box<[IpNet]>),
    /// All of these.
    All(Box<[Self]>),
    /// One of these.
    Any(Box<[Self]>),
    /// Not this.
    Not(Box<Self>),
}

/// What is asked of something that may be there several times, or not at all.
#[derive(Clone, Debug)]
pub enum Presence {
    /// It is there, whatever its value.
    Present,
    /// It is not there.
    Absent,
    /// One of its values matches one of these.
    Value(Box<[Text]>),
}

impl Presence {
    /// Whether the lines of a field satisfy this.
    #[must_use]
    pub fn holds_in(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        self.holds(values(headers, name))
    }

    /// Whether the values of something satisfy this.
    pub(super) fn holds<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
            Self::Value(texts) => values.any(|value| texts.iter().any(|text| text.matches(value))),
        }
    }
}

impl<P> Condition<P> {
    /// Whether `request` satisfies it; `path` tells which path patterns match.
    pub(super) fn holds(&self, request: &Request<'_>, path: &impl Fn(&P) -> bool) -> bool {
        match self {
            Self::Host(patterns) => {
                patterns.iter().any(|pattern| pattern.matches(request.target.host()))
            }
            Self::Path(patterns) => patterns.iter().any(path),
            Self::Method(methods) => methods.contains(request.method),
            Self::Secure(secure) => request.target.secure == *secure,
            Self::Header(name, presence) => presence.holds(values(request.headers, name)),
            Self::Cookie(name, presence) => presence.holds(cookies(request.headers, name)),
            Self::Query(name, presence) => {
                let query = request.target.path_and_query.query().unwrap_or_default();
                presence.holds(parameters(query, name).map(str::as_bytes))
            }
            Self::Client(networks) => {
                networks.iter().any(|network| network.contains(&request.client))
            }
            Self::All(conditions) => {
                conditions.iter().all(|condition| condition.holds(request, path))
            }
            Self::Any(conditions) => {
                conditions.iter().any(|condition| condition.holds(request, path))
            }
            Self::Not(condition) => !condition.holds(request, path),
        }
    }

    /// The same condition with its path patterns replaced.
    pub(super) fn map_paths<Q>(self, number: &mut impl FnMut(P) -> Q) -> Condition<Q> {
        fn each<P, Q>(
            conditions: Box<[Condition<P>]>,
            number: &mut impl FnMut(P) -> Q,
        ) -> Box<[Condition<Q>]> {
            conditions.into_iter().map(|condition| condition.map_paths(number)).collect()
        }
        match self {
            Self::Host(patterns) => Condition::Host(patterns),
            Self::Path(patterns) => Condition::Path(patterns.into_iter().map(number).collect()),
            Self::Method(methods) => Condition::Method(methods),
            Self::Secure(secure) => Condition::Secure(secure),
            Self::Header(name, presence) => Condition::Header(name, presence),
            Self::Cookie(name, presence) => Condition::Cookie(name, presence),
            Self::Query(name, presence) => Condition::Query(name, presence),
            Self::Client(networks) => Condition::Client(networks),
            Self::All(conditions) => Condition::All(each(conditions, number)),
            Self::Any(conditions) => Condition::Any(each(conditions, number)),
            Self::Not(condition) => Condition::Not(Box::new(condition.map_paths(number))),
        }
    }
}

pub(super) fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(http::HeaderValue::as_bytes)
}

/// The values of a cookie (RFC 6265 §4.2.1).
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = values(headers, &COOKIE).flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (key, value) = equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        // RFC 6265 §5.2 trims both, and origins do: whoever writes a space must not pass for
        // somebody without the cookie.
        (key.trim_ascii() == name.as_bytes()).then_some(value.trim_ascii())
    })
}

/// The values of a query parameter, as they stand in the URL.
pub(super) fn parameters<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!pair.is_empty() && key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Target;
    use http::HeaderValue;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("two"));
        headers.append(COOKIE, HeaderValue::from_static("session=abc;theme=dark; flag"));
        headers.append(COOKIE, HeaderValue::from_static("spaced\t = a b "));
        headers
    }

    fn holds(condition: &Condition) -> bool {
        let target = Target::parse("https://shop.example:8443/a/b?x=1&y&x=2&=e").unwrap();
        let request = Request {
            method: &Method::GET,
            target: &target,
            headers: &headers(),
            client: "192.0.2.7".parse().unwrap(),
        };
        condition.holds(&request, &|_| false)
    }

    fn value(glob: &str) -> Presence {
        Presence::Value([Text::glob(glob).unwrap()].into())
    }

    #[test]
    fn each_condition() {
        let cookie = |name: &str, presence| Condition::Cookie(name.into(), presence);
        let query = |name: &str, presence| Condition::Query(name.into(), presence);
        let header = |presence| Condition::Header(HeaderName::from_static("x-a"), presence);
        let client = |network: &str| Condition::Client([network.parse().unwrap()].into());
        let yes = [
            Condition::Host([HostPattern::Below("example".into())].into()),
            Condition::Method([Method::HEAD, Method::GET].into()),
            Condition::Secure(true),
            header(Presence::Present),
            header(value("t*")),
            cookie("session", Presence::Present),
            cookie("theme", value("dark")),
            cookie("flag", value("")),
            cookie("spaced", value("a b")),
            cookie("other", Presence::Absent),
            query("x", value("2")),
            query("y", value("")),
            query("z", Presence::Absent),
            client("192.0.2.0/24"),
            Condition::All([].into()),
            Condition::Any([Condition::Secure(false), Condition::Secure(true)].into()),
            Condition::Not(Box::new(Condition::Any([].into()))),
        ];
        for condition in &yes {
            assert!(holds(condition), "{condition:?}");
        }
        let no = [
            Condition::Host([HostPattern::Exact("example".into())].into()),
            Condition::Method([Method::POST].into()),
            header(value("tw")),
            header(Presence::Absent),
            cookie("Session", Presence::Present),
            cookie("session", value("ab")),
            query("x", value("3")),
            query("", Presence::Absent),
            client("2001:db8::/32"),
            Condition::All([Condition::Secure(true), Condition::Secure(false)].into()),
        ];
        for condition in &no {
            assert!(!holds(condition), "{condition:?}");
        }
    }
}
