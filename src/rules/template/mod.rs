//! Texts with parts of the request in them: `"https://{host}{path}"`. One grammar for fields,
//! redirections and tags; a tag can have only what stands in the URL.

mod output;
mod part;
mod reference;
mod tag;

use http::HeaderValue;

use super::{KeyRules, Request};
use output::{Output, Use};
use part::Part;
pub use tag::TagTemplate;

/// Bytes of a template as it is written.
const MOST_WRITTEN: usize = 4096;

/// What can stand between braces.
const PARTS: &str = "{host}, {path}, {path.2}, {query}, {query.NAME}, {header.NAME}, {cookie.NAME}, \
                     {client}, {scheme} and {method}; {{ is a brace";

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that stands for nothing.
    #[error("`{{{0}}}` stands for nothing; there are {PARTS}")]
    Unknown(String),
    /// A part that is not of the URL, in a tag.
    #[error("a tag can't have `{{{0}}}`: all who share a response share its tags")]
    NotOfUrl(String),
    /// A brace without its other half.
    #[error("a brace has no other half; {{{{ and }}}} are braces that mean themselves")]
    Unbalanced,
    /// A byte that no field value has (RFC 9110 §5.5).
    #[error("a control character can't be sent")]
    Control,
    /// Longer than any is meant to be.
    #[error("this is longer than {MOST_WRITTEN} bytes")]
    TooLong,
}

