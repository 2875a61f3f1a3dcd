//! How a request is written. Clients choose most of the text, so all of it is escaped: no quote,
//! control byte or line end of theirs stands as it is.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Version};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Record;
use crate::clock::Timestamp;
use crate::context::{Detail, Forwarded, RequestId};
use crate::telemetry::{CacheWord, Format};

/// The date of the combined log format.
const COMBINED: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// RFC 3339 but for the fraction of a second and the zone.
const RFC_3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// Writes lines of one form, and formats the date of each second once.
#[derive(Debug)]
pub(super) struct Lines {
    format: Format,
    /// Seconds since the epoch.
    second: i64,
    date: String,
}

impl Lines {
    pub(super) fn new(format: Format) -> Self {
        Self { format, second: i64::MIN, date: String::new() }
    }

    /// Appends the line of `record` to `out`.
    pub(super) fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.look_at(record.time);
        // Invariant: writing to memory does not fail, and a record's own serialization cannot.
        let _ = match self.format {
            Format::Text => text(record, &self.date, out),
            Format::Json => json(record, &self.date, out),
        };
        out.push(b'\n');
    }

    fn look_at(&mut self, time: Timestamp) {
        let second = time.as_secs();
        if second == self.second {
            return;
        }
        let format = match self.format {
            Format::Text => COMBINED,
            Format::Json => RFC_3339,
        };
        self.second = second;
        self.date = OffsetDateTime::from_unix_timestamp(second)
            .ok()
            .and_then(|date| date.format(format).ok())
            .unwrap_or_else(|| "-".to_owned());
    }
}

/// The combined log format, then `name=value` pairs.
fn text(record: &Record<'_>, date: &str, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "{} - - [{date}] \"", record.client)?;
    escape(record.method.as_str().as_bytes(), out);
    out.push(b' ');
    escape(target(record).as_bytes(), out);
    out.push(b' ');
    out.extend_from_slice(protocol(record.version).as_bytes());
    out.extend_from_slice(b"\" ");
    out.extend_from_slice(record.status.as_str().as_bytes());
    out.push(b' ');
    number(record.bytes, out);
    out.push(b' ');
    quoted(record.referer.map(HeaderValue::as_bytes), out);
    out.push(b' ');
    quoted(record.user_agent.map(HeaderValue::as_bytes), out);
    out.extend_from_slice(b" host=");
    quoted(record.host, out);
    out.extend_from_slice(b" cache=");
    out.extend_from_slice(CacheWord::of(&record.outcome).word().as_bytes());
    out.extend_from_slice(b" detail=");
    out.extend_from_slice(record.outcome.detail.map_or("-", Detail::word).as_bytes());
    out.extend_from_slice(b" duration=");
    seconds(record.duration, out);
    out.extend_from_slice(b" first_byte=");
    seconds(record.first_byte, out);
    write!(out, " id={} upstream=", record.id)?;
    quoted(record.upstream.map(str::as_bytes), out);
    Ok(())
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds with six digits behind the point, which are what takes a formatter of floats longest.
fn seconds(duration: Duration, out: &mut Vec<u8>) {
    let micros = duration.saturating_add(Duration::from_nanos(500)).as_micros();
    number(u64::try_from(micros / 1_000_000).unwrap_or(u64::MAX), out);
    out.push(b'.');
    let mut digits = *b"000000";
    let mut rest = micros % 1_000_000;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

fn quoted(text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text.unwrap_or(b"-"), out);
    out.push(b'"');
}

/// Writes `text` with quotes, backslashes and all that is not printable ASCII escaped.
fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let is_special = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    while let Some(place) = text.iter().position(is_special) {
        let byte = text[place];
        out.extend_from_slice(&text[..place]);
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(&[b'\\', byte]);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
        text = &text[place + 1..];
    }
    out.extend_from_slice(text);
}

/// A line of JSON. Durations are in seconds.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "time")]
    time: (&'a str, Timestamp),
    client: IpAddr,
    method: &'a str,
    scheme: &'a str,
    host: Option<Cow<'a, str>>,
    target: Cow<'a, str>,
    protocol: &'static str,
    status: u16,
    bytes: u64,
    duration: f64,
    first_byte: f64,
    cache: &'static str,
    detail: Option<&'static str>,
    forwarded: Option<&'static str>,
    origin_status: Option<u16>,
    ttl: Option<i64>,
    stored: bool,
    collapsed: bool,
    #[serde(serialize_with = "id")]
    id: RequestId,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    upstream: Option<&'a str>,
}

