//! Which tags and groups a response has.

mod label;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

pub use label::{Label, LabelError, Labels, TooManyTags};

use super::TagTemplate;
use crate::key::Target;
use crate::policy::{CACHE_GROUPS, group_names};
use label::Collected;

/// Where tags come from, and who sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRules {
    /// Response fields with tags between spaces.
    pub spaced: Vec<HeaderName>,
    /// Response fields with tags between commas.
    pub listed: Vec<HeaderName>,
    /// Whether `Cache-Groups` counts (RFC 9875).
    pub groups: bool,
    /// Tags that responses get here.
    pub add: Vec<TagTemplate>,
    /// Whether clients see the fields with tags.
    pub expose: bool,
}

impl Default for TagRules {
    fn default() -> Self {
        Self {
            spaced: ["surrogate-key", "xkey"].map(HeaderName::from_static).into(),
            listed: [HeaderName::from_static("cache-tag")].into(),
            groups: true,
            add: Vec::new(),
            expose: false,
        }
    }
}

impl TagRules {
    /// The tags and groups of a response to a request for `target`, of whose fields `lines` gives
    /// the values; `None` if it has none.
    ///
    /// # Errors
    /// When there are more than 4,096 of them, or one has more than 1,024 bytes.
    pub fn labels<'a, L: Iterator<Item = HeaderValue>>(
        &'a self,
        target: &Target,
        lines: impl Fn(&'a HeaderName) -> L,
    ) -> Result<Option<Labels>, TooManyTags> {
        let of = |names: &'a [HeaderName]| -> SmallVec<[HeaderValue; 4]> {
            names.iter().flat_map(&lines).collect()
        };
        let (spaced, listed) = (of(&self.spaced), of(&self.listed));
        let mut collected = Collected::default();
        for name in spaced.iter().flat_map(|line| tags(line.as_bytes(), b' ')) {
            collected.tag(name)?;
        }
        for name in listed.iter().flat_map(|line| tags(line.as_bytes(), b',')) {
            collected.tag(name)?;
        }
        if self.groups {
            for name in group_names(lines(&CACHE_GROUPS)) {
                collected.group(target, &name)?;
            }
        }
        for tag in self.add.iter().filter_map(|template| template.fill(target)) {
            collected.tag(tag.into_bytes())?;
        }
        Ok(Labels::new(collected))
    }

    /// Whether a response has fields that tags or groups are read from. Most have none, and then its
    /// stored lines need not be read for each of them.
    #[must_use]
    pub fn are_in(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| *name == CACHE_GROUPS || self.fields().any(|field| field == name))
    }

    /// Takes the fields that clients do not get out of a response.
    pub fn hide(&self, headers: &mut HeaderMap) {
        if !self.expose {
            for name in self.fields() {
                headers.remove(name);
            }
        }
    }

    /// The fields with tags, which clients get only where they are exposed. `Cache-Groups` is not
    /// among them: it is for every cache on the way.
    pub fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.spaced.iter().chain(&self.listed)
    }
}

/// The tags in a field's value, between `separator`s and without the space around them.
pub fn tags(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let is_between = move |byte: &u8| *byte == separator || (separator == b' ' && *byte == b'\t');
    value.split(is_between).map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::headers;

    fn labels(rules: &TagRules, fields: &HeaderMap) -> Result<Option<Labels>, TooManyTags> {
        let target = Target::parse("http://h/a/7").expect("a URL");
        rules.labels(&target, |name| fields.get_all(name).iter().cloned())
    }

    fn shown(rules: &TagRules, fields: &[(&str, &str)]) -> Vec<String> {
        let found = labels(rules, &headers(fields)).expect("few enough");
        let text = |label: &[u8]| String::from_utf8_lossy(label).into_owned();
        found.iter().flat_map(Labels::iter).map(text).collect()
    }

    #[test]
    fn tags_come_from_all_lines_of_all_fields_and_from_templates() {
        let add = vec![TagTemplate::parse("item:{path.2}").unwrap()];
        let rules = TagRules { add, ..TagRules::default() };
        let fields = [
            ("surrogate-key", "b  a,1\ta"),
            ("surrogate-key", "c"),
            ("xkey", "d"),
            ("cache-tag", "e f, g,,a"),
            ("cache-groups", "\"g\", \"h\";x"),
        ];
        let expected =
            ["a", "a,1", "b", "c", "d", "e f", "g", "http://h\ng", "http://h\nh", "item:7"];
        assert_eq!(shown(&rules, &fields), expected);
        let none = TagRules { spaced: Vec::new(), listed: Vec::new(), groups: false, ..rules };
        assert_eq!(shown(&none, &fields), ["item:7"]);
        assert!(labels(&TagRules::default(), &HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn more_than_are_kept_are_an_error() {
        let many = "a ".repeat(5000);
        assert_eq!(labels(&TagRules::default(), &headers(&[("xkey", &many)])), Err(TooManyTags));
    }

    #[test]
    fn clients_do_not_get_fields_with_tags_unless_they_are_to() {
        let all = headers(&[("surrogate-key", "a"), ("cache-tag", "b"), ("cache-groups", "\"g\"")]);
        for (expose, left) in [(false, 1), (true, 3)] {
            let mut fields = all.clone();
            TagRules { expose, ..TagRules::default() }.hide(&mut fields);
            assert_eq!(fields.len(), left);
            assert!(fields.contains_key(&CACHE_GROUPS));
        }
    }
}
