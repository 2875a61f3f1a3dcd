//! What is checked of a response's head before anything is made of it: pure.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};

use super::config::UnknownTransferCoding;
use crate::error::ErrorKind;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Refuses a head whose framing is in doubt, and leaves at most one `Content-Length`
/// (RFC 9112 §6.3, RFC 9110 §8.6).
///
/// # Errors
/// `BadResponse`, or `UnknownTransferCoding` where `policy` rejects those.
pub(super) fn check_framing(
    head: &mut Parts,
    policy: UnknownTransferCoding,
) -> Result<(), ErrorKind> {
    let plain = plain_length(&head.headers);
    let length = if plain.is_some() { plain } else { single_length(&head.headers)? };
    let has_coding = head.headers.contains_key(TRANSFER_ENCODING);
    if has_coding && length.is_some() {
        return Err(ErrorKind::BadResponse);
    }
    if has_coding && !is_chunked_alone(&head.headers) && policy == UnknownTransferCoding::Reject {
        return Err(ErrorKind::UnknownTransferCoding);
    }
    if head.status == StatusCode::NO_CONTENT {
        // Neither may be there (RFC 9112 §6.1, §6.2), and no content follows whatever they say.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(TRANSFER_ENCODING);
    } else if let Some(length) = length
        && plain.is_none()
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

/// The length, where it stands as nearly all write it: once, and in no more digits than it needs.
fn plain_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let text = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let is_shortest = text.len() == 1 || !text.starts_with('0');
    parse_length(text).filter(|_| is_shortest)
}

/// The one length that all `Content-Length` fields name.
fn single_length(headers: &HeaderMap) -> Result<Option<u64>, ErrorKind> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| ErrorKind::BadResponse)?;
        for member in text.split(',') {
            let member = parse_length(member.trim_matches([' ', '\t']));
            let member = member.ok_or(ErrorKind::BadResponse)?;
            if length.is_some_and(|length| length != member) {
                return Err(ErrorKind::BadResponse);
            }
            length = Some(member);
        }
    }
    Ok(length)
}

/// `1*DIGIT`; `str::parse` alone would take a sign.
fn parse_length(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether the transfer coding is `chunked` once and nothing else (RFC 9112 §7).
fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let first = values
        .next()
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    first && values.next().is_none()
}

/// Refuses a status that is none (RFC 9110 §15: it counts as a server's error), and a 101 that was
/// not asked for, or that names a protocol that was not (RFC 9110 §7.8, §15.2.2); `asked` is the
/// request's `Upgrade`.
///
/// # Errors
/// `BadResponse`, `UpgradeFailed`.
pub(super) fn check_status(head: &Parts, asked: Option<&HeaderValue>) -> Result<(), ErrorKind> {
    if head.status.as_u16() >= 600 {
        return Err(ErrorKind::BadResponse);
    }
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let asked = asked.ok_or(ErrorKind::UpgradeFailed)?;
    let mut named = head.headers.get_all(UPGRADE).iter().flat_map(protocols).peekable();
    let granted = named.peek().is_some()
        && named.all(|name| protocols(asked).any(|asked| asked.eq_ignore_ascii_case(name)));
    granted.then_some(()).ok_or(ErrorKind::UpgradeFailed)
}

