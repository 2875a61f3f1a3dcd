//! `Accept-Encoding` in classes, so that browsers do not split the cache (RFC 9110 §12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::headers::list_members;

/// A content coding that Seawall can make (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 8878, in the window that RFC 9659 asks for.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, for tables.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// Its name, as in `Content-Encoding`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// Members of the list that are read; a client that sends more is taken at its own word.
const MOST_MEMBERS: usize = 32;

/// What stands for a request's `Accept-Encoding`, towards the origin and for `Vary`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encodings {
    /// Itself.
    AsIs,
    /// Its class.
    #[default]
    Classes,
    /// `identity`, whatever it accepts: what comes plain can be encoded here, once for all.
    Identity,
}

impl Encodings {
    /// What stands for a request's field; `None` where the request is taken at its word.
    #[must_use]
    pub fn of(self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::AsIs => None,
            Self::Classes => class(request),
            Self::Identity => {
                Accepted::of(request).filter(|accepted| accepted.identity)?;
                Some(HeaderValue::from_static("identity"))
            }
        }
    }
}

/// The class of a request's `Accept-Encoding`: of brotli and zstd the first that it accepts, and
/// gzip if it accepts that, so that an origin which has only the latter need not send plain text;
/// `identity` if it accepts none of them. A client that accepts a class accepts all in it.
///
/// `None` where the request has to be taken at its word: it says nothing, or too much, or refuses
/// `identity`.
fn class(request: &HeaderMap) -> Option<HeaderValue> {
    if !request.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let accepted = Accepted::of(request).filter(|accepted| accepted.identity)?;
    let best = if accepted.br { Some("br") } else { accepted.zstd.then_some("zstd") };
    Some(HeaderValue::from_static(match (best, accepted.gzip) {
        (Some("br"), true) => "br, gzip",
        (Some("br"), false) => "br",
        (Some(_), true) => "zstd, gzip",
        (Some(_), false) => "zstd",
        (None, true) => "gzip",
        (None, false) => "identity",
    }))
}

/// Which of the codings that matter a request accepts.
#[expect(clippy::struct_excessive_bools, reason = "each is a coding")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    br: bool,
    zstd: bool,
    gzip: bool,
    identity: bool,
}

impl Accepted {
    pub(super) const fn has(self, coding: Coding) -> bool {
        match coding {
            Coding::Zstd => self.zstd,
            Coding::Br => self.br,
            Coding::Gzip => self.gzip,
        }
    }

    /// `None` if it says too much. One that says nothing accepts `identity`: RFC 9110 §12.5.3
    /// allows it anything, but clients that can't decode say nothing either.
    pub(super) fn of(request: &HeaderMap) -> Option<Self> {
        let (mut br, mut zstd, mut gzip, mut identity, mut rest) = (None, None, None, None, None);
        for (place, member) in list_members(request, &ACCEPT_ENCODING).enumerate() {
            if place == MOST_MEMBERS {
                return None;
            }
            let end = member.iter().position(|byte| *byte == b';').unwrap_or(member.len());
            let (coding, parameters) = (member[..end].trim_ascii(), &member[end..]);
            let slot = match () {
                () if coding.eq_ignore_ascii_case(b"br") => &mut br,
                () if coding.eq_ignore_ascii_case(b"zstd") => &mut zstd,
                () if coding.eq_ignore_ascii_case(b"gzip") => &mut gzip,
                () if coding.eq_ignore_ascii_case(b"x-gzip") => &mut gzip,
                () if coding.eq_ignore_ascii_case(b"identity") => &mut identity,
                () if coding == b"*" => &mut rest,
                () => continue,
            };
            // Said twice, it has to be accepted both times.
            *slot = Some(slot.unwrap_or(true) && !is_refused(parameters));
        }
        let accepted = |coding: Option<bool>| coding.or(rest).unwrap_or(false);
        Some(Self {
            br: accepted(br),
            zstd: accepted(zstd),
            gzip: accepted(gzip),
            identity: identity.or(rest).unwrap_or(true),
        })
    }
}

/// A weight of zero; one that can't be read counts as zero.
fn is_refused(parameters: &[u8]) -> bool {
    let mut weights = parameters.split(|byte| *byte == b';').filter_map(|parameter| {
        let parameter = parameter.trim_ascii();
        let (name, value) = parameter.split_at_checked(2)?;
        name.eq_ignore_ascii_case(b"q=").then_some(value)
    });
    weights.any(|value| {
        let weight = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f32>().ok());
        !weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::headers;

    fn class(value: &str) -> Option<String> {
        let class = super::class(&headers(&[("accept-encoding", value)]));
        class.map(|class| class.to_str().unwrap().to_owned())
    }

    #[test]
    fn browsers_share_a_class() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", Some("br, gzip")),
            ("gzip, deflate, br", Some("br, gzip")),
            ("BR;q=0.1, gzip ; q=1.0", Some("br, gzip")),
            ("gzip, deflate", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("zstd, gzip", Some("zstd, gzip")),
            ("br", Some("br")),
            ("zstd", Some("zstd")),
            ("*", Some("br, gzip")),
            ("*, br;q=0", Some("zstd, gzip")),
            ("br;q=0, gzip;q=0.0, deflate", Some("identity")),
            ("br, br;q=0", Some("identity")),
            ("br;q=x", Some("identity")),
            ("", Some("identity")),
            ("gzip, identity;q=0", None),
            ("gzip, *;q=0", None),
            ("identity, *;q=0", Some("identity")),
        ] {
            assert_eq!(class(value).as_deref(), expected, "{value}");
        }
        assert_eq!(super::class(&HeaderMap::new()), None);
        assert_eq!(class(&"a,".repeat(40)), None);
    }

    #[test]
    fn an_origin_that_is_asked_for_identity_is_told_so_by_all_who_accept_it() {
        let told = |fields: &[_]| Encodings::Identity.of(&headers(fields));
        for value in ["gzip, deflate, br, zstd", "identity", "", "br;q=0", "*;q=0, identity"] {
            let told = told(&[("accept-encoding", value)]);
            assert_eq!(told, Some(HeaderValue::from_static("identity")), "{value}");
        }
        assert_eq!(told(&[]), Some(HeaderValue::from_static("identity")));
        let many = "a,".repeat(40);
        for value in ["br, identity;q=0", "br, *;q=0", many.as_str()] {
            assert_eq!(told(&[("accept-encoding", value)]), None, "{value}");
        }
        assert_eq!(Encodings::AsIs.of(&headers(&[("accept-encoding", "br")])), None);
    }

    proptest! {
        /// The class of a class is itself, and nothing is in it that the request did not name.
        #[test]
        fn a_class_is_accepted_and_stable(
            codings in prop::collection::vec("(br|zstd|gzip|deflate|identity)(;q=(0|1|0\\.5))?", 0..5),
        ) {
            if let Some(class) = class(&codings.join(",")) {
                prop_assert_eq!(self::class(&class), Some(class.clone()));
                for coding in class.split(", ").filter(|coding| *coding != "identity") {
                    let refused = format!("{coding};q=0");
                    prop_assert!(codings.iter().any(|it| it.starts_with(coding)) && !codings.contains(&refused));
                }
            }
        }
    }
}
