//! What goes wrong with Redis, in words: the same in metrics, the log and `/readyz`.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::breaker::Severity;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident => $word:literal, $severity:ident;)*) => {
        /// Why Redis did not do what it was asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $($(#[$doc])* $fault,)* }

        impl Fault {
            /// All, for tables.
            pub const ALL: &'static [Self] = &[$(Self::$fault,)*];

            /// The stable word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$fault => $word,)* }
            }

            /// Whether the next request would fail as well.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$fault => Severity::$severity,)* }
            }
        }
    };
}

faults! {
    /// No connection could be made.
    Unreachable => "unreachable", Hard;
    /// No sentinel tells of a primary: none is there, or none knows the name.
    NoPrimary => "no-primary", Hard;
    /// No answer within the time it was given.
    Timeout => "timeout", Soft;
    /// The connection ended or failed.
    Lost => "connection-lost", Hard;
    /// What came is not the protocol, or not an answer to what was asked.
    Garbage => "garbage", Hard;
    /// User, password or TLS were refused.
    Denied => "denied", Hard;
    /// The user may not use a command or key.
    NoPermission => "no-permission", Hard;
    /// The slot is on its way to another server, or somewhere else than it was said to be.
    Moving => "moving", Soft;
    /// The Cluster does not serve the slot, or nothing at all.
    ClusterDown => "cluster-down", Hard;
    /// It is a replica: it can be read only.
    ReadOnly => "read-only", Hard;
    /// `maxmemory` is reached, and nothing may be evicted.
    Full => "full", Hard;
    /// It is reading its data from disk, or waits for its primary.
    Loading => "loading", Hard;
    /// Any other error that it answers.
    Refused => "refused", Soft;
}

impl Fault {
    /// What an error of the client library comes to.
    #[must_use]
    pub fn of(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.kind() {
            ErrorKind::Server(kind) => Self::of_server(kind),
            ErrorKind::Extension => Self::of_code(error.code().unwrap_or_default()),
            ErrorKind::AuthenticationFailed => Self::Denied,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Garbage,
            ErrorKind::Io => Self::Lost,
            _ => Self::Refused,
        }
    }

    fn of_server(kind: ServerErrorKind) -> Self {
        match kind {
            ServerErrorKind::ReadOnly => Self::ReadOnly,
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown => Self::Loading,
            ServerErrorKind::NoPerm => Self::NoPermission,
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain => {
                Self::Moving
            }
            ServerErrorKind::ClusterDown => Self::ClusterDown,
            _ => Self::Refused,
        }
    }

    /// By the first word of an answer that the library has no name for.
    fn of_code(code: &str) -> Self {
        match code {
            "OOM" => Self::Full,
            "NOAUTH" | "WRONGPASS" => Self::Denied,
            "MISCONF" | "NOREPLICAS" => Self::ReadOnly,
            "BUSY" => Self::Loading,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn answers_of_redis_are_told_apart() {
        for (code, fault) in [
            ("OOM", Fault::Full),
            ("NOAUTH", Fault::Denied),
            ("WRONGPASS", Fault::Denied),
            ("MISCONF", Fault::ReadOnly),
            ("XYZ", Fault::Refused),
        ] {
            assert_eq!(Fault::of_code(code), fault, "{code}");
        }
        assert_eq!(Fault::of_server(ServerErrorKind::ReadOnly), Fault::ReadOnly);
        assert_eq!(Fault::of_server(ServerErrorKind::BusyLoading), Fault::Loading);
        let words: HashSet<_> = Fault::ALL.iter().map(|fault| fault.word()).collect();
        assert_eq!(words.len(), Fault::ALL.len());
    }
}
