//! `Accept-Language` against `Content-Language` (RFC 9110 §12.5.4, RFC 4647 §3.3.1).

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

use crate::headers::list_members;

/// Whether `language` is what the request likes best: it matches a range of the greatest weight
/// that the request gives.
pub(super) fn is_best(request: &HeaderMap, language: &[u8]) -> bool {
    let weights = || list_members(request, &ACCEPT_LANGUAGE).map(weighted);
    let Some(best) = weights().map(|(_, weight)| weight).max().filter(|&best| best > 0) else {
        return false;
    };
    weights().any(|(range, weight)| weight == best && matches(range, language))
}

/// A language range and its weight in thousandths; an unreadable weight is zero.
fn weighted(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let range = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    (range, weight.map_or(1000, thousandths))
}

/// A `qvalue` (RFC 9110 §12.4.2) in thousandths.
fn thousandths(weight: &[u8]) -> u16 {
    let text = std::str::from_utf8(weight).unwrap_or_default();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let readable = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => 1000,
        "0" if readable => format!("{decimals:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// Basic filtering: the range itself, or what is more specific.
fn matches(range: &[u8], language: &[u8]) -> bool {
    if range == b"*" {
        return true;
    }
    let Some((head, tail)) = language.split_at_checked(range.len()) else { return false };
    head.eq_ignore_ascii_case(range) && (tail.is_empty() || tail.starts_with(b"-"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_greatest_weight_decides() {
        for (accept, language, best) in [
            ("fr;q=0.5, de;q=1.0", "de", true),
            ("fr;q=0.5, de;q=1.0", "fr", false),
            ("fr;q=0.5, DE", "de-CH", true),
            ("de-CH", "de", false),
            ("*", "de", true),
            ("de;q=0", "de", false),
            ("de;q=x", "de", false),
            ("", "de", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(accept));
            assert_eq!(is_best(&headers, language.as_bytes()), best, "{accept} {language}");
        }
    }
}
