//! The normal form of targets: what is keyed is what is sent, in one spelling.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use seawall::key::{Target, normalize_host, normalize_path};

use super::reference;

/// Pairs of lines: a host, and a path with its query.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut targets = Vec::new();
    while let (Some(host), Some(path)) = (lines.next(), lines.next()) {
        targets.extend(target(host, path));
        if let Ok(url) = std::str::from_utf8(path) {
            any_url(url);
            any_url(&format!("http://h{url}"));
        }
        if targets.len() > 8 {
            break;
        }
    }
    for one in &targets {
        for other in &targets {
            let sent =
                |target: &Target| (target.authority.to_string(), target.path_and_query.to_string());
            assert_eq!(one.key() == other.key(), sent(one) == sent(other), "{one} {other}");
        }
    }
}

fn target(host: &[u8], path: &[u8]) -> Option<Target> {
    if let Ok(path) = std::str::from_utf8(path) {
        let normal = normalize_path(path).ok().map(Cow::into_owned);
        assert_eq!(normal, reference::path(path.as_bytes()), "{path:?}");
    }
    let normal = normalize_host(host, false).ok().map(Cow::into_owned);
    assert_eq!(normal, reference::host(host), "{host:?}");
    let path = PathAndQuery::try_from(path).ok()?;
    let target = Target::new(false, host, &path).ok()?;
    sound(&target);
    Some(target)
}

fn any_url(url: &str) {
    let Ok(target) = Target::parse(url) else { return };
    sound(&target);
    assert_eq!(Target::parse(&target.to_string()).as_ref(), Ok(&target), "{url:?}");
}

fn sound(target: &Target) {
    let (authority, path) = (target.authority.as_str(), target.path_and_query.as_str());
    assert_eq!(normalize_host(authority.as_bytes(), target.secure).as_deref(), Ok(authority));
    assert_eq!(normalize_path(path).as_deref(), Ok(path));
    assert!(path == "*" || path.starts_with("*?") || path.starts_with('/'), "{path:?}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{path:?}");
    let segments = target.path().split('/');
    assert!(segments.into_iter().all(|segment| segment != "." && segment != ".."), "{path:?}");
    assert!(!target.path().to_ascii_lowercase().contains("%2e"), "{path:?}");
    assert!(!target.path().contains("%00"), "{path:?}");
    assert_eq!(target.key().as_str(), target.to_string());
    if path.starts_with('/') {
        assert_eq!(target.uri().to_string(), target.to_string());
    }
}
