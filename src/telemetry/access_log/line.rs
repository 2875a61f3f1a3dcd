//! How a request is written. Clients choose most of the text, so all of it is escaped: no quote,
//! control byte or line end of theirs stands as it is.

use std::borrow::Cow;
use std::io::{self, Write};

use http::HeaderValue;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Record;
use crate::clock::Timestamp;
use crate::context::Detail;
use crate::telemetry::{CacheWord, Format};

/// The date of the combined log format.
const COMBINED: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// RFC 3339 with milliseconds.
const RFC_3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Appends the line of `record` to `out`.
pub(super) fn write(format: Format, record: &Record, out: &mut Vec<u8>) {
    // Invariant: writing to memory does not fail, and a record's own serialization cannot.
    let _ = match format {
        Format::Text => text(record, out),
        Format::Json => json(record, out),
    };
    out.push(b'\n');
}

/// The combined log format, then `name=value` pairs.
fn text(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let date = date(record.time, COMBINED);
    write!(out, "{} - - [{date}] \"", record.client)?;
    escape(record.method.as_str().as_bytes(), out);
    out.push(b' ');
    escape(target(record).as_bytes(), out);
    write!(out, " {:?}\" {} {} ", record.version, record.status.as_u16(), record.bytes)?;
    quoted(record.referer.as_ref().map(HeaderValue::as_bytes), out);
    out.push(b' ');
    quoted(record.user_agent.as_ref().map(HeaderValue::as_bytes), out);
    out.extend_from_slice(b" host=");
    quoted(record.uri.authority().map(|host| host.as_str().as_bytes()), out);
    write!(
        out,
        " cache={} detail={} duration={:.6} first_byte={:.6} id={} upstream=",
        CacheWord::of(&record.outcome).word(),
        record.outcome.detail.map_or("-", Detail::word),
        record.duration.as_secs_f64(),
        record.first_byte.as_secs_f64(),
        record.id,
    )?;
    quoted(record.upstream.as_deref().map(str::as_bytes), out);
    Ok(())
}

fn quoted(text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text.unwrap_or(b"-"), out);
    out.push(b'"');
}

/// Writes `text` with quotes, backslashes and all that is not printable ASCII escaped.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
}

/// A line of JSON. Durations are in seconds.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    client: std::net::IpAddr,
    method: &'a str,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    target: Cow<'a, str>,
    protocol: String,
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
    id: String,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    upstream: Option<&'a str>,
}

fn json(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let outcome = &record.outcome;
    let line = Line {
        time: &date(record.time, RFC_3339),
        client: record.client,
        method: record.method.as_str(),
        scheme: record.uri.scheme_str(),
        host: record.uri.authority().map(http::uri::Authority::as_str),
        target: harmless(target(record).into()),
        protocol: format!("{:?}", record.version),
        status: record.status.as_u16(),
        bytes: record.bytes,
        duration: record.duration.as_secs_f64(),
        first_byte: record.first_byte.as_secs_f64(),
        cache: CacheWord::of(outcome).word(),
        detail: outcome.detail.map(Detail::word),
        forwarded: outcome.forwarded.map(crate::context::Forwarded::token),
        origin_status: outcome.forward_status.map(|status| status.as_u16()),
        ttl: outcome.ttl,
        stored: outcome.stored,
        collapsed: outcome.collapsed,
        id: record.id.to_string(),
        referer: record.referer.as_ref().map(lossy),
        user_agent: record.user_agent.as_ref().map(lossy),
        upstream: record.upstream.as_deref(),
    };
    serde_json::to_writer(out, &line).map_err(io::Error::from)
}

fn lossy(value: &HeaderValue) -> Cow<'_, str> {
    harmless(String::from_utf8_lossy(value.as_bytes()))
}

/// `text` without control characters: JSON escapes those of ASCII only, and a terminal may act on
/// the others (U+007F to U+009F) as well.
fn harmless(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        return Cow::Owned(text.replace(char::is_control, "\u{fffd}"));
    }
    text
}

fn target(record: &Record) -> &str {
    record.uri.path_and_query().map_or("-", http::uri::PathAndQuery::as_str)
}

fn date(time: Timestamp, format: &[BorrowedFormatItem<'_>]) -> String {
    let nanos = i128::from(time.as_millis()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|date| date.format(format).ok())
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use proptest::prelude::*;

    fn written(format: Format, record: &Record) -> String {
        let mut out = Vec::new();
        write(format, record, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_is_the_combined_format_with_more() {
        assert_eq!(
            written(Format::Text, &record("http://example.com/a?b=c")),
            "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b=c HTTP/1.1\" 200 512 \"-\" \
             \"curl/8\" host=\"example.com\" cache=miss detail=- duration=0.001500 \
             first_byte=0.000900 id=00000000000000ff upstream=\"origin\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = written(Format::Json, &record("http://example.com/a?b=c"));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value["target"], "/a?b=c");
        assert_eq!(value["cache"], "miss");
        assert_eq!(value["forwarded"], "uri-miss");
        assert_eq!(value["detail"], serde_json::Value::Null);
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
            let mut record = record("http://example.com/");
            record.user_agent = HeaderValue::from_bytes(&bytes).ok();
            record.referer = Some(HeaderValue::from_static("\"x\" \\"));
            let target = [b"/", bytes.as_slice()].concat();
            if let Ok(target) = http::uri::PathAndQuery::try_from(target.as_slice()) {
                let mut parts = record.uri.into_parts();
                parts.path_and_query = Some(target);
                record.uri = http::Uri::from_parts(parts).expect("a URI");
            }
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
