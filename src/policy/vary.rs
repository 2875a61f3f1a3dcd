//! `Vary`: which requests a stored response answers (RFC 9111 §4.1).

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, HeaderName, VARY,
};
use smallvec::SmallVec;

use super::encoding::Encodings;
use super::language;
use super::overrides::Overrides;
use super::stored_head::StoredHead;
use crate::headers::{list_members, members};

/// Names that one `Vary` may list; with more it counts as `*`.
const MAX_NAMES: usize = 32;

/// Seeds fingerprints, so that clients can't make them collide.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A normal form on the stack.
type Normal = SmallVec<[u8; 128]>;

/// What a response's `Vary` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaryOutcome {
    /// No `Vary`: it answers every request.
    None,
    /// It answers requests that match.
    Key(VaryKey),
    /// `*` in some line, a name that can't be one, or too many: it answers no other request.
    Star,
}

/// The nominated fields with the values of the request that was answered, in normal form: lines
/// joined, empty members and blanks around commas gone. `Accept-Encoding`, whose members have no
/// order and no case, is sorted and in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaryKey {
    fields: Box<[Nominated]>,
    how: Comparison,
    /// Answers no request.
    never: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Nominated {
    name: HeaderName,
    /// `None`: absent from the request.
    value: Option<Box<[u8]>>,
}

impl Nominated {
    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

/// A request's values as they were asked for: the variants of a URL mostly nominate the same
/// fields, and to bring a value to its normal form is what takes time.
struct Asked<'a> {
    request: &'a HeaderMap,
    values: SmallVec<[(&'a HeaderName, Comparison, Option<Normal>); 1]>,
}

impl<'a> Asked<'a> {
    fn by(request: &'a HeaderMap) -> Self {
        Self { request, values: SmallVec::new() }
    }

    /// The request's value in normal form; `None` if it has no such field.
    fn value(&mut self, name: &'a HeaderName, how: Comparison) -> Option<&[u8]> {
        let is_it = |known: &(&HeaderName, Comparison, _)| known.1 == how && known.0 == name;
        let place = self.values.iter().position(is_it).unwrap_or_else(|| {
            self.values.push((name, how, normal_value(self.request, name, how)));
            self.values.len() - 1
        });
        self.values.get(place)?.2.as_deref()
    }
}

/// How values are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Comparison {
    /// `Accept-Language` without order and case as well.
    normalize_language: bool,
    /// `Accept-Encoding` by what stands for it.
    encodings: Encodings,
}

impl VaryKey {
    /// The fields that it names, with their values in the request as they are compared.
    pub fn nominated(&self) -> impl Iterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|field| (&field.name, field.value.as_deref()))
    }

    /// What a request has in the fields with these names, for a lookup elsewhere.
    #[must_use]
    pub fn for_request(
        mut names: Vec<HeaderName>,
        request: &HeaderMap,
        overrides: &Overrides,
    ) -> Self {
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let how = Comparison {
            normalize_language: overrides.normalize_accept_language,
            encodings: overrides.encodings,
        };
        Self::compared(names, request, how)
    }

    fn compared(names: Vec<HeaderName>, request: &HeaderMap, how: Comparison) -> Self {
        let nominated = names.into_iter().map(|name| {
            let value = normal_value(request, &name, how);
            Nominated { value: value.map(|value| value.as_slice().into()), name }
        });
        Self { fields: nominated.collect(), how, never: false }
    }

    /// Reads all lines of `Vary`, and from the request what they name.
    #[must_use]
    pub fn parse(response: &HeaderMap, request: &HeaderMap, overrides: &Overrides) -> VaryOutcome {
        let Some(names) = nominated(response) else { return VaryOutcome::Star };
        if names.is_empty() {
            return VaryOutcome::None;
        }
        let mut key = Self::for_request(names.into_vec(), request, overrides);
        // It was encoded although it should not have been: not for those who can't read it.
        if key.how.encodings == Encodings::Identity && response.contains_key(CONTENT_ENCODING) {
            let how = Comparison { encodings: Encodings::Classes, ..key.how };
            let names = key.names().cloned().collect();
            key = Self::compared(names, request, how);
        }
        VaryOutcome::Key(key)
    }

    /// A key that answers no request.
    pub(super) fn never() -> Self {
        Self { fields: Box::default(), how: Comparison::default(), never: true }
    }

    /// Whether a request has the same values (RFC 9111 §4.1); absent equals absent.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.is_met(&mut Asked::by(request))
    }

    fn is_met<'a>(&'a self, asked: &mut Asked<'a>) -> bool {
        let matches = |field: &'a Nominated| asked.value(&field.name, self.how) == field.value();
        !self.never && self.fields.iter().all(matches)
    }

    /// Names the variant that this key's own request selects. Stable within the process only; two
    /// variants may share a fingerprint, so [`VaryKey::matches`] has the last word.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.hash(|field| field.value.as_deref().map(Normal::from_slice))
    }

    /// Names the variant that another request selects by the same fields.
    #[must_use]
    pub fn fingerprint_for(&self, request: &HeaderMap) -> u64 {
        self.hash(|field| normal_value(request, &field.name, self.how))
    }

    /// The nominated names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|field| &field.name)
    }

    /// Bytes on the heap, for the budget.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let own = |field: &Nominated| {
            field.name.as_str().len() + field.value.as_ref().map_or(0, |value| value.len())
        };
        self.fields.iter().map(|field| size_of::<Nominated>() + own(field)).sum()
    }

    /// All fields match but `Accept-Language`, which has to be among them.
    fn matches_but_language<'a>(&'a self, asked: &mut Asked<'a>) -> bool {
        let is_language = |field: &&Nominated| field.name == ACCEPT_LANGUAGE;
        let mut others = self.fields.iter().filter(|field| !is_language(field));
        let matches = |field: &'a Nominated| asked.value(&field.name, self.how) == field.value();
        self.fields.iter().any(|field| is_language(&field)) && others.all(matches)
    }

    fn hash(&self, value_of: impl Fn(&Nominated) -> Option<Normal>) -> u64 {
        let mut hasher = SEED.build_hasher();
        for field in &self.fields {
            hasher.write(field.name.as_str().as_bytes());
            match value_of(field) {
                None => hasher.write_u8(0),
                Some(value) => {
                    hasher.write_u8(1);
                    hasher.write_usize(value.len());
                    hasher.write(&value);
                }
            }
        }
        hasher.finish()
    }
}

