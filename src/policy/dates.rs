//! HTTP dates (RFC 9110 §5.6.7).
//!
//! An own parser: recipients have to take all three forms, names and `GMT` in any case, and the
//! weekday need not fit the date. `httpdate` checks both.

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, Time};

use crate::clock::Timestamp;

const DAYS: [&[u8]; 7] =
    [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];

/// Parses an `HTTP-date` in any of its three forms.
///
/// `now` resolves the two-digit year of the RFC 850 form: what seems more than 50 years ahead is
/// in the past (RFC 9110 §5.6.7). `None` for anything else, other time zones included.
#[must_use]
pub fn parse_date(value: &[u8], now: Timestamp) -> Option<Timestamp> {
    let comma = value.iter().position(|&b| b == b',');
    let Some(comma) = comma else { return asctime(value) };
    let day = &value[..comma];
    let rest = &value[comma + 1..];
    if day.len() == 3 { imf_fixdate(day, rest) } else { rfc850(day, rest, now) }
}

/// Formats as an IMF-fixdate (RFC 9110 §5.6.7), rounded down to seconds.
#[must_use]
pub fn format_date(at: Timestamp) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    OffsetDateTime::from_unix_timestamp(at.as_secs())
        .ok()
        .filter(|date| (0..=9999).contains(&date.year()))
        .and_then(|date| date.format(format).ok())
        .unwrap_or_else(|| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, from behind the comma.
fn imf_fixdate(day: &[u8], rest: &[u8]) -> Option<Timestamp> {
    if rest.len() != 25 || !is_short_day(day) || !ends_in_gmt(rest) {
        return None;
    }
    let spaced = [0, 3, 7, 12].iter().all(|&at| rest[at] == b' ');
    spaced.then_some(())?;
    timestamp(digits(&rest[8..12])?, month(&rest[4..7])?, digits(&rest[1..3])?, &rest[13..21])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`, from behind the comma.
fn rfc850(day: &[u8], rest: &[u8], now: Timestamp) -> Option<Timestamp> {
    let known = DAYS.iter().any(|name| name.eq_ignore_ascii_case(day));
    if rest.len() != 23 || !known || !ends_in_gmt(rest) {
        return None;
    }
    let separated = rest[0] == b' ' && rest[3] == b'-' && rest[7] == b'-' && rest[10] == b' ';
    separated.then_some(())?;
    let this_year = OffsetDateTime::from_unix_timestamp(now.as_secs()).ok()?.year();
    let mut year = this_year - this_year.rem_euclid(100) + i32::from(digits(&rest[8..10])?);
    if year > this_year + 50 {
        year -= 100;
    }
    let year = u16::try_from(year).ok()?;
    timestamp(year, month(&rest[4..7])?, digits(&rest[1..3])?, &rest[11..19])
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(value: &[u8]) -> Option<Timestamp> {
    if value.len() != 24 || !is_short_day(&value[..3]) {
        return None;
    }
    let spaced = [3, 7, 10, 19].iter().all(|&at| value[at] == b' ');
    spaced.then_some(())?;
    let day = if value[8] == b' ' { &value[9..10] } else { &value[8..10] };
    timestamp(digits(&value[20..24])?, month(&value[4..7])?, digits(day)?, &value[11..19])
}

/// A date and `hh:mm:ss`. A leap second counts as the second before it.
fn timestamp(year: u16, month: Month, day: u16, clock: &[u8]) -> Option<Timestamp> {
    if clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let hour = u8::try_from(digits(&clock[..2])?).ok()?;
    let minute = u8::try_from(digits(&clock[3..5])?).ok()?;
    let second = u8::try_from(digits(&clock[6..8])?).ok()?;
    let second = if second == 60 { 59 } else { second };
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    Some(Timestamp::from_secs(OffsetDateTime::new_utc(date, time).unix_timestamp()))
}

fn ends_in_gmt(value: &[u8]) -> bool {
    value.len() > 4
        && value[value.len() - 4] == b' '
        && value[value.len() - 3..].eq_ignore_ascii_case(b"GMT")
}

fn is_short_day(day: &[u8]) -> bool {
    let day = short(day);
    day.is_some_and(|day| {
        matches!(&day, b"mon" | b"tue" | b"wed" | b"thu" | b"fri" | b"sat" | b"sun")
    })
}

fn month(name: &[u8]) -> Option<Month> {
    Some(match &short(name)? {
        b"jan" => Month::January,
        b"feb" => Month::February,
        b"mar" => Month::March,
        b"apr" => Month::April,
        b"may" => Month::May,
        b"jun" => Month::June,
        b"jul" => Month::July,
        b"aug" => Month::August,
        b"sep" => Month::September,
        b"oct" => Month::October,
        b"nov" => Month::November,
        b"dec" => Month::December,
        _ => return None,
    })
}

/// A name of three letters in lower case. With this bit set nothing but a letter becomes one.
fn short(name: &[u8]) -> Option<[u8; 3]> {
    let name: [u8; 3] = name.try_into().ok()?;
    Some(name.map(|byte| byte | 0x20))
}

/// A number of at most four digits.
fn digits(value: &[u8]) -> Option<u16> {
    value.iter().try_fold(0_u16, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + u16::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22.
    const NOW: Timestamp = Timestamp::from_secs(1_795_305_600);

    fn secs(value: &str) -> Option<i64> {
        parse_date(value.as_bytes(), NOW).map(Timestamp::as_secs)
    }

    #[test]
    fn the_three_forms_of_rfc_9110_5_6_7() {
        assert_eq!(secs("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(secs("Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(secs("Sun Nov  6 08:49:37 1994"), Some(784_111_777));
        assert_eq!(secs("Sun Nov 16 08:49:37 1994"), Some(784_975_777));
    }

    #[test]
    fn names_and_zone_ignore_case_and_the_weekday_need_not_fit() {
        assert_eq!(secs("SUN, 06 NOV 1994 08:49:37 gMT"), Some(784_111_777));
        assert_eq!(secs("Mon, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert!(secs("Thu Aug  8 02:01:18 2050").is_some());
        assert!(secs("Sun, 21 Nov 2286 04:46:39 GMT").is_some());
    }

    #[test]
    fn two_digit_years_lie_within_fifty_years_ahead() {
        assert_eq!(secs("Thursday, 18-Aug-50 02:01:18 GMT"), secs("Thu, 18 Aug 2050 02:01:18 GMT"));
        assert_eq!(secs("Thursday, 18-Aug-77 02:01:18 GMT"), secs("Thu, 18 Aug 1977 02:01:18 GMT"));
    }

    #[test]
    fn everything_else_is_no_date() {
        for value in [
            "",
            "0",
            "-1",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 32 Aug 2050 02:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Thu, 18 Aug 2050 02:01:18",
        ] {
            assert_eq!(secs(value), None, "{value}");
        }
    }

    #[test]
    fn no_other_byte_passes_for_a_letter_of_a_name() {
        let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
        for at in [0, 1, 2, 8, 9, 10] {
            for byte in 0..=u8::MAX {
                let mut other = *date;
                other[at] = byte;
                let same = byte.eq_ignore_ascii_case(&date[at]);
                assert_eq!(parse_date(&other, NOW).is_some(), same, "{at}: {byte}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_date(&value, NOW);
        }

        #[test]
        fn near_dates_never_panic(value in "[A-Za-z]{3,9},? [0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            let _ = parse_date(value.as_bytes(), NOW);
        }

        #[test]
        fn formatting_round_trips(at in 0_i64..253_402_300_799) {
            let text = format_date(Timestamp::from_secs(at));
            prop_assert_eq!(secs(&text), Some(at));
        }
    }
}
