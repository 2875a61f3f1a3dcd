//! Whoever shares an answer has had the origin told the same.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::select;

use super::good;
use crate::key::Target;
use crate::proxy::Routes;
use crate::rules::Request;

const MATCHES: [&str; 10] = [
    "",
    "match.path = '/b/**'",
    "match.host = 'a.test'",
    "match.scheme = 'http'",
    "match.cookie.a = true",
    "match.cookie.b = 'x'",
    "match.header.x-a = false",
    "match.query.a = true",
    "match.client = '10.0.0.0/8'",
    "match.any = [{ cookie.a = false }, { not = { header.x-a = true } }]",
];

const SETS: [&str; 9] = [
    "request.set.x-t = '1'",
    "request.set.x-t = '2'",
    "request.add.x-t = '{cookie.b}'",
    "request.remove = ['x-t']",
    "request.path = { strip = '/b' }",
    "request.path = 'off'",
    "request.set.x-t = '1'\nclass.login = 'yes'",
    "request.set.x-t = '2'\nclass.login = 'no'",
    "class.login = 'yes'",
];

const KEYS: [&str; 4] = [
    "",
    "key.cookies = ['a']",
    "key.headers = ['x-a']",
    "key = { ignore_query = true, host = 'h' }",
];

#[derive(Clone, Debug)]
struct Asked {
    target: Target,
    headers: HeaderMap,
    client: IpAddr,
}

fn asked() -> impl Strategy<Value = Asked> {
    let url = ("a|c", "/b|/b/x|/x", "|\\?a=1").prop_map(|(host, path, query)| {
        Target::parse(&format!("http://{host}.test{path}{query}")).unwrap()
    });
    let cookie = select(vec!["", "a=1", "b=x", "a=1; b=x", "b=y"]);
    let client = select(vec!["10.0.0.1", "192.0.2.1"]).prop_map(|it| it.parse().unwrap());
    (url, cookie, any::<bool>(), client).prop_map(|(target, cookie, field, client)| {
        let mut headers = HeaderMap::new();
        if !cookie.is_empty() {
            headers.insert("cookie", HeaderValue::from_static(cookie));
        }
        if field {
            headers.insert("x-a", HeaderValue::from_static("1"));
        }
        Asked { target, headers, client }
    })
}

/// The key, and what the rules tell the origin; `None` for what bypasses the cache.
fn told(routes: &Routes, asked: &Asked) -> Option<(String, HeaderMap, String)> {
    let Asked { target, headers, client } = asked;
    let mut headers = headers.clone();
    let request = Request { method: &Method::GET, target, headers: &headers, client: *client };
    let ruling = routes.ruling(&request)?;
    let target = ruling.keyed(target.clone(), &mut headers, true);
    let mut fields = HeaderMap::new();
    let mut path = target.path_and_query.clone();
    if let Some(edits) = &ruling.terms().request {
        if edits.tells_unkeyed() {
            return None;
        }
        let seen =
            Request { method: &Method::GET, target: &target, headers: &headers, client: *client };
        edits.fields.evaluate(&seen).apply(&mut fields);
        if let Some(rewrite) = &edits.path {
            path = rewrite.apply(&path).ok()?.unwrap_or(path);
        }
    }
    Some((target.key().to_string(), fields, path.to_string()))
}

proptest! {
    #[test]
    fn requests_with_one_key_have_the_origin_told_the_same_or_bypass(
        key in select(KEYS.to_vec()),
        rules in prop::collection::vec((select(MATCHES.to_vec()), select(SETS.to_vec())), 1..4),
        all in prop::collection::vec(asked(), 8),
    ) {
        let key = if key.is_empty() { String::new() } else { format!("[[rule]]\n{key}\n") };
        let tables = rules.iter().map(|(asks, sets)| format!("[[rule]]\n{asks}\n{sets}\n"));
        let rules = tables.collect::<Vec<_>>().concat();
        let settings = good(&format!("{key}{rules}"));
        let routes = Routes::new(&settings.proxy.routes, &settings.proxy.rules);
        let told: Vec<_> = all.iter().filter_map(|asked| told(&routes, asked)).collect();
        for (index, one) in told.iter().enumerate() {
            for other in &told[index + 1..] {
                prop_assert!(one.0 != other.0 || one == other, "{one:?} {other:?}");
            }
        }
    }
}
