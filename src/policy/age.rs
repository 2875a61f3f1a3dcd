//! The `Age` field (RFC 9111 §5.1) and delta-seconds (RFC 9111 §1.2.2).

use http::HeaderMap;
use http::header::AGE;

use crate::headers::members;

/// What a number of seconds too large to hold counts as (RFC 9111 §1.2.2).
pub(super) const OVERFLOW: u32 = 1 << 31;

/// Digits only; what is larger than [`OVERFLOW`] is [`OVERFLOW`].
pub(super) fn delta_seconds(value: &[u8]) -> Option<u32> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = value.iter().fold(0_u32, |seconds, &digit| {
        seconds.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    Some(seconds.min(OVERFLOW))
}

/// The first member of the first line, in seconds; zero if that is not a number.
pub(super) fn age_value(headers: &HeaderMap) -> u32 {
    let first = headers.get(AGE).and_then(|value| members(value.as_bytes()).next());
    first.and_then(delta_seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// RFC 9111 §5.1: a list counts by its first member, what is no number is ignored.
    #[test]
    fn age_is_the_first_member_of_the_first_line() {
        for (lines, age) in [
            (&["7200"][..], 7200),
            (&["7200, 0"], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["0", "7200"], 0),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200.0"], 0),
            (&["7200;foo=bar"], 0),
            (&["2147483649"], OVERFLOW),
            (&["99999999999999999999"], OVERFLOW),
            (&[], 0),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AGE, HeaderValue::from_static(line));
            }
            assert_eq!(age_value(&headers), age, "{lines:?}");
        }
    }
}
