//! The parts of a request that a template can have.

use std::fmt;

use http::HeaderName;

use super::TemplateError;
use super::output::Output;
use crate::key::Target;
use crate::rules::Request;
use crate::rules::condition::{cookies, parameters, values};

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
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

impl Part {
    /// What stands between braces.
    ///
    /// # Errors
    /// When it stands for nothing.
    pub(super) fn parse(name: &str) -> Result<Self, TemplateError> {
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

    /// Whether it stands in the URL.
    pub(super) const fn is_of_url(&self) -> bool {
        !matches!(self, Self::Header(_) | Self::Cookie(_) | Self::Client | Self::Method)
    }

    /// The text of a part that stands in the URL, empty where it does not; `None` for the others.
    pub(super) fn of_url<'a>(&self, target: &'a Target) -> Option<&'a str> {
        let query = || target.path_and_query.query().unwrap_or_default();
        match self {
            Self::Host => Some(target.host()),
            Self::Path => Some(target.path()),
            Self::Segment(number) => {
                Some(target.path().split('/').nth(*number).unwrap_or_default())
            }
            Self::Query => Some(query()),
            Self::Parameter(name) => Some(parameters(query(), name).next().unwrap_or_default()),
            Self::Scheme => Some(target.scheme()),
            Self::Header(_) | Self::Cookie(_) | Self::Client | Self::Method => None,
        }
    }

    /// Adds it to what a template becomes.
    pub(super) fn write(&self, request: &Request<'_>, out: &mut Output) {
        match self {
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
            Self::Method => out.push(request.method.as_str().as_bytes()),
            of_url => out.push(of_url.of_url(request.target).unwrap_or_default().as_bytes()),
        }
    }
}

/// As it is written, without its braces.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Segment(number) => write!(f, "path.{number}"),
            Self::Query => f.write_str("query"),
            Self::Parameter(name) => write!(f, "query.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
            Self::Client => f.write_str("client"),
            Self::Scheme => f.write_str("scheme"),
            Self::Method => f.write_str("method"),
        }
    }
}
