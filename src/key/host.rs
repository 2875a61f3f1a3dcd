//! The normal form of a host and its port.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::TargetError;

/// Longest host name taken, in bytes (a DNS name has at most 253).
const MAX_HOST: usize = 255;

/// Digits of the largest port.
const MAX_PORT_DIGITS: usize = 5;

/// The normal form of `host[:port]`: lower case, without one trailing dot, without the scheme's
/// default port, IPv6 literals in their canonical text. Internationalised names stand as
/// A-labels; raw UTF-8 is not a host.
///
/// # Errors
/// On userinfo, an empty or overlong host, bytes that no host name has, or a bad port.
pub fn normalize_host(raw: &[u8], secure: bool) -> Result<Cow<'_, str>, TargetError> {
    let is_normal = is_normal(raw, secure);
    let raw = std::str::from_utf8(raw).map_err(|_| TargetError::Host)?;
    if is_normal { Ok(Cow::Borrowed(raw)) } else { brought_to_normal(raw, secure) }
}

fn brought_to_normal(raw: &str, secure: bool) -> Result<Cow<'_, str>, TargetError> {
    let (host, port) = split_port(raw)?;
    let default = if secure { 443 } else { 80 };
    let port = match port {
        "" => None,
        digits => Some(parse_port(digits)?).filter(|&port| port != default),
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let normal_name = if let Some(literal) = host.strip_prefix('[') {
        let address = literal.strip_suffix(']').ok_or(TargetError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| TargetError::Host)?;
        Cow::Owned(format!("[{address}]"))
    } else {
        check_name(name)?;
        lower_case(name)
    };
    if let Cow::Borrowed(name) = normal_name
        && is_as_written(raw, name, port)
    {
        return Ok(Cow::Borrowed(raw));
    }
    Ok(match port {
        None => normal_name,
        Some(port) => Cow::Owned(format!("{normal_name}:{port}")),
    })
}

/// Whether it is a name in normal form, with a port or without: what most clients send, told in one
/// pass.
fn is_normal(raw: &[u8], secure: bool) -> bool {
    let colon = raw.iter().position(|&byte| byte == b':');
    let (name, port) = raw.split_at(colon.unwrap_or(raw.len()));
    is_normal_name(name) && (port.is_empty() || is_normal_port(&port[1..], secure))
}

/// A number that is not the scheme's own, as it is written at its shortest.
fn is_normal_port(digits: &[u8], secure: bool) -> bool {
    if digits.len() > MAX_PORT_DIGITS || digits.first().is_none_or(|&first| first == b'0') {
        return false;
    }
    let number = digits.iter().try_fold(0_u32, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
    });
    let default = if secure { 443 } else { 80 };
    let port = number.and_then(|number| u16::try_from(number).ok());
    port.is_some_and(|port| port != default)
}

fn is_normal_name(name: &[u8]) -> bool {
    let mut after_dot = true;
    let normal = name.iter().all(|&byte| {
        let empty_label = byte == b'.' && after_dot;
        after_dot = byte == b'.';
        let of_a_name = byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'-' | b'.' | b'_' | b'~');
        of_a_name && !empty_label
    });
    normal && !after_dot && name.len() <= MAX_HOST
}

/// Whether `raw` is nothing but this name and this port, so that a host that was normal already
/// costs no copy.
fn is_as_written(raw: &str, name: &str, port: Option<u16>) -> bool {
    match (raw[name.len()..].strip_prefix(':'), port) {
        (None, None) => raw.len() == name.len(),
        (Some(digits), Some(_)) => !digits.starts_with('0'),
        _ => false,
    }
}

fn split_port(raw: &str) -> Result<(&str, &str), TargetError> {
    let literal = raw.starts_with('[');
    let after_literal = match raw.find(']') {
        Some(at) if literal => at + 1,
        None if literal => return Err(TargetError::Host),
        _ => 0,
    };
    match raw[after_literal..].find(':') {
        Some(colon) => {
            let (host, port) = raw.split_at(after_literal + colon);
            Ok((host, &port[1..]))
        }
        None if after_literal == 0 || after_literal == raw.len() => Ok((raw, "")),
        None => Err(TargetError::Host),
    }
}

fn parse_port(digits: &str) -> Result<u16, TargetError> {
    // `parse` alone would take a plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    digits.parse().ok().filter(|&port| port != 0).ok_or(TargetError::Port)
}

fn check_name(name: &str) -> Result<(), TargetError> {
    let fits = name.len() <= MAX_HOST && name.split('.').all(|label| !label.is_empty());
    let valid =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if fits && name.bytes().all(valid) { Ok(()) } else { Err(TargetError::Host) }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn normal_forms_are_told_at_once() {
        for (raw, normal) in [
            ("example.com", true),
            ("a-b_c~1.example:8080", true),
            ("127.0.0.1:65535", true),
            ("example.com:443", true),
            ("example.com:80", false),
            ("example.com:0443", false),
            ("example.com:65536", false),
            ("example.com:123456", false),
            ("example.com:99999999999999999999", false),
            ("example.com:", false),
            ("example.com:8a", false),
            ("Example.com", false),
            ("example.com.", false),
            (".example", false),
            ("a..b", false),
            ("[::1]", false),
            (":81", false),
            ("", false),
        ] {
            assert_eq!(is_normal(raw.as_bytes(), false), normal, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_as_it_is(
            raw in "[a-cA.-]{0,6}(:[0-9]{0,20})?|[a-z0-9.:\\[\\]]{0,10}",
            secure: bool,
        ) {
            if is_normal(raw.as_bytes(), secure) {
                prop_assert_eq!(brought_to_normal(&raw, secure), Ok(Cow::Borrowed(raw.as_str())));
            }
        }
    }
}
