//! What a rule asks of a response.

use std::ops::RangeInclusive;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, StatusCode};

use super::condition::{Presence, values};
use super::pattern::Text;
use crate::headers::single;

/// Conditions on a response, all of which have to hold. The default asks nothing.
#[derive(Clone, Debug, Default)]
pub struct ResponseCondition {
    /// One of these ranges of statuses; empty for any.
    pub status: Box<[RangeInclusive<u16>]>,
    /// The media type matches one of these; parameters like `charset` don't count. Empty for any.
    pub content_type: Box<[Text]>,
    /// Every one of these fields is as asked.
    pub headers: Box<[(HeaderName, Presence)]>,
    /// `Content-Length` lies in this range; a response that does not tell its length does not.
    pub size: Option<RangeInclusive<u64>>,
    /// This does not hold.
    pub not: Option<Box<Self>>,
}

impl ResponseCondition {
    /// Whether a response satisfies all of it.
    #[must_use]
    pub fn holds(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let any_or = |empty: bool, holds: bool| empty || holds;
        any_or(
            self.status.is_empty(),
            self.status.iter().any(|range| range.contains(&status.as_u16())),
        ) && any_or(self.content_type.is_empty(), self.is_of_type(headers))
            && self.headers.iter().all(|(name, presence)| presence.holds(values(headers, name)))
            && self
                .size
                .as_ref()
                .is_none_or(|range| length(headers).is_some_and(|length| range.contains(&length)))
            && self.not.as_ref().is_none_or(|not| !not.holds(status, headers))
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status.is_empty()
            && self.content_type.is_empty()
            && self.headers.is_empty()
            && self.size.is_none()
            && self.not.is_none()
    }

    fn is_of_type(&self, headers: &HeaderMap) -> bool {
        let Some(value) = single(headers, &CONTENT_TYPE) else { return false };
        let media = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        self.content_type.iter().any(|text| text.matches(media.trim_ascii()))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    single(headers, &CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::headers;

    #[test]
    fn everything_asked_has_to_hold() {
        let fields = headers(&[
            ("content-type", "Image/PNG; q=1"),
            ("content-length", "100"),
            ("x-cache-me", "yes"),
        ]);
        let image = || [Text::glob_ignoring_case("image/*").unwrap()].into();
        let name = HeaderName::from_static("x-cache-me");
        let full = ResponseCondition {
            status: [200..=200, 400..=499].into(),
            content_type: image(),
            headers: [(name, Presence::Present)].into(),
            size: Some(0..=100),
            not: None,
        };
        let ok = StatusCode::OK;
        assert!(ResponseCondition::default().holds(ok, &HeaderMap::new()));
        assert!(full.holds(ok, &fields));
        assert!(full.holds(StatusCode::NOT_FOUND, &fields));
        assert!(!full.holds(StatusCode::FOUND, &fields));
        assert!(!ResponseCondition { size: Some(0..=99), ..full.clone() }.holds(ok, &fields));
        assert!(!full.holds(ok, &headers(&[("content-type", "image/png")])));
        let typed = ResponseCondition { content_type: image(), ..ResponseCondition::default() };
        assert!(!typed.holds(ok, &headers(&[("content-type", "text/html")])));
        assert!(!typed.holds(ok, &HeaderMap::new()));
        let not = |condition: &ResponseCondition| ResponseCondition {
            not: Some(Box::new(condition.clone())),
            ..ResponseCondition::default()
        };
        let (untyped, twice) = (not(&typed), not(&not(&typed)));
        assert!(untyped.holds(ok, &HeaderMap::new()) && !untyped.holds(ok, &fields));
        assert!(twice.holds(ok, &fields) && !twice.is_empty());
        let but = ResponseCondition { not: Some(Box::new(full.clone())), ..typed };
        assert!(!but.holds(ok, &fields) && but.holds(StatusCode::FOUND, &fields));
        assert!(ResponseCondition::default().is_empty());
    }
}
