//! What of a request counts beside its URL: the key is made of it, and the origin sees no more.

use http::header::COOKIE;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::QueryRules;
use crate::key::{Beside, Target};

/// What makes two requests ask for the same thing. The default: the URL, byte by byte.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    /// What of the query counts.
    pub query: QueryRules,
    /// The origin gets the whole query all the same, so that what does not count may decide what
    /// others get.
    pub origin_sees_dropped: bool,
    /// Fields that count, each once, in the order of their names.
    pub fields: Vec<HeaderName>,
    /// Cookies that count, each once, in the order of their names; the origin gets no others.
    /// `None`: none of them is keyed, and the origin gets them all.
    pub cookies: Option<Vec<String>>,
    /// Classes of requests that are told apart, by name, in order.
    pub classes: Vec<(String, String)>,
    /// The host that requests are keyed by, and sent to: over http, and over https.
    pub host: Option<[Authority; 2]>,
}

impl KeyRules {
    /// Puts the request into a class; it has one of each name.
    pub fn put_class(&mut self, name: &str, class: &str) {
        match self.classes.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(place) => class.clone_into(&mut self.classes[place].1),
            Err(place) => self.classes.insert(place, (name.to_owned(), class.to_owned())),
        }
    }

    /// Whether the request is in a class.
    #[must_use]
    pub fn is_in(&self, name: &str, class: &str) -> bool {
        self.classes.iter().any(|(known, of)| known == name && of == class)
    }

    /// Whether a field of the request is keyed.
    #[must_use]
    pub fn has_field(&self, name: &HeaderName) -> bool {
        self.fields.contains(name)
    }

    /// Whether a cookie is keyed.
    #[must_use]
    pub fn has_cookie(&self, name: &str) -> bool {
        self.cookies.as_ref().is_some_and(|keyed| keyed.iter().any(|it| it == name))
    }

    /// The target that a request is keyed by, and sent to. Where `looked_up`, what is not keyed of
    /// its cookies is removed; other requests keep them, and have no parts beside the URL.
    #[must_use]
    pub fn apply(&self, mut target: Target, headers: &mut HeaderMap, looked_up: bool) -> Target {
        if let Some(hosts) = &self.host {
            target.authority = hosts[usize::from(target.secure)].clone();
        }
        let sent = self.origin_sees_dropped.then(|| target.path_and_query.clone());
        target = target.with_query(|query| self.query.apply(query));
        let sent = sent.filter(|sent| *sent != target.path_and_query);
        let any = || !self.fields.is_empty() || self.cookies.is_some() || !self.classes.is_empty();
        let parts = looked_up && any();
        if sent.is_none() && !parts {
            return target;
        }
        let mut beside = Beside::sending(sent);
        if parts {
            for (name, class) in &self.classes {
                beside.add_class(name, class);
            }
            for name in &self.fields {
                let lines = headers.get_all(name).into_iter();
                beside.add_field(name, lines.map(HeaderValue::as_bytes));
            }
            if let Some(names) = &self.cookies {
                let kept = kept_cookies(names, headers);
                beside.add_cookies(kept.as_ref().map(HeaderValue::as_bytes));
                match kept {
                    Some(kept) => drop(headers.insert(COOKIE, kept)),
                    None => drop(headers.remove(COOKIE)),
                }
            }
        }
        target.beside(beside)
    }
}

/// The pairs of these names, ordered by name, so that the order in which a client sends them makes
/// no difference; several of one name keep theirs.
fn kept_cookies(names: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = || headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
    let pairs = || lines().flat_map(|line| line.split(|byte| *byte == b';'));
    let mut kept = Vec::new();
    for name in names {
        for pair in pairs().map(<[u8]>::trim_ascii) {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            if pair[..end].trim_ascii() == name.as_bytes() {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(pair);
            }
        }
    }
    // Invariant: pieces of a field value make one.
    HeaderValue::from_bytes(&kept).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::headers;

    fn apply(rules: &KeyRules, fields: &[(&str, &str)]) -> (String, Option<String>) {
        let mut headers = headers(fields);
        let target = Target::parse("http://a.test/x?utm_source=1&b=2").unwrap();
        let target = rules.apply(target, &mut headers, true);
        let cookie = headers.get(COOKIE).map(|value| value.to_str().unwrap().to_owned());
        (target.key().to_string(), cookie)
    }

    #[test]
    fn only_keyed_cookies_are_left_and_their_order_does_not_count() {
        let cookies = Some(vec!["a".to_owned(), "b".to_owned()]);
        let rules = KeyRules { cookies, ..KeyRules::default() };
        let url = "http://a.test/x?utm_source=1&b=2";
        for (sent, left) in [
            ("a=1; b=2; c=3", Some("a=1; b=2")),
            ("b=2;c=3; a=1", Some("a=1; b=2")),
            ("a=1; a=0", Some("a=1; a=0")),
            ("c=a=1; ab=7", None),
            ("a", Some("a")),
            ("", None),
        ] {
            let left = left.map(str::to_owned);
            let key = left.as_ref().map_or(String::new(), |left| format!("={left}"));
            assert_eq!(apply(&rules, &[("cookie", sent)]), (format!("{url}\ncookie{key}"), left));
        }
        assert_eq!(
            apply(&KeyRules::default(), &[("cookie", "c")]),
            (url.to_owned(), Some("c".to_owned()))
        );
    }

    #[test]
    fn classes_are_keyed_by_their_names_and_the_last_of_a_name_counts() {
        let mut rules = KeyRules::default();
        for (name, class) in [("login", "no"), ("device", "phone"), ("login", "yes")] {
            rules.put_class(name, class);
        }
        let url = "http://a.test/x?utm_source=1&b=2";
        assert_eq!(apply(&rules, &[]).0, format!("{url}\n@device=phone\n@login=yes"));
        assert!(rules.is_in("login", "yes") && !rules.is_in("login", "no"));
    }

    #[test]
    fn an_alias_is_keyed_and_sent_as_its_host() {
        let host = ["b.test:8080", "b.test"].map(|host| host.parse().unwrap());
        let rules = KeyRules { host: Some(host), ..KeyRules::default() };
        assert_eq!(apply(&rules, &[]).0, "http://b.test:8080/x?utm_source=1&b=2");
    }

    #[test]
    fn the_origin_sees_what_is_dropped_only_where_that_is_said() {
        let query = QueryRules { drop_tracking: true, ..QueryRules::default() };
        for (origin_sees_dropped, sent) in [(false, "/x?b=2"), (true, "/x?utm_source=1&b=2")] {
            let rules =
                KeyRules { query: query.clone(), origin_sees_dropped, ..KeyRules::default() };
            let target = Target::parse("http://a.test/x?utm_source=1&b=2").unwrap();
            let target = rules.apply(target, &mut HeaderMap::new(), true);
            assert_eq!(target.key().as_str(), "http://a.test/x?b=2");
            assert_eq!(target.uri().path_and_query().unwrap(), sent);
        }
    }
}
