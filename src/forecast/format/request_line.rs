//! `GET /path HTTP/1.1`, as logs quote it.

use std::borrow::Cow;

use super::Broken;

/// Of a line, or made of it.
type Text<'a> = Cow<'a, [u8]>;

/// Method and target. The version may be absent, as for HTTP/0.9; what stands between the method
/// and the version is the target, with the spaces that a client may have left in it.
pub(super) fn split<'a>(line: &Text<'a>) -> Result<(Text<'a>, Text<'a>), Broken> {
    let (method, target) = match line {
        Cow::Borrowed(line) => {
            let (method, target) = parts(line).ok_or(Broken::Request)?;
            (Cow::Borrowed(method), Cow::Borrowed(target))
        }
        Cow::Owned(line) => {
            let (method, target) = parts(line).ok_or(Broken::Request)?;
            (Cow::Owned(method.to_vec()), Cow::Owned(target.to_vec()))
        }
    };
    Ok((method, target))
}

fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let (method, rest) = (line.get(..space)?, line.get(space + 1..)?);
    let target = match memchr::memrchr(b' ', rest) {
        Some(end) if rest.get(end + 1..).is_some_and(|it| it.starts_with(b"HTTP/")) => {
            rest.get(..end)?
        }
        _ => rest,
    };
    (is_token(method) && !target.is_empty()).then_some((method, target))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.len() <= 32 && text.iter().all(is_tchar)
}
