//! What a template becomes.

use std::io::Write;
use std::net::IpAddr;

use http::HeaderValue;

/// Bytes that a template may become: clients choose what is put in.
pub(super) const MOST_RENDERED: usize = 8192;

/// For what a template is rendered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Field,
    /// A URI reference: what no URI has is percent-encoded.
    Reference,
}

/// What a template has become so far; never much longer than it may be.
pub(super) struct Output {
    bytes: Vec<u8>,
    to: Use,
}

impl Output {
    pub(super) fn new(to: Use) -> Self {
        Self { bytes: Vec::with_capacity(64), to }
    }

    /// A field's value; `None` if it is too long for one.
    pub(super) fn finish(self) -> Option<HeaderValue> {
        if self.bytes.len() > MOST_RENDERED {
            return None;
        }
        HeaderValue::from_bytes(self.bytes.trim_ascii()).ok()
    }

    pub(super) fn push(&mut self, text: &[u8]) {
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

    pub(super) fn address(&mut self, address: IpAddr) {
        let _ = write!(self.bytes, "{}", address.to_canonical());
    }
}

/// Whether a URI may have the byte (RFC 3986 §2), a percent sign included. Backslashes, which
/// browsers take for slashes, are not of these.
pub(super) fn is_of_uri(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}
