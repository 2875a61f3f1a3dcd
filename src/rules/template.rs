//! Texts with parts of the request in them: `"https://{host}{path}"`.

use std::io::Write;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use super::condition::{cookies, parameters, values};
use super::{KeyRules, Request};

/// Bytes of a template as it is written.
const MOST_WRITTEN: usize = 4096;

/// Bytes that a template may become: clients choose what is put in.
const MOST_RENDERED: usize = 8192;

/// What can stand between braces.
const PARTS: &str = "{host}, {path}, {path.2}, {query}, {query.NAME}, {header.NAME}, {cookie.NAME}, \
                     {client}, {scheme} and {method}; {{ is a brace";

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that stands for nothing.
    #[error("`{{{0}}}` stands for nothing; there are {PARTS}")]
    Unknown(String),
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

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Host,
    Path,
    /// A segment of the path, from 1.
    Segment(usize),
    Query,
    Parameter(Box<str>),
    Header(HeaderName),
    Cookie(Box<str>),
    Client,
    Scheme,
    Method,
}

/// For what a template is rendered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Field,
    /// A URI reference: what no URI has is percent-encoded.
    Reference,
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
            Part::Header(name) => !key.fields.contains(name),
            Part::Cookie(name) => {
                !key.cookies.as_ref().is_some_and(|keyed| keyed.iter().any(|it| **it == **name))
            }
            Part::Client => true,
            _ => false,
        };
        self.pieces.iter().any(|piece| matches!(piece, Piece::Part(part) if unkeyed(part)))
    }

    /// Whether a client can choose the host that this leads to, as a URI reference: something
    /// other than the request's own host stands where a host may.
    #[must_use]
    pub fn leaves_host_open(&self) -> bool {
        let mut written = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => written.push_str(text),
                Piece::Part(Part::Host) => written.push('h'),
                Piece::Part(Part::Scheme) if written.is_empty() => written.push_str("http"),
                // It begins with a slash.
                Piece::Part(Part::Path) => written.push('/'),
                // Anything may stand here, so it must be behind the host.
                Piece::Part(_) => return !has_host_behind_it(&written),
            }
        }
        !has_host_behind_it(&written) && !ends_with_host(&written)
    }

    fn begins_with_text(&self, start: &str) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with(start))
    }

    fn rendered(&self, request: &Request<'_>, to: Use) -> Option<HeaderValue> {
        let mut out = Output { bytes: Vec::with_capacity(64), to };
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push(text.as_bytes()),
                Piece::Part(part) => part.write(request, &mut out),
            }
            if out.bytes.len() > MOST_RENDERED {
                return None;
            }
        }
        HeaderValue::from_bytes(out.bytes.trim_ascii()).ok()
    }
}

/// Whether what is written so far is a reference whose host has ended.
fn has_host_behind_it(written: &str) -> bool {
    let after = |rest: &str| rest.find(['/', '?', '#']).is_some_and(|at| at > 0);
    match written.split_once("://") {
        Some((_, rest)) => after(rest),
        None => match written.strip_prefix("//") {
            Some(rest) => after(rest),
            // A single slash: a path on this host, unless another slash may follow.
            None => written.starts_with('/'),
        },
    }
}

/// Whether it ends with its host, like `https://shop.example`.
fn ends_with_host(written: &str) -> bool {
    let rest = written.split_once("://").map(|(_, rest)| rest);
    rest.or_else(|| written.strip_prefix("//"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']))
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

impl Part {
    fn parse(name: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::Unknown(name.to_owned());
        match name.split_once('.') {
            None => match name {
                "host" => Ok(Self::Host),
                "path" => Ok(Self::Path),
                "query" => Ok(Self::Query),
                "client" => Ok(Self::Client),
                "scheme" => Ok(Self::Scheme),
                "method" => Ok(Self::Method),
                _ => Err(unknown()),
            },
            Some((_, "")) => Err(unknown()),
            Some(("path", number)) => {
                let number = number.parse().ok().filter(|number| (1..=64).contains(number));
                number.map(Self::Segment).ok_or_else(unknown)
            }
            Some(("query", name)) => Ok(Self::Parameter(name.into())),
            Some(("cookie", name)) => Ok(Self::Cookie(name.into())),
            Some(("header", name)) => {
                HeaderName::from_bytes(name.as_bytes()).map(Self::Header).map_err(|_| unknown())
            }
            Some(_) => Err(unknown()),
        }
    }

    fn write(&self, request: &Request<'_>, out: &mut Output) {
        let target = request.target;
        match self {
            Self::Host => out.push(target.host().as_bytes()),
            Self::Path => out.push(target.path().as_bytes()),
            Self::Segment(number) => {
                let segment = target.path().split('/').nth(*number);
                out.push(segment.unwrap_or_default().as_bytes());
            }
            Self::Query => {
                out.push(target.path_and_query.query().unwrap_or_default().as_bytes());
            }
            Self::Parameter(name) => {
                let query = target.path_and_query.query().unwrap_or_default();
                out.push(parameters(query, name).next().unwrap_or_default());
            }
            Self::Header(name) => {
                for (index, value) in values(request.headers, name).enumerate() {
                    if index > 0 {
                        out.push(b", ");
                    }
                    out.push(value);
                }
            }
            Self::Cookie(name) => {
                out.push(cookies(request.headers, name).next().unwrap_or_default());
            }
            Self::Client => out.address(request.client),
            Self::Scheme => out.push(target.scheme().as_bytes()),
            Self::Method => out.push(request.method.as_str().as_bytes()),
        }
    }
}

/// What a template has become so far; never much longer than it may be.
struct Output {
    bytes: Vec<u8>,
    to: Use,
}

impl Output {
    fn push(&mut self, text: &[u8]) {
        // One byte too many is enough to see that it is too long.
        let room = (MOST_RENDERED + 1).saturating_sub(self.bytes.len());
        for &byte in text.iter().take(room) {
            match self.to {
                _ if byte < b' ' || byte == 0x7f => {}
                Use::Reference if !is_of_uri(byte) => {
                    // Writing to a vector does not fail.
                    let _ = write!(self.bytes, "%{byte:02X}");
                }
                Use::Field | Use::Reference => self.bytes.push(byte),
            }
        }
    }

    fn address(&mut self, address: IpAddr) {
        let _ = write!(self.bytes, "{}", address.to_canonical());
    }
}

/// Whether a URI may have the byte (RFC 3986 §2), a percent sign included. Backslashes, which
/// browsers take for slashes, are not of these.
fn is_of_uri(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

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
    fn a_client_never_chooses_the_host_of_a_reference() {
        for (template, open) in [
            ("/new{path}", false),
            // Slashes at its beginning become one.
            ("/{query.to}", false),
            ("{path}", false),
            ("https://shop.example", false),
            ("https://shop.example{path}", false),
            ("https://shop.example/{path.1}", false),
            ("https://www.{host}{path}", false),
            ("{scheme}://{host}/?{query}", false),
            ("//cdn.example/{path.1}", false),
            ("https://shop.example{path.1}", true),
            ("https://{header.x}/", true),
            ("https://{path}", true),
            ("//{query.to}/", true),
            ("{query.to}", true),
            ("{header.x}://h/", true),
            ("relative", true),
            ("/a/{path.1}", false),
        ] {
            let template_read = Template::parse(template).unwrap();
            assert_eq!(template_read.leaves_host_open(), open, "{template}");
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
