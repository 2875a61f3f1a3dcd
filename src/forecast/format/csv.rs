//! `timestamp,key,size`.

use std::borrow::Cow;

use super::entry::{Entry, Fields};
use super::{Broken, moment};
use crate::clock::Timestamp;

/// Reads a line; the first and the last comma count, so a key may have some. A header says
/// nothing: its time is none, and neither is its size.
pub(super) fn read(line: &[u8]) -> Result<Option<Entry<'_>>, Broken> {
    if line.starts_with(b"#") {
        return Ok(None);
    }
    let first = memchr::memchr(b',', line).ok_or(Broken::Form)?;
    let last = memchr::memrchr(b',', line).filter(|last| *last > first).ok_or(Broken::Form)?;
    let (time, key) = (&line[..first], &line[first + 1..last]);
    let size = moment::size(line[last + 1..].trim_ascii());
    let at = seconds(time.trim_ascii());
    if at.is_none() && size.is_none() && is_name(time) {
        return Ok(None);
    }
    if key.is_empty() {
        return Err(Broken::Form);
    }
    Ok(Some(Entry {
        at: at.ok_or(Broken::Time)?,
        method: Cow::Borrowed(b"GET"),
        secure: None,
        host: None,
        target: Cow::Borrowed(key),
        is_key: true,
        status: 200,
        bytes: Some(size.ok_or(Broken::Size)?),
        millis: None,
        client: None,
        request: Fields::new(),
        response: Fields::new(),
    }))
}

/// Traces count from wherever they like; whole numbers need no floating point.
fn seconds(text: &[u8]) -> Option<Timestamp> {
    if text.len() <= 10 && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        let seconds = text.iter().fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
        return Some(Timestamp::from_secs(seconds));
    }
    moment::any(text)
}

fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_time_key_and_size() {
        for (line, time, key, size) in [
            ("0,a,1", 0, "a", 1),
            ("1700000000.25,http://h/a,b?c,7", 1_700_000_000_250, "http://h/a,b?c", 7),
            ("12, key ,512 ", 12_000, " key ", 512),
        ] {
            let entry = read(line.as_bytes()).unwrap().unwrap();
            assert_eq!(entry.at, Timestamp::from_millis(time), "{line}");
            assert_eq!((&*entry.target, entry.bytes), (key.as_bytes(), Some(size)), "{line}");
        }
        for line in ["timestamp_s,key,size_bytes", "# a comment"] {
            assert_eq!(read(line.as_bytes()), Ok(None), "{line}");
        }
        for (line, broken) in [
            ("1,2", Broken::Form),
            ("1,,2", Broken::Form),
            ("x,key,7", Broken::Time),
            ("1,key,-7", Broken::Size),
            ("1,key,", Broken::Size),
        ] {
            assert_eq!(read(line.as_bytes()), Err(broken), "{line}");
        }
    }
}
