//! Which query parameters make a difference.

use std::borrow::Cow;

use super::pattern::Text;

/// Parameters that tell where a visitor came from and change nothing of the page; `*` ends a
/// prefix.
const TRACKING: &[&str] = &[
    "utm_*",
    "mtm_*",
    "pk_*",
    "piwik_*",
    "matomo_*",
    "hsa_*",
    "oly_*",
    "fbclid",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    "msclkid",
    "yclid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "igshid",
    "igsh",
    "epik",
    "rdt_cid",
    "sccid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "__hstc",
    "__hssc",
    "__hsfp",
    "hsCtaTracking",
    "vero_id",
    "vero_conv",
    "wickedid",
    "s_kwcid",
    "ef_id",
    "rb_clickid",
    "ml_subscriber",
    "ml_subscriber_hash",
    "ns_mchannel",
];

/// What of a query counts. The default keeps it byte by byte.
#[derive(Clone, Debug, Default)]
pub struct QueryRules {
    /// Nothing of it counts.
    pub ignore: bool,
    /// Only these parameters count; empty for all.
    pub keep: Vec<Text>,
    /// These do not count, even if they are kept above.
    pub drop: Vec<Text>,
    /// Well-known parameters of advertising and analytics do not count.
    pub drop_tracking: bool,
    /// The order of names does not count; values of one name keep theirs.
    pub sort: bool,
}

impl QueryRules {
    /// Whether every query stays as it is.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        !self.ignore
            && self.keep.is_empty()
            && self.drop.is_empty()
            && !self.drop_tracking
            && !self.sort
    }

    /// Whether parameters of this name count.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.ignore && self.counts(name)
    }

    /// What counts of a query, without its question mark; `None` if nothing is left.
    #[must_use]
    pub fn apply<'a>(&self, query: &'a str) -> Option<Cow<'a, str>> {
        if self.ignore {
            return None;
        }
        let pairs = || query.split('&');
        if !self.sort && pairs().all(|pair| self.counts(pair)) {
            return Some(Cow::Borrowed(query));
        }
        let mut kept: Vec<_> = pairs().filter(|pair| self.counts(pair)).collect();
        if self.sort {
            // Stable: what several values of one name mean may depend on their order.
            kept.sort_by_key(|pair| name(pair));
        }
        (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
    }

    fn counts(&self, pair: &str) -> bool {
        let name = name(pair);
        let named = |texts: &[Text]| texts.iter().any(|text| text.matches(name.as_bytes()));
        (self.keep.is_empty() || named(&self.keep))
            && !named(&self.drop)
            && !(self.drop_tracking && tracks(name))
    }
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn tracks(name: &str) -> bool {
    TRACKING.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn globs(globs: &[&str]) -> Vec<Text> {
        globs.iter().map(|glob| Text::glob(glob).unwrap()).collect()
    }

    #[test]
    fn what_counts_of_a_query() {
        let none = QueryRules::default();
        let drop = QueryRules { drop: globs(&["session*", "x"]), ..QueryRules::default() };
        let keep = QueryRules { keep: globs(&["page", "q"]), ..QueryRules::default() };
        let tracking = QueryRules { drop_tracking: true, ..QueryRules::default() };
        let sort = QueryRules { sort: true, ..QueryRules::default() };
        for (rules, query, expected) in [
            (&none, "b=2&&a=1", Some("b=2&&a=1")),
            (&drop, "x=1&a=2&sessionid=3&x", Some("a=2")),
            (&drop, "x", None),
            (&keep, "q=a&page=2&order=up", Some("q=a&page=2")),
            (&tracking, "utm_source=a&id=7&gclid=x&utm=1", Some("id=7&utm=1")),
            (&sort, "b=2&a=9&b=1&a=3", Some("a=9&a=3&b=2&b=1")),
            (&QueryRules { ignore: true, ..QueryRules::default() }, "a=1", None),
        ] {
            assert_eq!(rules.apply(query).as_deref(), expected, "{query}");
        }
        assert!(none.is_identity() && !sort.is_identity());
    }

    proptest! {
        #[test]
        fn applying_twice_changes_nothing_more(
            query in "[ab=&_utm]{0,24}",
            sort: bool,
            drop_tracking: bool,
        ) {
            let drop = globs(&["b*"]);
            let rules = QueryRules { drop, drop_tracking, sort, ..QueryRules::default() };
            if let Some(once) = rules.apply(&query) {
                prop_assert_eq!(rules.apply(&once), Some(once.clone()));
            }
        }
    }
}
