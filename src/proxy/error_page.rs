//! Seawall's own error answers: HTML, JSON or text as the client accepts, replaceable per status.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::body::Body;
use crate::context::{Detail, Outcome, RequestId, Response, ResponseParts};
use crate::error::{ErrorKind, Fault};

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The methods that are passed on; others that are not refused are too, but few ask for them.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Pages by status, read once; statuses without one get the built-in page.
#[derive(Debug, Default)]
pub struct ErrorPages {
    pages: BTreeMap<u16, Bytes>,
    name: String,
}

/// The forms of an error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

impl ErrorPages {
    /// Reads the configured pages; `name` stands in `Proxy-Status`.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn read(files: &BTreeMap<u16, PathBuf>, name: &str) -> Result<Self, (PathBuf, io::Error)> {
        let mut pages = BTreeMap::new();
        for (status, path) in files {
            let page = std::fs::read(path).map_err(|error| (path.clone(), error))?;
            pages.insert(*status, Bytes::from(page));
        }
        Ok(Self { pages, name: name.to_owned() })
    }

    /// The answer to a failed request. Never stored by anybody.
    #[must_use]
    pub fn respond(
        &self,
        kind: ErrorKind,
        accept: Option<&HeaderValue>,
        id: RequestId,
        head: bool,
    ) -> Response {
        let status = kind.status();
        let form = Form::preferred(accept.map_or(b"", HeaderValue::as_bytes));
        let (content_type, page) = match (form, self.pages.get(&status.as_u16())) {
            (Form::Html | Form::Text, Some(page)) => (Form::Html.content_type(), page.clone()),
            _ => (form.content_type(), form.page(status, kind, id)),
        };
        let length = page.len();
        let mut http = http::Response::new(if head { Body::Empty } else { Body::from(page) });
        *http.status_mut() = status;
        let headers = http.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            headers.insert(&REQUEST_ID, id);
        }
        if let Some(error) = kind.proxy_error()
            && let Ok(value) = HeaderValue::try_from(format!("{}; error={error}", self.name))
        {
            headers.insert(&PROXY_STATUS, value);
        }
        if kind.closes() {
            // hyper takes it as its order, and drops it on HTTP/2.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110 §15.5.6: a 405 has to name what is allowed.
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let outcome = Outcome { detail: Some(Detail::Error(kind)), ..Outcome::default() };
        ResponseParts::boxed(http, outcome)
    }
}

impl Form {
    /// What `Accept` likes best of the three (RFC 9110 §12.5.1), the first where it likes two the
    /// same; who names none of them gets text.
    fn preferred(accept: &[u8]) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let Some(form) = parts.next().and_then(Self::of) else { continue };
            let weight = parts.find_map(|part| part.strip_prefix(b"q=")).map_or(1.0, weight);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }

    /// The form that a media range names.
    fn of(range: &[u8]) -> Option<Self> {
        let range = range.to_ascii_lowercase();
        match range.as_slice() {
            b"text/html" | b"application/xhtml+xml" => Some(Self::Html),
            b"text/plain" => Some(Self::Text),
            json if json.ends_with(b"/json") || json.ends_with(b"+json") => Some(Self::Json),
            _ => None,
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// Every word in it is our own, so nothing needs to be escaped.
    fn page(self, status: StatusCode, kind: ErrorKind, id: RequestId) -> Bytes {
        let reason = status.canonical_reason().unwrap_or("Error");
        let (code, word) = (status.as_u16(), kind.word());
        let advice = match kind.fault() {
            Fault::Client => "The request cannot be answered as it was sent.",
            Fault::Origin | Fault::Proxy => {
                "The page could not be delivered. Please try again in a moment."
            }
        };
        Bytes::from(match self {
            Self::Html => format!(
                "<!doctype html><html lang=en><meta charset=utf-8>\
                 <meta name=viewport content=\"width=device-width\"><title>{code} {reason}</title>\
                 <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:20vh auto;max-width:32rem;\
                 padding:0 1rem;color-scheme:light dark}}small{{opacity:.7}}</style>\
                 <h1>{code} {reason}</h1><p>{advice}</p><small>{word} · request {id}</small>\n"
            ),
            Self::Json => {
                format!("{{\"status\":{code},\"error\":\"{word}\",\"request_id\":\"{id}\"}}\n")
            }
            Self::Text => format!("{code} {reason} ({word}, request {id})\n"),
        })
    }
}

/// A weight (RFC 9110 §12.4.2); one that can't be read counts for nothing.
fn weight(text: &[u8]) -> f32 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_the_client_likes_best() {
        for (accept, form) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Html),
            ("application/json", Form::Json),
            ("application/problem+json, text/html", Form::Json),
            ("application/json;q=0.1, text/html", Form::Html),
            ("text/html;q=0", Form::Text),
            ("*/*", Form::Text),
            ("", Form::Text),
        ] {
            assert_eq!(Form::preferred(accept.as_bytes()), form, "{accept}");
        }
    }

    #[test]
    fn an_error_is_not_stored_and_says_which_request_it_was() {
        let id = RequestId(0xab);
        let response = ErrorPages::default().respond(ErrorKind::DnsFailed, None, id, false);
        assert_eq!(response.http.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.http.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.http.headers()["x-request-id"], "00000000000000ab");
    }

    #[test]
    fn a_refused_method_is_told_what_is_allowed() {
        let pages = ErrorPages::default();
        let response = pages.respond(ErrorKind::MethodRefused, None, RequestId(1), false);
        assert_eq!(response.http.headers()[ALLOW], METHODS);
    }

    #[test]
    fn only_a_failure_of_ours_invites_to_try_again() {
        let page = |kind: ErrorKind| {
            let page = Form::Html.page(kind.status(), kind, RequestId(1));
            String::from_utf8_lossy(&page).into_owned()
        };
        assert!(page(ErrorKind::ConnectFailed).contains("try again"));
        assert!(!page(ErrorKind::NoRoute).contains("try again"));
    }
}
