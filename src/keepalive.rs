//! TCP keepalive: how a peer that vanished without a word is found out.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Silence before the first probe.
const IDLE: Duration = Duration::from_secs(60);

/// Between two probes.
const INTERVAL: Duration = Duration::from_secs(10);

/// Probes without an answer before the connection is given up: two minutes of silence in all.
const TRIES: u32 = 6;

/// Has the system probe a connection that is silent, so that a tunnel or an idle connection whose
/// peer is gone ends. Connections that a listening socket accepts take this over from it.
///
/// # Errors
/// What the system says, where it cannot be set.
pub fn set<'s, S>(socket: &'s S) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(TRIES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_accepted_connection_takes_it_over_from_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        set(&listener).expect("settable");
        let _client =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
        let (accepted, _) = listener.accept().expect("the client");
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().expect("readable"));
        assert_eq!(accepted.tcp_keepalive_time().expect("readable"), IDLE);
        assert_eq!(accepted.tcp_keepalive_interval().expect("readable"), INTERVAL);
        assert_eq!(accepted.tcp_keepalive_retries().expect("readable"), TRIES);
    }
}
