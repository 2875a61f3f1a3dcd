//! What a purge request says.

use serde::Deserialize;

use crate::key::Target;
use crate::rules::Label;
use crate::store::{Mode, Scope};

/// Things that one request may purge.
const MOST_SCOPES: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    kind: Option<Kind>,
    value: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    /// Whose groups.
    origin: Option<String>,
    #[serde(default)]
    mode: Wish,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Url,
    Prefix,
    Tag,
    Group,
    All,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wish {
    #[default]
    Soft,
    Hard,
}

/// Reads a purge request; the error says what is wrong, for the person who sent it.
pub(super) fn parse(text: &[u8]) -> Result<(Vec<Scope>, Mode), String> {
    let wanted: Wanted = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mode = match wanted.mode {
        Wish::Soft => Mode::Soft,
        Wish::Hard => Mode::Hard,
    };
    let scopes = wanted.lists()?.scopes()?;
    match scopes.len() {
        0 => Err("say what: `urls`, `prefixes`, `tags`, `groups`, or `kind`".to_owned()),
        1..=MOST_SCOPES => Ok((scopes, mode)),
        _ => Err(format!("these are more than {MOST_SCOPES}: send several requests")),
    }
}

/// What is to be purged, by kind.
#[derive(Default)]
struct Lists {
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    groups: Vec<String>,
    origin: Option<String>,
    all: bool,
}

impl Wanted {
    /// `kind` and `value` are a list of one.
    fn lists(self) -> Result<Lists, String> {
        let Self { kind, value, urls, prefixes, tags, groups, origin, .. } = self;
        let Some(kind) = kind else {
            return match value {
                Some(_) => Err("`value` needs a `kind`".to_owned()),
                None => Ok(Lists { urls, prefixes, tags, groups, origin, all: false }),
            };
        };
        if [urls, prefixes, tags, groups].iter().any(|list| !list.is_empty()) {
            return Err("`kind` and lists do not go together".to_owned());
        }
        let mut lists = Lists { origin, ..Lists::default() };
        match (kind, value) {
            (Kind::All, None) => lists.all = true,
            (Kind::All, Some(_)) => return Err("`all` takes no `value`".to_owned()),
            (Kind::Url, Some(url)) => lists.urls.push(url),
            (Kind::Prefix, Some(prefix)) => lists.prefixes.push(prefix),
            (Kind::Tag, Some(tag)) => lists.tags.push(tag),
            (Kind::Group, Some(group)) => lists.groups.push(group),
            (Kind::Url | Kind::Prefix, None) => {
                return Err("`url` and `prefix` need a `value`: an absolute URL".to_owned());
            }
            (Kind::Tag | Kind::Group, None) => {
                return Err("`tag` and `group` need a `value`: the name".to_owned());
            }
        }
        Ok(lists)
    }
}

impl Lists {
    fn scopes(self) -> Result<Vec<Scope>, String> {
        let mut scopes = Vec::new();
        for url in &self.urls {
            scopes.push(Scope::Url(normal(url)?));
        }
        for prefix in &self.prefixes {
            scopes.push(Scope::Prefix(normal(prefix)?));
        }
        for tag in &self.tags {
            let label = Label::tag(tag.as_bytes()).map_err(|error| format!("`{tag}`: {error}"))?;
            scopes.push(Scope::Label(label));
        }
        let origin = self.origin.as_deref().map(target).transpose()?;
        for group in &self.groups {
            let origin = origin.as_ref().ok_or("`groups` need their `origin`: an absolute URL")?;
            let label = Label::group(origin, group.as_bytes());
            scopes.push(Scope::Label(label.map_err(|error| format!("`{group}`: {error}"))?));
        }
        if self.all {
            scopes.push(Scope::All);
        }
        Ok(scopes)
    }
}

/// The URL as it stands in cache keys.
fn normal(url: &str) -> Result<String, String> {
    Ok(target(url)?.key().as_str().to_owned())
}

fn target(url: &str) -> Result<Target, String> {
    Target::parse(url).map_err(|error| format!("`{url}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> Scope {
        Scope::Label(Label::tag(name.as_bytes()).expect("a tag"))
    }

    #[test]
    fn urls_are_brought_into_the_keys_form() {
        let parsed = parse(br#"{"kind":"url","value":"HTTP://Shop.Example:80/a/../b?x"}"#);
        let url = || Scope::Url("http://shop.example/b?x".to_owned());
        assert_eq!(parsed, Ok((vec![url()], Mode::Soft)));
        let parsed = parse(br#"{"kind":"prefix","value":"https://a.example","mode":"hard"}"#);
        let prefix = Scope::Prefix("https://a.example/".to_owned());
        assert_eq!(parsed, Ok((vec![prefix], Mode::Hard)));
        assert_eq!(parse(br#"{"kind":"all"}"#), Ok((vec![Scope::All], Mode::Soft)));
        let parsed = parse(br#"{"urls":["http://shop.example/b?x"],"tags":["a","b"]}"#);
        assert_eq!(parsed, Ok((vec![url(), tag("a"), tag("b")], Mode::Soft)));
    }

    #[test]
    fn groups_are_those_of_an_origin() {
        let origin = Target::parse("http://a.example/").expect("a URL");
        let group = Scope::Label(Label::group(&origin, b"g").expect("a group"));
        let parsed = parse(br#"{"groups":["g"],"origin":"http://A.example:80/any","mode":"hard"}"#);
        assert_eq!(parsed, Ok((vec![group.clone()], Mode::Hard)));
        let parsed = parse(br#"{"kind":"group","value":"g","origin":"http://a.example"}"#);
        assert_eq!(parsed, Ok((vec![group], Mode::Soft)));
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let many = format!(r#"{{"tags":[{}"a"]}}"#, "\"a\",".repeat(MOST_SCOPES));
        for (text, word) in [
            (r#"{"kind":"url"}"#, "need a `value`"),
            (r#"{"kind":"url","value":"/path"}"#, "/path"),
            (r#"{"kind":"all","value":"x"}"#, "takes no"),
            (r#"{"kind":"tags","value":"x"}"#, "tags"),
            (r#"{"kind":"all","hard":true}"#, "hard"),
            (r#"{"kind":"all","tags":["a"]}"#, "together"),
            (r#"{"value":"a"}"#, "kind"),
            (r#"{"tags":[]}"#, "say what"),
            (r#"{"tags":[""]}"#, "empty"),
            (r#"{"tags":["a\nb"]}"#, "control"),
            (r#"{"groups":["a"]}"#, "origin"),
            (r#"{"groups":["a"],"origin":"a.example"}"#, "a.example"),
            (many.as_str(), "more than"),
            ("{}", "say what"),
            ("", "EOF"),
        ] {
            let fault = parse(text.as_bytes()).expect_err(text);
            assert!(fault.contains(word), "{fault}");
        }
    }
}
