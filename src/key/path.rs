//! The normal form of a path and its query.

use std::borrow::Cow;

use super::TargetError;

/// The normal form of a path with its query.
///
/// The path: percent-encoded unreserved bytes decoded, hex digits in upper case, non-ASCII bytes
/// encoded, dot segments removed (`%2e` too), an empty one is `/`. `//` and `%2F` are kept, for
/// they mean something else. The query is kept byte by byte but for non-ASCII bytes, which are
/// encoded: signatures cover it. A fragment is dropped.
///
/// # Errors
/// On control bytes, spaces, backslashes, and in the path also on a percent sign without two hex
/// digits and on `%00`.
pub fn normalize_path(raw: &str) -> Result<Cow<'_, str>, TargetError> {
    if is_normal(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let raw = raw.split_once('#').map_or(raw, |(before, _)| before);
    let (path, query) = match raw.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (raw, None),
    };
    let decoded = decode_unreserved(path)?;
    let mut normal = if decoded == "*" { decoded } else { remove_dot_segments(&decoded) };
    if let Some(query) = query {
        normal.push('?');
        for byte in query.bytes() {
            push_checked(&mut normal, byte)?;
        }
    }
    Ok(Cow::Owned(normal))
}

/// Whether [`normalize_path`] would change nothing; may say no too often.
fn is_normal(raw: &str) -> bool {
    let (mut in_path, mut previous) = (true, 0);
    raw.starts_with('/')
        && raw.bytes().all(|byte| {
            let after_slash = std::mem::replace(&mut previous, byte) == b'/';
            match byte {
                b'\\' | b'#' => false,
                b'%' => !in_path,
                b'.' => !(in_path && after_slash),
                b'?' => {
                    in_path = false;
                    true
                }
                _ => byte.is_ascii_graphic(),
            }
        })
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2.
fn decode_unreserved(path: &str) -> Result<String, TargetError> {
    let bytes = path.as_bytes();
    let mut normal = String::with_capacity(path.len() + 1);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            push_checked(&mut normal, byte)?;
            at += 1;
            continue;
        }
        let high = hex(bytes.get(at + 1))?;
        let low = hex(bytes.get(at + 2))?;
        let decoded = high << 4 | low;
        match decoded {
            0 => return Err(TargetError::Path),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                normal.push(char::from(decoded));
            }
            _ => push_encoded(&mut normal, decoded),
        }
        at += 3;
    }
    Ok(normal)
}

/// RFC 3986 §5.2.4, for a path that is absolute or empty; a relative one becomes absolute.
fn remove_dot_segments(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
            _ => {
                normal.push('/');
                normal.push_str(segment);
                continue;
            }
        }
        if last {
            normal.push('/');
        }
    }
    if normal.is_empty() {
        normal.push('/');
    }
    normal
}

fn push_checked(normal: &mut String, byte: u8) -> Result<(), TargetError> {
    match byte {
        b'\\' | 0..=b' ' | 0x7f => Err(TargetError::Path),
        0x80.. => {
            push_encoded(normal, byte);
            Ok(())
        }
        _ => {
            normal.push(char::from(byte));
            Ok(())
        }
    }
}

fn push_encoded(normal: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    normal.push(char::from(HEX[usize::from(byte >> 4)]));
    normal.push(char::from(HEX[usize::from(byte & 15)]));
}

fn hex(digit: Option<&u8>) -> Result<u8, TargetError> {
    let value = digit.and_then(|&digit| char::from(digit).to_digit(16)).ok_or(TargetError::Path)?;
    u8::try_from(value).map_err(|_| TargetError::Path)
}
