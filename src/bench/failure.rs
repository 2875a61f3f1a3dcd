//! Why there was no whole answer.

use std::io;

/// One word for each; reports count them by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused,
    /// There was no connection, for another reason.
    #[error("no connection could be made")]
    Unreachable,
    /// No descriptors were left for a connection.
    #[error("this process has too many files open (raise ulimit -n)")]
    NoDescriptors,
    /// The handshake failed: the certificate is not trusted, or no version is spoken by both.
    #[error("the TLS handshake failed")]
    Tls,
    /// The server does not speak the version of HTTP that was asked for.
    #[error("the server does not offer this version of HTTP")]
    Version,
    /// The whole exchange took longer than is allowed.
    #[error("no whole answer came in time")]
    Timeout,
    /// The connection ended before the answer began.
    #[error("the connection ended before the answer began")]
    Lost,
    /// The connection ended within the answer's body.
    #[error("the answer was cut")]
    Cut,
    /// What came is not an answer of HTTP.
    #[error("what came is not an answer of HTTP")]
    Protocol,
    /// The body is larger than is read.
    #[error("the body is larger than --max-body")]
    TooLarge,
}

impl Failure {
    /// All.
    pub(crate) const ALL: [Self; 10] = [
        Self::Refused,
        Self::Unreachable,
        Self::NoDescriptors,
        Self::Tls,
        Self::Version,
        Self::Timeout,
        Self::Lost,
        Self::Cut,
        Self::Protocol,
        Self::TooLarge,
    ];

    /// Its name in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NoDescriptors => "no-descriptors",
            Self::Tls => "tls",
            Self::Version => "version",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Cut => "cut",
            Self::Protocol => "protocol",
            Self::TooLarge => "too-large",
        }
    }

    /// A connection that was not made.
    pub(crate) fn of_connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            // `ENFILE` and `EMFILE`, for which the standard library has no names.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::NoDescriptors,
            _ => Self::Unreachable,
        }
    }

    /// An answer's head that did not come.
    pub(crate) fn of_head(error: &hyper::Error) -> Self {
        if error.is_parse() || error.is_user() { Self::Protocol } else { Self::Lost }
    }

    /// A body that did not come to its end.
    pub(crate) fn of_body(error: &hyper::Error) -> Self {
        if error.is_parse() { Self::Protocol } else { Self::Cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique() {
        let words: std::collections::BTreeSet<_> =
            Failure::ALL.iter().map(|it| it.word()).collect();
        assert_eq!(words.len(), Failure::ALL.len());
    }

    #[test]
    fn a_failed_connect_says_why() {
        for (error, failure) in [
            (io::ErrorKind::ConnectionRefused.into(), Failure::Refused),
            (io::ErrorKind::TimedOut.into(), Failure::Unreachable),
            (io::Error::from_raw_os_error(24), Failure::NoDescriptors),
        ] {
            assert_eq!(Failure::of_connecting(&error), failure);
        }
    }
}
