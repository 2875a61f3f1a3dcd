//! Entity tags of the copies that Seawall makes of a response in other codings.
//!
//! A strong tag names the bytes (RFC 9110 §8.8.3.3), so that a copy needs one of its own: the
//! origin's, with the coding and its level behind it: `"abc"` becomes `"abc-sw-br5"`. The level
//! makes other bytes. A weak tag is good for all codings and stays as it is.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::compression::accepted_by;
use super::encoding::Coding;
use super::validators::{EntityTag, tags};

/// Stands between the origin's tag and the coding. Other programs write `-gzip` or `--gzip`: what
/// ends so is an origin's own.
const MARK: &[u8] = b"-sw-";

impl EntityTag<'_> {
    /// The tag of a copy in `coding` and `level`; `None` for one that is good for all.
    #[must_use]
    pub fn coded(&self, coding: Coding, level: u8) -> Option<HeaderValue> {
        if self.weak {
            return None;
        }
        let (inner, quote) = unquoted_end(self.opaque);
        let level = level.to_string();
        let parts = [inner, MARK, coding.token().as_bytes(), level.as_bytes(), quote];
        HeaderValue::try_from(parts.concat()).ok()
    }
}

/// The origin's tag, and the coding, of a tag that [`EntityTag::coded`] made; `None` for any
/// other. One that was weakened on its way is seen through.
#[must_use]
pub fn origin_tag(tag: &[u8]) -> Option<(Vec<u8>, Coding)> {
    read(tag).map(|(restored, coding, _)| (restored, coding))
}

/// The same with the level.
fn read(tag: &[u8]) -> Option<(Vec<u8>, Coding, u8)> {
    let (inner, quote) = unquoted_end(tag);
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=2).contains(&digits) {
        return None;
    }
    let (inner, level) = inner.split_at(inner.len() - digits);
    let level = std::str::from_utf8(level).ok()?.parse().ok()?;
    let strip = |coding: Coding| {
        let rest = inner.strip_suffix(coding.token().as_bytes())?.strip_suffix(MARK)?;
        Some(([rest, quote].concat(), coding, level))
    };
    Coding::ALL.into_iter().find_map(strip)
}

/// Adds the origin's own tags to a client's preconditions that name copies: the origin knows no
/// others, and a client that has a copy holds what the origin's tag names. What the client says
/// stays, for an origin may have such tags of its own: another Seawall has.
///
/// `If-None-Match` is about what the origin would send (RFC 9110 §13.1.2): a copy in a coding that
/// the request does not accept is none of it, and a 304 would have it used all the same. With
/// `Range` only that field is changed: the bytes that such a client wants are not those that the
/// origin would send. `If-Range` is never changed, for the same reason: the origin does not know
/// the tag, and sends the whole.
pub fn add_origin_tags(request: &mut HeaderMap) {
    if request.contains_key(IF_NONE_MATCH) {
        let accepted = accepted_by(request);
        add(request, &IF_NONE_MATCH, |coding| accepted.is_some_and(|them| them.has(coding)));
    }
    if request.contains_key(IF_MATCH) && !request.contains_key(RANGE) {
        add(request, &IF_MATCH, |_| true);
    }
}

fn add(request: &mut HeaderMap, name: &HeaderName, counts: impl Fn(Coding) -> bool) {
    let restored = |tag: &[u8]| origin_tag(tag).filter(|(_, coding)| counts(*coding));
    let lines = request.get_all(name).iter();
    let sent: Vec<_> = lines.flat_map(|line| tags(line.as_bytes())).collect();
    let added: Vec<_> = sent.iter().filter_map(|tag| restored(tag)).map(|(tag, _)| tag).collect();
    if added.is_empty() {
        return;
    }
    let all: Vec<_> = sent.into_iter().chain(added.iter().map(Vec::as_slice)).collect();
    // What came in lines fits into one.
    if let Ok(value) = HeaderValue::try_from(all.join(&b", "[..])) {
        request.insert(name, value);
    }
}

/// Whether a request's preconditions, or its `If-Range`, name a tag (weak comparison).
#[must_use]
pub fn names_tag(request: &HeaderMap, tag: EntityTag<'_>) -> bool {
    [IF_NONE_MATCH, IF_MATCH, IF_RANGE].iter().any(|name| {
        let mut sent = request.get_all(name).iter().flat_map(|line| tags(line.as_bytes()));
        sent.any(|sent| tag.weakly_equals(sent))
    })
}