/// The names in all lines of `Vary`, each once; `None` if they amount to `*`.
pub(super) fn nominated(response: &HeaderMap) -> Option<SmallVec<[HeaderName; 4]>> {
    let mut names = SmallVec::new();
    for member in list_members(response, &VARY) {
        // `*` has the syntax of a name, but no request could carry it.
        let name = HeaderName::from_bytes(member).ok().filter(|_| member != b"*")?;
        if !names.contains(&name) {
            if names.len() == MAX_NAMES {
                return None;
            }
            names.push(name);
        }
    }
    Some(names)
}

/// Chooses among stored responses the one to use for a request: of those that match the most
/// recent, by `Date` (RFC 9111 §4.1). With `normalize_accept_language`, where none matches, one
/// whose `Content-Language` is what the request likes best.
///
/// Gives its place among the candidates.
#[must_use]
pub fn select<'a>(
    candidates: impl Iterator<Item = &'a StoredHead>,
    request: &'a HeaderMap,
    overrides: &Overrides,
) -> Option<usize> {
    let mut asked = Asked::by(request);
    let rank = |(place, stored): (usize, &'a StoredHead)| {
        let exact = stored.vary().is_none_or(|vary| vary.is_met(&mut asked));
        let usable = exact || speaks_best_language(stored, &mut asked, overrides);
        usable.then(|| (exact, stored.date(), stored.response_at(), place))
    };
    candidates.enumerate().filter_map(rank).max().map(|(.., place)| place)
}

fn speaks_best_language<'a>(
    stored: &'a StoredHead,
    asked: &mut Asked<'a>,
    overrides: &Overrides,
) -> bool {
    let mut selected = || {
        let vary = stored.vary().filter(|vary| vary.matches_but_language(asked))?;
        let language = stored.get(&CONTENT_LANGUAGE)?;
        Some(!vary.never && language::is_best(asked.request, language.as_bytes()))
    };
    overrides.normalize_accept_language && selected().unwrap_or(false)
}

/// A request's value in normal form; `None` if it has no such field.
fn normal_value(request: &HeaderMap, name: &HeaderName, how: Comparison) -> Option<Normal> {
    if name == ACCEPT_ENCODING
        && let Some(told) = how.encodings.of(request)
    {
        return Some(Normal::from_slice(told.as_bytes()));
    }
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let unordered = name == ACCEPT_ENCODING || (how.normalize_language && name == ACCEPT_LANGUAGE);
    let mut normal = Normal::new();
    if unordered {
        push_sorted(&mut normal, lines.flat_map(|line| members(line.as_bytes())));
    } else {
        lines
            .flat_map(|line| members(line.as_bytes()))
            .for_each(|member| push(&mut normal, member));
    }
    Some(normal)
}

