//! Times, as logs write them.

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time};

use crate::clock::Timestamp;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Where numbers stop being seconds: in the year 5138. Larger ones are finer by 1000, and so on.
const MOST_SECONDS: f64 = 1e11;

/// `10/Oct/2000:13:55:36 -0700`; without a zone it is UTC.
pub(super) fn common(text: &[u8]) -> Option<Timestamp> {
    let digits = |from: usize, to: usize| number(text.get(from..to)?);
    let separated = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':')];
    if !separated.iter().all(|(at, byte)| text.get(*at) == Some(byte)) {
        return None;
    }
    let month = MONTHS.iter().position(|month| text.get(3..6) == Some(*month))?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let year = i32::try_from(digits(7, 11)?).ok()?;
    let small = |from, to| u8::try_from(digits(from, to)?).ok();
    let date = Date::from_calendar_date(year, month, small(0, 2)?).ok()?;
    // A leap second is the one after.
    let time = Time::from_hms(small(12, 14)?, small(15, 17)?, small(18, 20)?.min(59)).ok()?;
    let offset = match text.get(20..) {
        None | Some([]) => 0,
        Some(zone) => offset(zone)?,
    };
    let seconds = date.with_time(time).assume_utc().unix_timestamp();
    Some(Timestamp::from_secs(seconds - offset))
}

/// ` -0700`, in seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    let [b' ', sign, hours @ .., _, _] = zone else { return None };
    let minutes = number(zone.get(zone.len() - 2..)?)?;
    let seconds = i64::try_from(number(hours)? * 3600 + minutes * 60).ok()?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Any of the forms that logs have: an RFC 3339 date, that of the Common format, a number.
pub(super) fn any(text: &[u8]) -> Option<Timestamp> {
    let bare = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
    if let Some(at) = common(bare) {
        return Some(at);
    }
    let text = std::str::from_utf8(bare).ok()?.trim();
    if let Ok(since_epoch) = text.parse::<f64>() {
        return from_number(since_epoch);
    }
    rfc_3339(text)
}

/// RFC 3339, also with a zone that has no colon, with none, or with a space for the `T`.
fn rfc_3339(text: &str) -> Option<Timestamp> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let at = parse(text).or_else(|| {
        let mut text = text.to_owned();
        if text.as_bytes().get(10) == Some(&b' ') {
            text.replace_range(10..11, "T");
        }
        let zone = text.get(10..)?.find(['Z', 'z', '+', '-']).map(|at| at + 10);
        match zone {
            None => text.push('Z'),
            Some(at) if text.len() == at + 5 && text.is_char_boundary(at + 3) => {
                text.insert(at + 3, ':');
            }
            Some(_) => {}
        }
        parse(&text)
    })?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::from_millis)
}

/// Seconds since the epoch, or by its size milliseconds, microseconds or nanoseconds.
pub(super) fn from_number(number: f64) -> Option<Timestamp> {
    if !number.is_finite() || !(0.0..MOST_SECONDS * 1e9).contains(&number) {
        return None;
    }
    let mut millis = number * 1000.0;
    while millis >= MOST_SECONDS * 1000.0 {
        millis /= 1000.0;
    }
    Some(Timestamp::from_millis(millis as i64))
}

/// A number of a few digits.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// Bytes, where `-` stands for none.
pub(super) fn size(text: &[u8]) -> Option<u64> {
    if text == b"-" { Some(0) } else { number(text) }
}

/// A status that an exchange can end with.
pub(super) fn status(text: &[u8]) -> Option<u16> {
    let status = u16::try_from(number(text)?).ok()?;
    (100..600).contains(&status).then_some(status)
}

/// `0.005`, `0.002, 0.003` or `-`, in seconds: of several the last, which counts for an answer
/// that was tried for more than once.
pub(super) fn duration(text: &[u8], to_millis: f64) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let last = text.rsplit([',', ':']).map(str::trim).find(|part| !part.is_empty())?;
    millis(last.parse::<f64>().ok()? * to_millis)
}

/// Milliseconds within their bounds.
#[expect(clippy::cast_sign_loss, reason = "negative ones are none")]
pub(super) fn millis(millis: f64) -> Option<u32> {
    // The last number stands for "not known".
    (millis >= 0.0).then(|| millis.min(f64::from(u32::MAX - 1)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_moment() {
        for text in [
            "10/Oct/2000:13:55:36 -0700",
            "[10/Oct/2000:20:55:36 +0000]",
            "10/Oct/2000:20:55:36",
            "2000-10-10T20:55:36Z",
            "2000-10-10T13:55:36-07:00",
            "2000-10-10T13:55:36-0700",
            "2000-10-10 20:55:36",
            "2000-10-10T20:55:36.000",
            "971211336",
            "971211336.000",
            "971211336000",
            "971211336000000",
            "971211336000000000",
        ] {
            let at = any(text.as_bytes());
            assert_eq!(at, Some(Timestamp::from_secs(971_211_336)), "{text}");
        }
        assert_eq!(any(b"0"), Some(Timestamp::EPOCH));
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "",
            "-",
            "[",
            "yesterday",
            "40/Oct/2000:13:55:36 -0700",
            "10/Foo/2000:13:55:36 -0700",
            "10/Oct/2000:25:55:36 -0700",
            "10/Oct/2000:13:55:36 x0700",
            "NaN",
            "inf",
            "-5",
            "1e99",
            "2000-13-10T20:55:36Z",
        ] {
            assert_eq!(any(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(
            (size(b"-"), size(b"512"), size(b"5e3"), size(b"")),
            (Some(0), Some(512), None, None)
        );
        assert_eq!(duration(b"0.005", 1000.0), Some(5));
        assert_eq!(duration(b"0.2, 0.003", 1000.0), Some(3));
        assert_eq!(duration(b"1500", 0.001), Some(1));
        assert_eq!((duration(b"-", 1000.0), duration(b"-1", 1.0)), (None, None));
    }
}