/// The copy of a response with `tag` that `If-None-Match` says the client has, in a coding that it
/// accepts: its coding, and the level it was made with.
#[must_use]
pub fn named_copy(request: &HeaderMap, tag: EntityTag<'_>) -> Option<(Coding, u8)> {
    let mut accepted = None;
    let lines = request.get_all(IF_NONE_MATCH).iter();
    lines.flat_map(|line| tags(line.as_bytes())).find_map(|sent| {
        let (restored, coding, level) = read(sent)?;
        let named = !tag.weak && tag.weakly_equals(&restored);
        let accepted = accepted.get_or_insert_with(|| accepted_by(request));
        let readable = accepted.is_some_and(|accepted| accepted.has(coding));
        (named && readable).then_some((coding, level))
    })
}

/// The tag by which a client knows what an origin calls `etag`: its own of a copy, where it asked
/// by that and not by the origin's. A 304 has to speak of what the client has (RFC 9111 §4.3.4).
#[must_use]
pub fn client_tag(request: &HeaderMap, etag: &HeaderValue) -> Option<HeaderValue> {
    let known = |tag: &[u8]| strong_part(tag) == strong_part(etag.as_bytes());
    let sent = || request.get_all(IF_NONE_MATCH).iter().flat_map(|line| tags(line.as_bytes()));
    if sent().any(known) {
        return None;
    }
    let accepted = accepted_by(request)?;
    let is_ours = |(restored, coding): (Vec<u8>, _)| known(&restored) && accepted.has(coding);
    let ours = sent().find(|tag| origin_tag(tag).is_some_and(is_ours))?;
    HeaderValue::from_bytes(ours).ok()
}