fn json(record: &Record<'_>, date: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let outcome = &record.outcome;
    let line = Line {
        time: (date, record.time),
        client: record.client,
        method: record.method.as_str(),
        scheme: record.scheme,
        host: record.host.map(lossy),
        target: harmless(target(record).into()),
        protocol: protocol(record.version),
        status: record.status.as_u16(),
        bytes: record.bytes,
        duration: record.duration.as_secs_f64(),
        first_byte: record.first_byte.as_secs_f64(),
        cache: CacheWord::of(outcome).word(),
        detail: outcome.detail.map(Detail::word),
        forwarded: outcome.forwarded.map(Forwarded::token),
        origin_status: outcome.forward_status.map(|status| status.as_u16()),
        ttl: outcome.ttl,
        stored: outcome.stored,
        collapsed: outcome.collapsed,
        id: record.id,
        referer: record.referer.map(|value| lossy(value.as_bytes())),
        user_agent: record.user_agent.map(|value| lossy(value.as_bytes())),
        upstream: record.upstream,
    };
    serde_json::to_writer(out, &line).map_err(io::Error::from)
}

fn time<S: Serializer>((date, time): &(&str, Timestamp), to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{date}.{:03}Z", time.as_millis().rem_euclid(1000)))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn id<S: Serializer>(id: &RequestId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

fn lossy(value: &[u8]) -> Cow<'_, str> {
    harmless(String::from_utf8_lossy(value))
}

/// `text` without control characters: JSON escapes those of ASCII only, and a terminal may act on
/// the others (U+007F to U+009F) as well.
fn harmless(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        return Cow::Owned(text.replace(char::is_control, "\u{fffd}"));
    }
    text
}

fn target<'a>(record: &Record<'a>) -> &'a str {
    record.target.unwrap_or("-")
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use proptest::prelude::*;

    fn written(format: Format, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        Lines::new(format).write(record, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_is_the_combined_format_with_more() {
        assert_eq!(
            written(Format::Text, &record("/a?b=c")),
            "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b=c HTTP/1.1\" 200 512 \"-\" \
             \"curl/8\" host=\"example.com\" cache=miss detail=- duration=0.001500 \
             first_byte=0.000900 id=00000000000000ff upstream=\"origin\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = written(Format::Json, &record("/a?b=c"));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value["target"], "/a?b=c");
        assert_eq!(value["cache"], "miss");
        assert_eq!(value["forwarded"], "uri-miss");
        assert_eq!(value["detail"], serde_json::Value::Null);
    }

    #[test]
    fn each_line_has_its_own_time() {
        let mut lines = [Format::Text, Format::Json].map(Lines::new);
        for (millis, text, json) in [
            (0, "[01/Jan/1970:00:00:00 +0000]", "\"1970-01-01T00:00:00.000Z\""),
            (999, "[01/Jan/1970:00:00:00 +0000]", "\"1970-01-01T00:00:00.999Z\""),
            (1_000, "[01/Jan/1970:00:00:01 +0000]", "\"1970-01-01T00:00:01.000Z\""),
            (-1, "[31/Dec/1969:23:59:59 +0000]", "\"1969-12-31T23:59:59.999Z\""),
        ] {
            let mut record = record("/");
            record.time = Timestamp::from_millis(millis);
            for (lines, time) in lines.iter_mut().zip([text, json]) {
                let mut out = Vec::new();
                lines.write(&record, &mut out);
                let line = String::from_utf8(out).expect("text");
                assert!(line.contains(time), "{time}: {line}");
            }
        }
    }

    #[test]
    fn seconds_have_six_digits_and_are_rounded() {
        for (nanos, text) in [
            (0, "0.000000"),
            (499, "0.000000"),
            (500, "0.000001"),
            (1_500_000, "0.001500"),
            (999_999_500, "1.000000"),
            (61_000_000_000, "61.000000"),
        ] {
            let mut out = Vec::new();
            seconds(Duration::from_nanos(nanos), &mut out);
            assert_eq!(String::from_utf8(out).as_deref(), Ok(text), "{nanos}");
        }
    }

    /// Any bytes, and text with the control characters that UTF-8 spells with two bytes.
    fn field_value() -> impl Strategy<Value = Vec<u8>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..64);
        let text = proptest::collection::vec(proptest::char::range('~', '\u{a2}'), 0..32);
        prop_oneof![bytes, text.prop_map(|text| text.into_iter().collect::<String>().into_bytes())]
    }

    proptest! {
        #[test]
        fn no_field_breaks_out_of_its_line(bytes in field_value()) {
            let user_agent = HeaderValue::from_bytes(&bytes).ok();
            let referer = HeaderValue::from_static("\"x\" \\");
            let path = [b"/", bytes.as_slice()].concat();
            let path = http::uri::PathAndQuery::try_from(path.as_slice()).ok();
            let mut record = record(path.as_ref().map_or("/", |path| path.as_str()));
            record.user_agent = user_agent.as_ref();
            record.referer = Some(&referer);
            record.host = Some(&bytes);
            for format in [Format::Text, Format::Json] {
                let line = written(format, &record);
                prop_assert_eq!(line.matches('\n').count(), 1);
                prop_assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
            }
            let quotes = written(Format::Text, &record).replace("\\\\", "").replace("\\\"", "");
            prop_assert_eq!(quotes.matches('"').count(), 10);
        }
    }
}
