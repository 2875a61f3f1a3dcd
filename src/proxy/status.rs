//! `Cache-Status` (RFC 9211).

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::context::Outcome;

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Adds what the cache of this `name` did, behind what caches nearer to the origin say of
/// themselves (RFC 9211 §2).
pub fn add(headers: &mut HeaderMap, name: &str, outcome: &Outcome) {
    let mut text = String::with_capacity(96);
    // Writing to a string does not fail.
    let _ = write(&mut text, name, outcome);
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(&CACHE_STATUS, value);
    }
}

fn write(text: &mut String, name: &str, outcome: &Outcome) -> std::fmt::Result {
    text.write_str(name)?;
    if outcome.hit {
        text.write_str("; hit")?;
    }
    if let Some(forwarded) = outcome.forwarded {
        write!(text, "; fwd={}", forwarded.token())?;
    }
    if let Some(status) = outcome.forward_status {
        write!(text, "; fwd-status={}", status.as_u16())?;
    }
    if let Some(ttl) = outcome.ttl {
        write!(text, "; ttl={ttl}")?;
    }
    if outcome.stored {
        text.write_str("; stored")?;
    }
    if outcome.collapsed {
        text.write_str("; collapsed")?;
    }
    if let Some(detail) = outcome.detail {
        write!(text, "; detail={}", detail.word())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::context::{Detail, Forwarded};
    use crate::policy::Reason;

    fn text(outcome: &Outcome) -> String {
        let mut headers = HeaderMap::new();
        add(&mut headers, "seawall", outcome);
        headers["cache-status"].to_str().expect("ascii").to_owned()
    }

    #[test]
    fn every_parameter_has_its_place() {
        let hit = Outcome { hit: true, ttl: Some(7), ..Outcome::default() };
        assert_eq!(text(&hit), "seawall; hit; ttl=7");
        let miss = Outcome {
            forwarded: Some(Forwarded::Stale),
            forward_status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
            detail: Some(Detail::Reason(Reason::Stale)),
            ..Outcome::default()
        };
        assert_eq!(
            text(&miss),
            "seawall; fwd=stale; fwd-status=304; stored; collapsed; detail=stale"
        );
    }

    #[test]
    fn other_caches_words_stay_in_front() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-status", HeaderValue::from_static("inner; hit"));
        add(&mut headers, "seawall", &Outcome { hit: true, ..Outcome::default() });
        let all: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(all, ["inner; hit", "seawall; hit"]);
    }
}
