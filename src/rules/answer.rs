//! Answers without an origin.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{Request, Template};

/// What is answered instead of what an origin would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client is sent elsewhere (RFC 9110 §15.4).
    Redirect(Redirect),
    /// Always the same.
    Fixed(Fixed),
}

/// A redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Where to.
    pub to: Template,
    /// Whether the query goes along.
    pub keep_query: bool,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// A final status.
    pub status: StatusCode,
    /// Its content.
    pub body: Bytes,
    /// The media type of the content.
    pub content_type: HeaderValue,
}

impl Redirect {
    /// `Location` for `request`; `None` if it would be longer than any is meant to be.
    #[must_use]
    pub fn location(&self, request: &Request<'_>) -> Option<HeaderValue> {
        let to = self.to.reference(request)?;
        let query = request.target.path_and_query.query().filter(|_| self.keep_query);
        let Some(query) = query else { return Some(to) };
        let (bare, fragment) = match to.as_bytes().iter().position(|byte| *byte == b'#') {
            Some(at) => to.as_bytes().split_at(at),
            None => (to.as_bytes(), &[][..]),
        };
        let joint = if bare.contains(&b'?') { &b"&"[..] } else { b"?" };
        HeaderValue::from_bytes(&[bare, joint, query.as_bytes(), fragment].concat()).ok()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::key::Target;

    #[test]
    fn a_query_goes_along_before_the_fragment() {
        for (to, keep_query, expected) in [
            ("https://{host}{path}", true, "https://h/a?x=1"),
            ("https://{host}{path}", false, "https://h/a"),
            ("/b?y=2#top", true, "/b?y=2&x=1#top"),
        ] {
            let status = StatusCode::FOUND;
            let redirect = Redirect { status, to: Template::parse(to).unwrap(), keep_query };
            let target = Target::parse("http://h:81/a?x=1").unwrap();
            let location = redirect.location(&Request {
                method: &Method::GET,
                target: &target,
                headers: &HeaderMap::new(),
                client: [192, 0, 2, 7].into(),
            });
            assert_eq!(location.unwrap(), expected);
        }
    }
}
