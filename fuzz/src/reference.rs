//! The normal form of a target, worked out a second time, plainly: the measure for `seawall::key`.

use std::net::Ipv6Addr;

/// The normal form of `host[:port]` for `http`; `None` if it is no host.
pub fn host(raw: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(raw).ok()?.to_ascii_lowercase();
    let (name, port) = match raw.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (&*raw, ""),
    };
    let name = if let Some(literal) = name.strip_prefix('[') {
        format!("[{}]", literal.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?)
    } else {
        let name = name.strip_suffix('.').unwrap_or(name);
        let whole = name.len() <= 255 && name.split('.').all(|label| !label.is_empty());
        let valid = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        (whole && name.chars().all(valid)).then(|| name.to_owned())?
    };
    if !port.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    match port.trim_start_matches('0') {
        "" if port.is_empty() => Some(name),
        "80" => Some(name),
        digits => {
            let port = digits.parse::<u16>().ok()?;
            Some(format!("{name}:{port}"))
        }
    }
}

/// The normal form of a path with its query (RFC 3986 §6.2.2); `None` if it is none.
pub fn path(raw: &[u8]) -> Option<String> {
    let raw = raw.split(|&byte| byte == b'#').next()?;
    let (path, query) = match raw.iter().position(|&byte| byte == b'?') {
        Some(at) => (&raw[..at], Some(&raw[at..])),
        None => (raw, None),
    };
    let mut normal = if path == b"*" { "*".to_owned() } else { without_dots(&unreserved(path)?) };
    for &byte in query.unwrap_or_default() {
        normal.push_str(&literal(byte)?);
    }
    Some(normal)
}

/// Percent-encoded bytes that need not be are not (RFC 3986 §6.2.2.2).
fn unreserved(path: &[u8]) -> Option<String> {
    let mut normal = String::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            normal.push_str(&literal(byte)?);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let character = char::from(byte);
        if byte == 0 {
            return None;
        }
        if character.is_ascii_alphanumeric() || "-._~".contains(character) {
            normal.push(character);
        } else {
            normal += &encoded(byte);
        }
        rest = &after[2..];
    }
    Some(normal)
}

/// A byte as it is sent on; `None` if it may not stand in a target.
fn literal(byte: u8) -> Option<String> {
    match byte {
        b'\\' | 0..=b' ' | 0x7f => None,
        0x80.. => Some(encoded(byte)),
        _ => Some(char::from(byte).to_string()),
    }
}

fn encoded(byte: u8) -> String {
    format!("%{byte:02X}")
}

/// RFC 3986 §5.2.4, by a stack of segments.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let segments: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