/// A text with parts of the request in it.
///
/// Whatever a client sends, what comes out is one field value: control characters are left out, so
/// that no line ends in it, and it is not longer than 8 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
    /// What it always is, if nothing of the request is in it.
    constant: Option<HeaderValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Part(Part),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MOST_WRITTEN {
            return Err(TemplateError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(TemplateError::Control);
        }
        let pieces = pieces(text)?;
        let constant = match pieces.as_slice() {
            [] => Some(HeaderValue::from_static("")),
            [Piece::Text(text)] => HeaderValue::from_bytes(text.trim().as_bytes()).ok(),
            _ => None,
        };
        Ok(Self { pieces: pieces.into(), constant })
    }

    /// The value of a field for `request`. `None` if it comes out empty, or longer than 8 KiB.
    #[must_use]
    pub fn value(&self, request: &Request<'_>) -> Option<HeaderValue> {
        let value = match &self.constant {
            Some(constant) => constant.clone(),
            None => self.rendered(request, Use::Field)?,
        };
        (!value.is_empty()).then_some(value)
    }

    /// The same as a URI reference (RFC 3986 §4.1). It never begins with two slashes unless they
    /// are written so: a path that does would lead to another host.
    #[must_use]
    pub fn reference(&self, request: &Request<'_>) -> Option<HeaderValue> {
        let value = self.rendered(request, Use::Reference)?;
        let bytes = value.as_bytes();
        if bytes.starts_with(b"//") && !self.begins_with_text("//") {
            let slashes = bytes.iter().take_while(|byte| **byte == b'/').count();
            return HeaderValue::from_bytes(&bytes[slashes - 1..]).ok();
        }
        Some(value)
    }

    /// Whether something is put in that is neither in the cache key nor, like the method, plain to
    /// see for both ends: two requests with one key may differ in it.
    #[must_use]
    pub fn reads_unkeyed(&self, key: &KeyRules) -> bool {
        let unkeyed = |part: &Part| match part {
            Part::Header(name) => !key.has_field(name),
            Part::Cookie(name) => !key.has_cookie(name),
            Part::Client => true,
            _ => false,
        };
        self.pieces.iter().any(|piece| matches!(piece, Piece::Part(part) if unkeyed(part)))
    }

    fn begins_with_text(&self, start: &str) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with(start))
    }

    fn rendered(&self, request: &Request<'_>, to: Use) -> Option<HeaderValue> {
        let mut out = Output::new(to);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push(text.as_bytes()),
                Piece::Part(part) => part.write(request, &mut out),
            }
        }
        out.finish()
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(TemplateError::Unbalanced);
        }
        let (name, after) = rest.split_once('}').ok_or(TemplateError::Unbalanced)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
        }
        pieces.push(Piece::Part(Part::parse(name)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain.into()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::output::{MOST_RENDERED, is_of_uri};
    use super::*;
    use crate::key::Target;

    fn with<R>(url: &str, headers: &HeaderMap, then: impl FnOnce(&Request<'_>) -> R) -> R {
        let target = Target::parse(url).unwrap();
        then(&Request {
            method: &Method::GET,
            target: &target,
            headers,
            client: "::ffff:192.0.2.7".parse().unwrap(),
        })
    }

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("t\two"));
        headers.append(COOKIE, HeaderValue::from_static("a=b; session=x y\\"));
        headers
    }

    #[test]
    fn each_part() {
        let url = "https://shop.example:8443/a/b%20c?x=1&y&x=2";
        for (template, expected) in [
            ("plain", Some("plain")),
            ("", None),
            ("{{{scheme}}} {method}", Some("{https} GET")),
            ("{host}{path}?{query}", Some("shop.example/a/b%20c?x=1&y&x=2")),
            ("{path.1}-{path.2}-{path.3}", Some("a-b%20c-")),
            ("{query.x}{query.y}{query.z}", Some("1")),
            ("{query.z}", None),
            ("{header.X-A}|{header.x-b}", Some("1, two|")),
            ("{cookie.session}", Some("x y\\")),
            ("{client}", Some("192.0.2.7")),
        ] {
            let value =
                with(url, &headers(), |request| Template::parse(template).unwrap().value(request));
            let value = value.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, expected) in [
            ("{hots}", "`{hots}` stands for nothing"),
            ("{path.0}", "{path.0}"),
            ("{path.x}", "{path.2}"),
            ("{header.a b}", "stands for nothing"),
            ("{header.}", "stands for nothing"),
            ("{host", "no other half"),
            ("host}", "no other half"),
            ("a\r\nb", "control character"),
            (&"a".repeat(5000), "longer"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_reference_is_a_uri_on_the_host_that_is_written() {
        for (template, url, expected) in [
            ("{path}", "http://h//evil.example/x", "/evil.example/x"),
            ("{path}", "http://h////evil.example", "/evil.example"),
            ("https://{host}{path}", "http://h:81//x", "https://h//x"),
            ("/to/{cookie.session}", "http://h/", "/to/x%20y%5C"),
        ] {
            let value = with(url, &headers(), |request| {
                Template::parse(template).unwrap().reference(request)
            });
            assert_eq!(value.unwrap(), expected, "{template} {url}");
        }
    }

    #[test]
    fn what_gets_too_long_is_left_out() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_str(&"a".repeat(9000)).unwrap());
        let value = with("http://h/", &headers, |request| {
            Template::parse("{header.x-a}").unwrap().value(request)
        });
        assert_eq!(value, None);
    }

    proptest! {
        #[test]
        fn no_template_panics(text in "[{}a-z.]{0,24}|\\PC{0,12}") {
            let _ = Template::parse(&text);
        }

        #[test]
        fn a_template_never_injects(
            value in prop::collection::vec(any::<u8>(), 0..40),
            path in "[/a.%2eE0d~é-]{0,24}",
            text in "[a-z ]{0,4}",
        ) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert("x-a", value.clone());
                headers.insert(COOKIE, value);
            }
            let Ok(target) = Target::parse(&format!("http://h/{path}")) else { return Ok(()) };
            let template = format!("{text}{{header.x-a}}{{cookie.a}}{{path.1}}{{query}}");
            let template = Template::parse(&template).unwrap();
            with(&target.to_string(), &headers, |request| {
                for value in [template.value(request), template.reference(request)] {
                    let Some(value) = value else { continue };
                    assert!(value.as_bytes().iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
                    assert!(value.len() <= MOST_RENDERED + 8);
                }
                if let Some(reference) = template.reference(request) {
                    assert!(reference.as_bytes().iter().all(|byte| is_of_uri(*byte)));
                }
            });
        }
    }
}
