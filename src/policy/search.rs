//! What of a query makes a difference, as `No-Vary-Search` says it
//! (draft-ietf-httpbis-no-vary-search).

use http::HeaderName;
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

/// `No-Vary-Search`: a response's word on which parts of the query it does not depend.
pub static NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// Bytes that a field may have, over all its lines, and names that it may list. One with more
/// counts as invalid: it is remembered for its path.
const MAX_BYTES: usize = 2048;
const MAX_NAMES: usize = 128;

/// A "URL variation config" other than the default one, by which every byte of a query counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchVariation {
    listed: Listed,
    /// Names in ascending order, each once, decoded.
    names: Vec<String>,
    /// Whether the order of names counts.
    ordered: bool,
}

/// What it means for a name to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// These do not count, all others do.
    Ignored,
    /// These count, all others do not.
    Counted,
}

impl SearchVariation {
    /// What the field's lines say together. `None` where there are none, where they are not what
    /// the draft asks for (then they count for nothing), or where they say that all counts.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Option<Self> {
        let mut text = Vec::new();
        for line in lines {
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            text.extend_from_slice(line.as_ref());
            if text.len() > MAX_BYTES {
                return None;
            }
        }
        if text.is_empty() {
            return None;
        }
        let said = Parser::new(&text).parse::<Dictionary>().ok()?;
        let ordered = match said.get("key-order") {
            None => true,
            Some(entry) => !boolean(entry)?,
        };
        let (listed, names) = match (said.get("params"), said.get("except")) {
            (Some(_), Some(_)) => return None,
            (Some(params), None) => (Listed::Ignored, names(params)?),
            (None, Some(except)) => (Listed::Counted, names(except)?),
            // `key-order` may stand alone.
            (None, None) => (Listed::Ignored, Vec::new()),
        };
        let variation = Self { listed, names, ordered };
        (!variation.is_default()).then_some(variation)
    }

    /// The one query that stands for all that are equivalent to `query`, which is without its
    /// question mark; `None` where no parameter is left, as without a query.
    ///
    /// Parameters are read as `application/x-www-form-urlencoded`, as the draft compares them.
    #[must_use]
    pub fn normal_form(&self, query: Option<&str>) -> Option<String> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut pairs: Vec<_> = pairs.filter(|(name, _)| self.counts(name)).collect();
        if !self.ordered {
            // Stable: values of one name keep their order, which counts.
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let mut normal = form_urlencoded::Serializer::new(String::new());
        normal.extend_pairs(pairs);
        Some(normal.finish()).filter(|normal| !normal.is_empty())
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.names.iter().map(|name| size_of::<String>() + name.len()).sum()
    }

    fn counts(&self, name: &str) -> bool {
        let is_listed = self.names.binary_search_by(|listed| listed.as_str().cmp(name)).is_ok();
        match self.listed {
            Listed::Ignored => !is_listed,
            Listed::Counted => is_listed,
        }
    }

    fn is_default(&self) -> bool {
        self.listed == Listed::Ignored && self.names.is_empty() && self.ordered
    }
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => item.bare_item.as_boolean(),
        ListEntry::InnerList(_) => None,
    }
}