fn push(normal: &mut Normal, member: &[u8]) {
    if !normal.is_empty() {
        normal.push(b',');
    }
    normal.extend_from_slice(member);
}

/// In lower case, without blanks, in order.
fn push_sorted<'a>(normal: &mut Normal, list: impl Iterator<Item = &'a [u8]>) {
    let plain = |member: &[u8]| -> SmallVec<[u8; 16]> {
        let visible = member.iter().filter(|byte| !byte.is_ascii_whitespace());
        visible.map(u8::to_ascii_lowercase).collect()
    };
    let mut sorted: SmallVec<[SmallVec<[u8; 16]>; 8]> = list.map(plain).collect();
    sorted.sort_unstable();
    sorted.iter().for_each(|member| push(normal, member));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::testing::{AT_ONCE, get, headers};
    use http::StatusCode;

    fn languages() -> Overrides {
        Overrides { normalize_accept_language: true, ..Overrides::default() }
    }

    fn key(vary: &str, request: &[(&str, &str)], overrides: &Overrides) -> VaryKey {
        match VaryKey::parse(&headers(&[("vary", vary)]), &headers(request), overrides) {
            VaryOutcome::Key(key) => key,
            other => panic!("{other:?}"),
        }
    }

    /// RFC 9111 §4.1.
    #[test]
    fn nominated_fields_match_or_are_absent_from_both() {
        let plain = Overrides::default();
        let key = key("Foo, bar", &[("foo", "1"), ("other", "2")], &plain);
        for (request, expected) in [
            (&[("foo", "1")][..], true),
            (&[("foo", "1"), ("other", "3")], true),
            (&[("foo", "2")], false),
            (&[], false),
            (&[("foo", "1"), ("bar", "")], false),
            (&[("foo", "1"), ("foo", "1")], false),
        ] {
            let request = headers(request);
            assert_eq!(key.matches(&request), expected, "{request:?}");
            assert_eq!(key.fingerprint() == key.fingerprint_for(&request), expected);
        }
    }

    #[test]
    fn normal_forms() {
        let plain = Overrides::default();
        for (name, one, other, same) in [
            ("foo", "1,2", " 1, 2 ", true),
            ("foo", "1, 2", "2, 1", false),
            ("foo", "a", "A", false),
            ("foo", "\"a, b\"", "\"a,b\"", false),
            ("accept-encoding", "gzip, BR;q=1", "br; q=1,gzip", true),
            ("accept-language", "en, de", " en ,   de", true),
            ("accept-language", "en, de", "de, en", false),
            ("accept-language", "en", "EN", false),
        ] {
            let found = key(name, &[(name, one)], &plain).matches(&headers(&[(name, other)]));
            assert_eq!(found, same, "{name}: {one} / {other}");
        }
        let joined = key("foo", &[("foo", "1, 2")], &plain);
        assert!(joined.matches(&headers(&[("foo", "1"), ("foo", "2")])));
        let language = key("accept-language", &[("accept-language", "en, de")], &languages());
        assert!(language.matches(&headers(&[("accept-language", "De,eN")])));
    }

    /// An origin that encodes what it was asked for plain must not have it read by everybody.
    #[test]
    fn what_is_plain_answers_all_encodings_and_what_is_not_those_of_its_class() {
        let identity = Overrides { encodings: Encodings::Identity, ..Overrides::default() };
        let vary = ("vary", "accept-encoding");
        let browser = headers(&[("accept-encoding", "gzip, br")]);
        for (fields, others) in
            [(&[vary][..], true), (&[vary, ("content-encoding", "gzip")], false)]
        {
            let parsed = VaryKey::parse(&headers(fields), &browser, &identity);
            let VaryOutcome::Key(key) = parsed else { panic!("{parsed:?}") };
            assert!(key.matches(&browser));
            assert_eq!(key.matches(&HeaderMap::new()), others);
            assert_eq!(key.matches(&headers(&[("accept-encoding", "gzip")])), others);
            assert_eq!(key.fingerprint() == key.fingerprint_for(&HeaderMap::new()), others);
        }
    }

    #[test]
    fn star_on_any_line_and_too_many_names() {
        let parse =
            |fields: &[_]| VaryKey::parse(&headers(fields), &HeaderMap::new(), &languages());
        assert_eq!(parse(&[]), VaryOutcome::None);
        assert_eq!(parse(&[("vary", " ,")]), VaryOutcome::None);
        assert_eq!(parse(&[("vary", "a"), ("vary", "b, *")]), VaryOutcome::Star);
        let many = (0..=MAX_NAMES).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&[("vary", &many)]), VaryOutcome::Star);
        assert!(!VaryKey::never().matches(&HeaderMap::new()));
    }

    fn candidate(
        request: &[(&str, &str)],
        fields: &[(&str, &str)],
        overrides: &Overrides,
    ) -> StoredHead {
        let request = headers(request);
        StoredHead::new(&get(&request), StatusCode::OK, &headers(fields), AT_ONCE, overrides)
    }

    #[test]
    fn the_most_recent_match_is_selected() {
        let plain = Overrides::default();
        let vary = ("vary", "foo");
        let old = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        let new = ("date", "Sun, 06 Nov 1994 08:49:31 GMT");
        let stored = [
            candidate(&[("foo", "1")], &[vary, new], &plain),
            candidate(&[("foo", "1")], &[vary, old], &plain),
            candidate(&[("foo", "2")], &[vary, old], &plain),
        ];
        let select = |value| select(stored.iter(), &headers(&[("foo", value)]), &plain);
        assert_eq!((select("1"), select("2"), select("3")), (Some(0), Some(2), None));
    }

    #[test]
    fn the_best_language_is_selected_where_configured() {
        let fields = [("vary", "accept-language, foo"), ("content-language", "de")];
        for (overrides, expected) in [(languages(), Some(0)), (Overrides::default(), None)] {
            let stored = [candidate(&[("accept-language", "en, de")], &fields, &overrides)];
            let select = |request: &[_]| select(stored.iter(), &headers(request), &overrides);
            let german = ("accept-language", "fr;q=0.5, de;q=1.0");
            assert_eq!(select(&[german]), expected);
            assert_eq!(select(&[german, ("foo", "1")]), None);
            assert_eq!(select(&[("accept-language", "fr, de;q=0.5")]), None);
        }
    }

    proptest! {
        #[test]
        fn what_was_asked_for_before_changes_no_match(
            variants in prop::collection::vec(
                (0_usize..4, "a|b|gzip, BR|br,gzip|en, de", any::<bool>()),
                0..12,
            ),
            values in prop::collection::vec(prop::option::of("a|b|gzip, BR|br,gzip|de ,en"), 3),
        ) {
            const NAMES: [&str; 3] = ["x", "accept-encoding", "accept-language"];
            let list = ["x", "accept-encoding", "accept-encoding, x", "accept-language, x"];
            let told = |values: &[Option<String>]| {
                let fields = NAMES.iter().zip(values);
                let fields: Vec<_> =
                    fields.filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
                headers(&fields)
            };
            let keys: Vec<_> = variants.iter().map(|(vary, value, normalized)| {
                let request = told(&vec![Some(value.clone()); 3]);
                let how = if *normalized { languages() } else { Overrides::default() };
                let response = headers(&[("vary", list[*vary])]);
                VaryKey::parse(&response, &request, &how)
            }).collect();
            let request = told(&values);
            let mut asked = Asked::by(&request);
            for key in &keys {
                let VaryOutcome::Key(key) = key else { panic!("{key:?}") };
                let own = |field: &Nominated| {
                    normal_value(&request, &field.name, key.how).as_deref() == field.value()
                };
                prop_assert_eq!(key.is_met(&mut asked), key.fields.iter().all(own));
            }
        }

        #[test]
        fn any_bytes_never_panic_and_a_request_matches_itself(
            vary in prop::collection::vec(any::<u8>(), 0..24),
            value in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            let (mut response, mut request) = (HeaderMap::new(), HeaderMap::new());
            for (map, name, bytes) in [(&mut response, VARY, vary), (&mut request, ACCEPT_ENCODING, value)] {
                if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                    map.append(name, value);
                }
            }
            response.append(VARY, http::HeaderValue::from_static("accept-encoding"));
            if let VaryOutcome::Key(key) = VaryKey::parse(&response, &request, &languages()) {
                prop_assert!(key.matches(&request));
                prop_assert_eq!(key.fingerprint(), key.fingerprint_for(&request));
            }
        }
    }
}
