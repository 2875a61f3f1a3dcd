//! What an error of the HTTP library means: pure.

use std::error::Error as StdError;
use std::io;

use super::Config;
use crate::error::{ErrorKind, Fault, ProxyError, Source};

/// An error before the response's head was complete; `upload` is why the request's own content
/// failed, if it did, and then the connection's error is but what came of that.
pub(super) fn of_head(error: hyper::Error, upload: Option<ErrorKind>) -> ProxyError {
    let kind = if let Some(upload) = upload {
        upload
    } else if error.is_parse_too_large() {
        ErrorKind::ResponseHeadTooLarge
    } else if error.is_parse() || is_own_verdict(&error) {
        ErrorKind::BadResponse
    } else {
        ErrorKind::ConnectionLost
    };
    ProxyError::with_source(kind, error)
}

/// An error within the response's body.
pub(super) fn of_body(error: hyper::Error) -> ProxyError {
    let malformed = cause::<io::Error>(&error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    });
    let kind = if malformed || is_own_verdict(&error) {
        ErrorKind::BadResponse
    } else {
        ErrorKind::BodyTruncated
    };
    ProxyError::with_source(kind, error)
}

/// Names the upstream at fault: a log line says where to look.
pub(super) fn name(error: ProxyError, config: &Config) -> ProxyError {
    if error.kind.fault() != Fault::Origin {
        return error;
    }
    let scheme = if config.tls { "https" } else { "http" };
    let Config { name, host, port, .. } = config;
    let mut text = format!("upstream {name} ({scheme}://{host}:{port})");
    let mut below = error.source.as_deref().map(|source| source as &(dyn StdError + 'static));
    while let Some(error) = below {
        let says = error.to_string();
        // Some errors repeat what is below them.
        if !text.ends_with(&says) {
            text.push_str(": ");
            text.push_str(&says);
        }
        below = error.source();
    }
    ProxyError::with_source(error.kind, Named { text, source: error.source })
}

/// A cause, told with its upstream and all that is below it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Named {
    text: String,
    source: Option<Source>,
}

/// Whether an HTTP/2 origin said that it did not process the request (RFC 9113 §8.7).
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let going_away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (refused || going_away)
    })
}

/// Whether an HTTP/2 origin ended the request's stream, and not the connection.
pub(super) fn is_stream_reset(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(h2::Error::is_reset)
}

/// Whether our HTTP/2 library found the origin's frames malformed (RFC 9113 §5.4).
fn is_own_verdict(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(h2::Error::is_library)
}

/// The first cause of type `E` below `error`.
fn cause<E: StdError + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut below = error.source();
    while let Some(error) = below {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        below = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_failure_names_its_upstream_and_all_causes() {
        let config = Config::new("shop", false, "shop.test", 80);
        let cause = Outer(io::Error::other("inner"));
        let named = name(ProxyError::with_source(ErrorKind::ConnectFailed, cause), &config);
        let source = named.source.map(|source| source.to_string());
        assert_eq!(source.as_deref(), Some("upstream shop (http://shop.test:80): outer: inner"));
        let bare = name(ErrorKind::FirstByteTimeout.into(), &config).source;
        assert_eq!(
            bare.map(|source| source.to_string()).as_deref(),
            Some("upstream shop (http://shop.test:80)")
        );
        assert!(name(ErrorKind::ClientAborted.into(), &config).source.is_none());
    }
}
