//! The PROXY protocol, versions 1 and 2: the client's address as a load balancer tells it.

use std::io;
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncRead;

use super::transport::Prefixed;

/// Bytes that a header of version 1 may have.
const MAX_LINE: usize = 107;

/// Bytes that a header of version 2 may have here; it allows more, for fields that nobody reads.
const MAX_BYTES: usize = 4096;

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Why a header was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("PROXY header: {0}")]
    Malformed(Error),
    #[error("PROXY header too long")]
    TooLong,
    #[error("reading a PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header that `stream` has to begin with. `LOCAL` and `UNKNOWN` headers (health checks
/// of the balancer) leave the socket's own addresses.
pub(super) async fn read<T: AsyncRead + Unpin>(
    stream: &mut Prefixed<T>,
    socket: Addresses,
) -> Result<Addresses, HeaderError> {
    loop {
        if !stream.look_ahead().await? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match ProxyHeader::parse(stream.ahead(), ParseConfig::default()) {
            Ok((header, length)) => {
                let told = header.proxied_address();
                let addresses = told.map_or(socket, |told| Addresses {
                    peer: super::connection::canonical(told.source),
                    local: super::connection::canonical(told.destination),
                });
                stream.consume(length);
                return Ok(addresses);
            }
            Err(Error::BufferTooShort) => may_go_on(stream.ahead())?,
            Err(error) => return Err(HeaderError::Malformed(error)),
        }
    }
}

/// Whether what has come so far may be the beginning of a header. The parser takes a line of
/// version 1 with too few words for an incomplete one.
fn may_go_on(begin: &[u8]) -> Result<(), HeaderError> {
    let line = begin.starts_with(b"P");
    if line && begin.contains(&b'\n') {
        return Err(HeaderError::Malformed(Error::Invalid));
    }
    if begin.len() >= if line { MAX_LINE } else { MAX_BYTES } {
        return Err(HeaderError::TooLong);
    }
    Ok(())
}