/// An inner list of strings, each decoded as the parameters of a query are.
fn names(entry: &ListEntry) -> Option<Vec<String>> {
    let ListEntry::InnerList(InnerList { items, .. }) = entry else { return None };
    if items.len() > MAX_NAMES {
        return None;
    }
    let decoded = items.iter().map(|item| match &item.bare_item {
        BareItem::String(name) => Some(decode(name.as_str())),
        _ => None,
    });
    let mut names: Vec<String> = decoded.collect::<Option<_>>()?;
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// "Parse a key": a plus sign is a space, and what is percent-encoded is UTF-8.
fn decode(key: &str) -> String {
    let bytes = key.replace('+', " ");
    percent_encoding::percent_decode_str(&bytes).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(field: &str) -> Option<SearchVariation> {
        SearchVariation::parse([field])
    }

    fn same(field: &str, one: Option<&str>, other: Option<&str>) -> bool {
        let variation = parse(field).expect("a variation");
        variation.normal_form(one) == variation.normal_form(other)
    }

    /// The draft's examples of what is invalid, or says nothing.
    #[test]
    fn what_says_nothing_or_nothing_valid_is_no_variation() {
        for field in [
            "",
            "key-order=\"not a boolean\"",
            "params=\"not an inner list\"",
            "params=(not-a-string)",
            "params=?0",
            "params",
            "params=?1",
            "params=?1, except=(\"x\")",
            "params=(\"a\"), except=(\"x\")",
            "params=(), except=()",
            "except=\"not an inner list\"",
            "except=(not-a-string)",
            "except",
            "params=()",
            "key-order=?0",
            "unknown",
            "params=(\"a\"",
            "params=(\"\u{e9}\")",
            "key-order=1, params=(\"a\")",
        ] {
            assert_eq!(parse(field), None, "{field}");
        }
        let long = format!("params=(\"{}\")", "a".repeat(MAX_BYTES));
        let many = format!("params=({})", "\"a\" ".repeat(MAX_NAMES + 1));
        assert_eq!((parse(&long), parse(&many)), (None, None));
        assert_eq!(SearchVariation::parse(<[&str; 0]>::default()), None);
    }

    /// The draft's examples, and the same said in other words.
    #[test]
    fn what_is_said_in_other_words_is_the_same() {
        for (one, other) in [
            ("key-order", "key-order=?1"),
            ("except=(\"x\"), key-order", "key-order, except=(\"x\")"),
            ("params=(\"a\" \"b\")", "params=(\"b\" \"a\" \"b\");p=1, later=(1 2)"),
            ("params=(\"%61+b\")", "params=(\"a b\")"),
            ("params=(\"a\"), params=(\"b\")", "params=(\"b\")"),
        ] {
            assert!(parse(one).is_some() && parse(one) == parse(other), "{one}");
        }
        let lines = SearchVariation::parse(["key-order", "except=(\"x\")"]);
        assert_eq!(lines, parse("key-order, except=(\"x\")"));
    }

    /// The draft's table of equivalences, by any variation.
    #[test]
    fn queries_are_compared_as_forms_are() {
        for (one, other) in [
            (None, Some("")),
            (Some("a=x"), Some("%61=%78")),
            (Some("a=%C3%A9"), Some("a=%c3%a9")),
            (Some("a=%f6"), Some("a=%ef%bf%bd")),
            (Some("a=x&&&&"), Some("a=x")),
            (Some("a="), Some("a")),
            (Some("a=%20"), Some("a=+&")),
        ] {
            for field in ["key-order", "params=(\"z\")", "except=(\"a\")"] {
                assert!(same(field, one, other), "{field}: {one:?} {other:?}");
            }
        }
        assert!(!same("key-order", Some("a=x"), Some("a=X")));
        assert!(!same("key-order", Some("a=1&a=2"), Some("a=2&a=1")));
    }

    #[test]
    fn what_counts_is_kept_and_the_rest_is_not() {
        for (field, query, normal) in [
            ("params=(\"a\")", "a=1&b=2&%61=3", Some("b=2")),
            ("params=(\"a\")", "a=1", None),
            ("params=(\"\")", "=1&b=2", Some("b=2")),
            ("except=(\"b\")", "a=1&b=2", Some("b=2")),
            ("except=()", "a=1&b=2", None),
            ("key-order", "b=2&a=1&b=1", Some("a=1&b=2&b=1")),
            ("key-order, except=(\"a\" \"b\")", "c&b=2&a=1", Some("a=1&b=2")),
            ("params=(\"%C3%A9+%E6%B0%97\")", "%C3%A9%20%e6%b0%97=3&a=1", Some("a=1")),
            ("params=(\"x\")", "a=%26%3D%2b", Some("a=%26%3D%2B")),
        ] {
            let variation = parse(field).expect("a variation");
            assert_eq!(variation.normal_form(Some(query)).as_deref(), normal, "{field} {query}");
        }
    }

    /// The draft's algorithm, step by step: it compares two lists instead of making one text.
    fn equivalent(variation: &SearchVariation, one: &str, other: &str) -> bool {
        let pairs = |query: &str| {
            let mut pairs: Vec<(String, String)> =
                form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            match variation.listed {
                Listed::Ignored => pairs.retain(|(name, _)| !variation.names.contains(name)),
                Listed::Counted => pairs.retain(|(name, _)| variation.names.contains(name)),
            }
            if !variation.ordered {
                pairs.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            }
            pairs
        };
        pairs(one) == pairs(other)
    }

    fn query() -> impl Strategy<Value = String> {
        let pieces = ["a", "b", "%61", "=", "&", "&", "+", "%20", "%ff", "%C3%A9", "c", "1", "%"];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..9)
            .prop_map(|pieces| pieces.concat())
    }

    fn variation() -> impl Strategy<Value = SearchVariation> {
        let name = prop::sample::select(vec!["a", "b", "", "c", "a b", "\u{e9}", "\u{fffd}"]);
        let names = prop::collection::btree_set(name, 0..4);
        (any::<bool>(), names, any::<bool>()).prop_map(|(ignored, names, ordered)| {
            let listed = if ignored { Listed::Ignored } else { Listed::Counted };
            let names = names.into_iter().map(str::to_owned).collect();
            SearchVariation { listed, names, ordered }
        })
    }

    proptest! {
        #[test]
        fn equivalent_queries_and_only_these_have_one_normal_form(
            variation in variation(), one in query(), other in query(),
        ) {
            let alike = variation.normal_form(Some(&one)) == variation.normal_form(Some(&other));
            prop_assert_eq!(alike, equivalent(&variation, &one, &other));
        }

        #[test]
        fn a_normal_form_is_its_own(variation in variation(), query in query()) {
            let normal = variation.normal_form(Some(&query));
            prop_assert_eq!(variation.normal_form(normal.as_deref()), normal);
        }

        #[test]
        fn any_field_and_query_never_panic(field in ".{0,40}", query in ".{0,40}") {
            if let Some(variation) = parse(&field) {
                let _ = variation.normal_form(Some(&query));
            }
        }
    }
}