fn protocols(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let members = value.as_bytes().split(|&byte| byte == b',');
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// How long the connection may idle: `limit`, or a second less than what the origin's
/// `Keep-Alive: timeout` says, where that is shorter. The second is for the clocks and the way.
///
/// Not at all after a response of HTTP/1.0: hyper would lower the next request to that version, and
/// content of unknown length would be lost, for there is no `chunked` (RFC 9112 §6.1).
pub(super) fn keep_for(head: &Parts, limit: Duration) -> Duration {
    if head.version < Version::HTTP_11 {
        return Duration::ZERO;
    }
    let told = head.headers.get_all(KEEP_ALIVE).iter().filter_map(keep_alive_timeout).min();
    match told {
        Some(seconds) => limit.min(Duration::from_secs(seconds.saturating_sub(1))),
        None => limit,
    }
}

/// Seconds that a `Keep-Alive` value allows an idle connection; 0 if no request may follow.
fn keep_alive_timeout(value: &HeaderValue) -> Option<u64> {
    let parameters = value.to_str().ok()?.split([',', ';']);
    let parameters = parameters.filter_map(|parameter| parameter.split_once('='));
    let seconds = parameters.filter_map(|(name, value)| {
        let number = parse_length(value.trim().trim_matches('"'));
        match name.trim() {
            name if name.eq_ignore_ascii_case("timeout") => number,
            name if name.eq_ignore_ascii_case("max") => number.filter(|&left| left == 0),
            _ => None,
        }
    });
    seconds.min()
}

/// Whether the final response tells a client that still waits for `100 Continue` not to send.
pub(super) fn refuses_content(status: StatusCode) -> bool {
    // A switch of protocols follows the content (RFC 9110 §7.8), like a success.
    !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(status: u16, fields: &[(&'static str, &str)]) -> Parts {
        let mut builder = http::Response::builder().status(status);
        for &(name, value) in fields {
            builder = builder.header(name, value);
        }
        builder.body(()).expect("a valid response").into_parts().0
    }

    #[test]
    fn lengths_that_agree_become_one_and_others_are_refused() {
        for (values, expected) in [
            (&["5"][..], Some("5")),
            (&["5", "5"], Some("5")),
            (&["5, 5"], Some("5")),
            (&["05"], Some("5")),
            (&["5", "6"], None),
            (&["5, 6"], None),
            (&["+5"], None),
            (&["-5"], None),
            (&["0x5"], None),
            (&["5_0"], None),
            (&[""], None),
            (&["5,"], None),
            (&["1 2"], None),
            (&["18446744073709551616"], None),
        ] {
            let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            let mut head = head(200, &fields);
            let checked = check_framing(&mut head, UnknownTransferCoding::Reject);
            match expected {
                Some(length) => {
                    assert_eq!(checked, Ok(()), "{values:?}");
                    let left: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
                    assert_eq!(left, [length]);
                }
                None => assert_eq!(checked, Err(ErrorKind::BadResponse), "{values:?}"),
            }
        }
    }

    #[test]
    fn transfer_codings_other_than_chunked_are_unknown() {
        use UnknownTransferCoding::{ReadToClose, Reject};
        for (values, known) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked", "chunked"], false),
            (&["chunked, identity"], false),
            (&["xchunked"], false),
            (&[""], false),
        ] {
            let fields: Vec<_> = values.iter().map(|value| ("transfer-encoding", *value)).collect();
            let unknown = Err(ErrorKind::UnknownTransferCoding);
            let expected = if known { Ok(()) } else { unknown };
            assert_eq!(check_framing(&mut head(200, &fields), Reject), expected, "{values:?}");
            assert_eq!(check_framing(&mut head(200, &fields), ReadToClose), Ok(()));
        }
        let both = [("transfer-encoding", "chunked"), ("content-length", "3")];
        assert_eq!(check_framing(&mut head(200, &both), Reject), Err(ErrorKind::BadResponse));
        assert_eq!(check_framing(&mut head(200, &both), ReadToClose), Err(ErrorKind::BadResponse));
    }

    #[test]
    fn a_204_has_no_framing() {
        let mut head = head(204, &[("content-length", "3")]);
        assert_eq!(check_framing(&mut head, UnknownTransferCoding::Reject), Ok(()));
        assert!(head.headers.is_empty());
    }

    #[test]
    fn only_a_status_is_one_and_only_a_protocol_that_was_asked_for_may_be_switched_to() {
        for (status, named, asked, granted) in [
            (101, Some("websocket"), Some("websocket"), true),
            (101, Some("WebSocket"), Some("h2c, websocket"), true),
            (101, Some("h2c"), Some("websocket"), false),
            (101, Some("websocket, h2c"), Some("websocket"), false),
            (101, None, Some("websocket"), false),
            (101, Some("websocket"), None, false),
            (200, Some("h2c"), None, true),
            (599, None, None, true),
            (600, None, None, false),
            (999, None, None, false),
        ] {
            let fields: Vec<_> = named.map(|named| ("upgrade", named)).into_iter().collect();
            let asked = asked.map(HeaderValue::from_static);
            let checked = check_status(&head(status, &fields), asked.as_ref());
            assert_eq!(checked.is_ok(), granted, "{status} {named:?} {asked:?}");
        }
    }

    #[test]
    fn an_origins_keep_alive_shortens_the_idle_time() {
        for (value, expected) in [
            (None, 4),
            (Some("timeout=5"), 4),
            (Some("timeout=3"), 2),
            (Some("Timeout = 3, max=100"), 2),
            (Some("timeout=\"2\""), 1),
            (Some("timeout=1"), 0),
            (Some("timeout=0"), 0),
            (Some("timeout=99, max=0"), 0),
            (Some("timeout=-1"), 4),
            (Some("timeout=99999999999999999999"), 4),
            (Some("nonsense"), 4),
        ] {
            let fields: Vec<_> = value.map(|value| ("keep-alive", value)).into_iter().collect();
            let kept = keep_for(&head(200, &fields), Duration::from_secs(4));
            assert_eq!(kept, Duration::from_secs(expected), "{value:?}");
        }
    }

    fn any_value() -> impl Strategy<Value = HeaderValue> {
        let text = prop_oneof![
            "[ -~]{0,20}",
            "[0-9+ ,]{0,12}",
            "(timeout|max) ?= ?\"?[0-9]{0,22}\"?[,;]? ?(timeout|max)?=?[0-9]{0,3}",
        ];
        text.prop_filter_map("a field value", |text| HeaderValue::from_str(&text).ok())
    }

    proptest! {
        #[test]
        fn no_keep_alive_lengthens_the_idle_time(value in any_value(), limit in 0..100_u64) {
            let mut head = head(200, &[]);
            head.headers.insert(KEEP_ALIVE, value);
            let limit = Duration::from_secs(limit);
            prop_assert!(keep_for(&head, limit) <= limit);
        }

        #[test]
        fn a_head_that_passes_has_at_most_one_length_and_it_is_digits(
            values in proptest::collection::vec(any_value(), 0..4),
        ) {
            let mut head = head(200, &[]);
            for value in values {
                head.headers.append(CONTENT_LENGTH, value);
            }
            if check_framing(&mut head, UnknownTransferCoding::Reject).is_ok() {
                let left: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
                prop_assert!(left.len() <= 1);
                let digits = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
                prop_assert!(left.into_iter().all(digits));
            }
        }
    }
}
