//! What is asked, and what the origin answers.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::error::ErrorKind;
use crate::key::{Target, TargetError};

/// Who asks, where nothing else is said: an address for documentation (RFC 5737).
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A request, as a client sends it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Whether it comes by TLS.
    pub secure: bool,
    /// `Host`.
    pub host: HeaderValue,
    /// Path and query, as they are sent.
    pub path: PathAndQuery,
    /// The other fields.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
}

/// Why something can't be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The method is no token.
    #[error("`{0}` is not a method")]
    Method(String),
    /// The URL is not an absolute one, or not valid.
    #[error("`{url}` is not an absolute URL: {cause}")]
    Url {
        /// As it was written.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The name or value can't be one.
    #[error("`{0}` is not a field; write it like 'cookie: session=1'")]
    Field(String),
    /// `Host` is said twice.
    #[error("the URL says the host: leave the field `host` out")]
    Host,
    /// No client could send as many.
    #[error("these are more fields than a request can have")]
    TooManyFields,
}

impl Ask {
    /// A request for an absolute URL, without fields of its own.
    ///
    /// # Errors
    /// [`AskError`], where a client could not send it.
    pub fn new(method: &str, url: &str) -> Result<Self, AskError> {
        let named = Method::from_bytes(method.as_bytes());
        let method = named.map_err(|_| AskError::Method(method.to_owned()))?;
        let refused = |cause: String| AskError::Url { url: url.to_owned(), cause };
        let target = Target::parse(url).map_err(|error: TargetError| refused(error.to_string()))?;
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
            // What a browser would encode is not encoded here.
            refused(error.to_string())
        })?;
        let host = uri.authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok());
        Ok(Self {
            method,
            secure: target.secure,
            host: host.ok_or_else(|| refused(TargetError::Host.to_string()))?,
            path: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            headers: HeaderMap::new(),
            client: CLIENT,
        })
    }

    /// Adds a field, as a client would send it.
    ///
    /// # Errors
    /// [`AskError`], where there is no such field, it is `Host`, which the URL says, or there are
    /// far too many.
    pub fn add_field(&mut self, name: &str, value: &str) -> Result<(), AskError> {
        let refused = || AskError::Field(format!("{name}: {value}"));
        let named = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| refused())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| refused())?;
        if named == HOST {
            return Err(AskError::Host);
        }
        self.headers.try_append(named, value).map(drop).map_err(|_| AskError::TooManyFields)
    }

    /// `GET https://shop.example/`, or the URL alone.
    ///
    /// # Errors
    /// [`AskError`], where a client could not send it.
    pub fn parse(text: &str) -> Result<Self, AskError> {
        match text.trim().split_once(char::is_whitespace) {
            Some((method, url)) => Self::new(method, url.trim_start()),
            None => Self::new("GET", text.trim()),
        }
    }
}

/// What the origin answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A response.
    Response {
        /// Its status.
        status: StatusCode,
        /// Its fields; `Date` and `Content-Length` are added where they are not told.
        headers: HeaderMap,
        /// Its body.
        content: Content,
    },
    /// None: the exchange fails.
    Failure(ErrorKind),
}

/// What a body holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// This.
    Text(Bytes),
    /// As many zeros, where only the size matters.
    Zeros(usize),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(Bytes::new())
    }
}

impl Content {
    /// Its bytes.
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Text(text) => text.clone(),
            Self::Zeros(count) => Bytes::from(vec![0; *count]),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Zeros(count) => *count,
        }
    }
}

impl Reply {
    /// A response without fields of its own and without a body.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        Self::Response { status, headers: HeaderMap::new(), content: Content::default() }
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::of(StatusCode::OK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_a_line() {
        let ask = Ask::parse("POST https://shop.example:8443/a?b=1#c").unwrap();
        assert_eq!((ask.method, ask.secure), (Method::POST, true));
        assert_eq!(
            (ask.host.to_str().unwrap(), ask.path.as_str()),
            ("shop.example:8443", "/a?b=1")
        );
        let ask = Ask::parse("http://a.test").unwrap();
        assert_eq!((ask.method, ask.path.as_str(), ask.secure), (Method::GET, "/", false));
    }

    #[test]
    fn what_no_client_could_send_is_refused() {
        for (text, why) in [
            ("/a", "neither http nor https"),
            ("GET shop.example/", "neither http nor https"),
            ("ftp://a.test/", "neither http nor https"),
            ("http:///a", "host"),
            ("G,T http://a.test/", "not a method"),
            ("GET http://a.test/ HTTP/1.1", "not an absolute URL"),
        ] {
            let error = Ask::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