fn strong_part(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// A tag before its last quote, and that quote.
fn unquoted_end(tag: &[u8]) -> (&[u8], &[u8]) {
    let end = if tag.len() > 1 && tag.ends_with(b"\"") { tag.len() - 1 } else { tag.len() };
    tag.split_at(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::headers;

    fn tag(value: &str) -> EntityTag<'_> {
        EntityTag::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn a_strong_tag_becomes_one_of_its_own_and_a_weak_one_stays() {
        for (value, expected) in [
            ("\"a\"", Some("\"a-sw-br5\"")),
            ("\"\"", Some("\"-sw-br5\"")),
            ("a", Some("a-sw-br5")),
            ("\"", Some("\"-sw-br5")),
            ("W/\"a\"", None),
        ] {
            let coded = tag(value).coded(Coding::Br, 5);
            assert_eq!(coded.as_ref().map(|value| value.to_str().unwrap()), expected, "{value}");
        }
    }

    #[test]
    fn only_tags_of_copies_are_seen_through() {
        for (value, expected) in [
            ("\"a-sw-br5\"", Some(("\"a\"", Coding::Br))),
            ("W/\"a-sw-zstd19\"", Some(("W/\"a\"", Coding::Zstd))),
            ("\"-sw-gzip9\"", Some(("\"\"", Coding::Gzip))),
            ("\"a-sw-br\"", None),
            ("\"a-sw-br555\"", None),
            ("\"a-sw-br5x\"", None),
            ("\"a-sw-lz4\"", None),
            ("\"a-gzip\"", None),
            ("\"a--gzip\"", None),
            ("*", None),
            ("", None),
            ("\"", None),
        ] {
            let found = origin_tag(value.as_bytes());
            let found = found.map(|(tag, coding)| (String::from_utf8(tag).unwrap(), coding));
            let expected = expected.map(|(tag, coding)| (tag.to_owned(), coding));
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn the_origin_is_asked_by_its_own_tags() {
        let list = "\"x\", W/\"a,b-sw-br5\", \"c-sw-gzip6\"";
        let mut request = headers(&[
            ("accept-encoding", "br"),
            ("if-none-match", list),
            ("if-none-match", "\"d\""),
            ("if-match", "\"c-sw-gzip6\""),
            ("if-range", "\"c-sw-gzip6\""),
        ]);
        let mut part = request.clone();
        part.insert(RANGE, HeaderValue::from_static("bytes=1-2"));
        let mut plain = request.clone();
        plain.remove("accept-encoding");
        add_origin_tags(&mut request);
        let all = "\"x\", W/\"a,b-sw-br5\", \"c-sw-gzip6\", \"d\", W/\"a,b\"";
        assert_eq!(request["if-none-match"], all, "gzip is not accepted");
        assert_eq!(request["if-match"], "\"c-sw-gzip6\", \"c\"");
        assert_eq!(request["if-range"], "\"c-sw-gzip6\"");
        add_origin_tags(&mut part);
        assert_eq!(part["if-match"], "\"c-sw-gzip6\"", "a part of the copy is wanted");
        add_origin_tags(&mut plain);
        assert_eq!(plain["if-none-match"], list, "no coding is accepted");
        let plain = headers(&[
            ("accept-encoding", "*"),
            ("if-none-match", "\"a-gzip\" ,\"b\""),
            ("if-match", "*"),
        ]);
        let mut request = plain.clone();
        add_origin_tags(&mut request);
        assert_eq!(request, plain, "what is not ours is not touched");
    }

    /// RFC 9110 §13.1.2: what the client does not accept would not be sent to it.
    #[test]
    fn a_copy_is_named_by_who_accepts_it() {
        for (codings, expected) in [
            (Some("br"), Some((Coding::Br, 5))),
            (Some("gzip, *, zstd;q=0"), Some((Coding::Br, 5))),
            (Some("gzip"), None),
            (Some("br;q=0, zstd;q=0, *"), None),
            (None, None),
        ] {
            let mut request = headers(&[("if-none-match", "\"a-sw-zstd9\", \"a-sw-br5\"")]);
            request.extend(headers(
                &codings
                    .map(|codings| ("accept-encoding", codings))
                    .into_iter()
                    .collect::<Vec<_>>(),
            ));
            assert_eq!(named_copy(&request, tag("\"a\"")), expected, "{codings:?}");
            assert_eq!(named_copy(&request, tag("W/\"a\"")), None);
        }
    }

    #[test]
    fn a_304_speaks_of_what_the_client_has() {
        for (sent, etag, expected) in [
            ("\"a-sw-br5\"", "\"a\"", Some("\"a-sw-br5\"")),
            ("\"b\", \"a-sw-br5\"", "W/\"a\"", Some("\"a-sw-br5\"")),
            ("\"a\", \"a-sw-br5\"", "\"a\"", None),
            ("\"b-sw-br5\"", "\"a\"", None),
            ("\"a\"", "\"a\"", None),
        ] {
            let request = headers(&[("accept-encoding", "br"), ("if-none-match", sent)]);
            let found = client_tag(&request, &HeaderValue::from_str(etag).unwrap());
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), expected, "{sent}");
        }
        let request = headers(&[("if-none-match", "\"a-sw-br5\"")]);
        assert_eq!(client_tag(&request, &HeaderValue::from_static("\"a\"")), None);
    }

    proptest! {
        /// Whatever the origin's tag is: copies have other tags, each its own, and all lead back.
        #[test]
        fn tags_of_copies_differ_and_lead_back(
            inner in "[!#-~]{0,12}", quoted in any::<bool>(), level in 0..100_u8, other in 0..100_u8,
        ) {
            let value = if quoted { format!("\"{inner}\"") } else { format!("x{inner}") };
            let mut seen = vec![value.clone().into_bytes()];
            for coding in Coding::ALL {
                for level in [level, other] {
                    let coded = tag(&value).coded(coding, level).unwrap();
                    let back = origin_tag(coded.as_bytes());
                    prop_assert_eq!(back, Some((value.clone().into_bytes(), coding)));
                    let coded = coded.as_bytes().to_vec();
                    prop_assert!(!seen.contains(&coded) || level == other);
                    seen.push(coded);
                }
            }
        }

        #[test]
        fn any_list_keeps_its_tags_and_gets_the_origins(list in "[ -~]{0,40}(-sw-br5\")?[ -~]{0,20}") {
            let mut request = headers(&[("if-none-match", &list), ("if-match", &list)]);
            add_origin_tags(&mut request);
            let after: Vec<_> = tags(request["if-match"].as_bytes()).map(<[u8]>::to_vec).collect();
            let kept = tags(list.as_bytes()).all(|tag| after.contains(&tag.to_vec()));
            let named = tags(list.as_bytes()).filter_map(origin_tag);
            let mut named = named.map(|(tag, _)| tag.trim_ascii().to_vec());
            // Tags without quotes may be nothing but a mark.
            let added = named.all(|tag| tag.is_empty() || after.contains(&tag));
            // Where quotes are not paired, what is joined may be read otherwise.
            let paired = list.matches('"').count() % 2 == 0;
            prop_assert!(!paired || (kept && added), "{after:?}");
        }
    }
}
