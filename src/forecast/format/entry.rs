//! What a line says.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;

/// Fields of a message, as a log tells them.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// A request and its response, as far as a line tells of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// When.
    pub at: Timestamp,
    /// The method.
    pub method: Cow<'a, [u8]>,
    /// Whether it came by TLS, if that is told.
    pub secure: Option<bool>,
    /// The host, with its port perhaps.
    pub host: Option<Cow<'a, [u8]>>,
    /// Path and query, or an absolute URL; or any text, where `is_key`. Never empty.
    pub target: Cow<'a, [u8]>,
    /// Whether the target is the name of an object rather than a URL.
    pub is_key: bool,
    /// The response's status, from 100 to 599.
    pub status: u16,
    /// Bytes of body that were sent.
    pub bytes: Option<u64>,
    /// How long it took, in milliseconds.
    pub millis: Option<u32>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Fields of the request.
    pub request: Fields,
    /// Fields of the response.
    pub response: Fields,
}
