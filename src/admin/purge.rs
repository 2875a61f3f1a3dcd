//! What a purge request says.

use std::time::Duration;

use serde::Deserialize;

use crate::key::Target;
use crate::store::{Mode, Scope};

/// Things that one request may purge.
const MOST_SCOPES: usize = 4096;

/// How long a purge may wait for the fleet, and does if nothing is said, in seconds.
const MOST_WAIT: u64 = 300;
const USUAL_WAIT: u64 = 10;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) struct Order {
    pub(super) scopes: Vec<Scope>,
    pub(super) mode: Mode,
    /// How long to wait for every node to have done it; not at all without.
    pub(super) wait: Option<Duration>,
    /// Nothing is to be done: only how much it would take is asked.
    pub(super) dry_run: bool,
    /// And what that would mean for the origin, which takes a moment to find out.
    pub(super) measure: bool,
}

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
    hosts: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    /// Whose groups.
    origin: Option<String>,
    #[serde(default)]
    mode: Wish,
    /// Whom to wait for.
    wait: Option<Whom>,
    /// For how many seconds.
    timeout: Option<u64>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    measure: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Url,
    Prefix,
    Host,
    Tag,
    Group,
    All,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Whom {
    All,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wish {
    #[default]
    Soft,
    Refresh,
    Hard,
}

/// Reads a purge request; the error says what is wrong, for the person who sent it.
pub(super) fn parse(text: &[u8]) -> Result<Order, String> {
    let wanted: Wanted = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mode = match wanted.mode {
        Wish::Soft => Mode::Soft,
        Wish::Refresh => Mode::Refresh,
        Wish::Hard => Mode::Hard,
    };
    let wait = match (wanted.wait, wanted.timeout) {
        (None, Some(_)) => return Err("`timeout` goes with `\"wait\": \"all\"`".to_owned()),
        (None, None) => None,
        (Some(Whom::All), seconds) => {
            Some(Duration::from_secs(seconds.unwrap_or(USUAL_WAIT).min(MOST_WAIT)))
        }
    };
    let (dry_run, measure) = (wanted.dry_run, wanted.measure);
    if measure && !dry_run {
        return Err("`measure` goes with `\"dry_run\": true`".to_owned());
    }
    let scopes = wanted.lists()?.scopes()?;
    match scopes.len() {
        0 => Err("say what: `urls`, `prefixes`, `hosts`, `tags`, `groups`, or `kind`".to_owned()),
        1..=MOST_SCOPES => Ok(Order { scopes, mode, wait, dry_run, measure }),
        _ => Err(format!("these are more than {MOST_SCOPES}: send several requests")),
    }
}

/// What is to be purged, by kind.
#[derive(Default)]
struct Lists {
    urls: Vec<String>,
    prefixes: Vec<String>,
    hosts: Vec<String>,
    tags: Vec<String>,
    groups: Vec<String>,
    origin: Option<String>,
    all: bool,
}

impl Wanted {
    /// `kind` and `value` are a list of one.
    fn lists(self) -> Result<Lists, String> {
        let Self { kind, value, urls, prefixes, hosts, tags, groups, origin, .. } = self;
        let Some(kind) = kind else {
            return match value {
                Some(_) => Err("`value` needs a `kind`".to_owned()),
                None => Ok(Lists { urls, prefixes, hosts, tags, groups, origin, all: false }),
            };
        };
        if [urls, prefixes, hosts, tags, groups].iter().any(|list| !list.is_empty()) {
            return Err("`kind` and lists do not go together".to_owned());
        }
        let mut lists = Lists { origin, ..Lists::default() };
        match (kind, value) {
            (Kind::All, None) => lists.all = true,
            (Kind::All, Some(_)) => return Err("`all` takes no `value`".to_owned()),
            (Kind::Url, Some(url)) => lists.urls.push(url),
            (Kind::Prefix, Some(prefix)) => lists.prefixes.push(prefix),
            (Kind::Host, Some(host)) => lists.hosts.push(host),
            (Kind::Tag, Some(tag)) => lists.tags.push(tag),
            (Kind::Group, Some(group)) => lists.groups.push(group),
            (Kind::Url | Kind::Prefix, None) => {
                return Err("`url` and `prefix` need a `value`: an absolute URL".to_owned());
            }
            (Kind::Host | Kind::Tag | Kind::Group, None) => {
                return Err("`host`, `tag` and `group` need a `value`: the name".to_owned());
            }
        }
        Ok(lists)
    }
}

impl Lists {
    fn scopes(self) -> Result<Vec<Scope>, String> {
        let mut scopes = Vec::new();
        for url in &self.urls {
            scopes.push(named(url, Scope::url(url))?);
        }
        for prefix in &self.prefixes {
            scopes.push(named(prefix, Scope::prefix(prefix))?);
        }
        for host in &self.hosts {
            scopes.extend(named(host, Scope::host(host))?);
        }
        for tag in &self.tags {
            scopes.push(named(tag, Scope::tag(tag.as_bytes()))?);
        }
        let origin =
            self.origin.as_deref().map(|url| named(url, Target::parse(url))).transpose()?;
        for group in &self.groups {
            let origin = origin.as_ref().ok_or("`groups` need their `origin`: an absolute URL")?;
            scopes.push(named(group, Scope::group(origin, group.as_bytes()))?);
        }
        if self.all {
            scopes.push(Scope::All);
        }
        Ok(scopes)
    }
}

/// What a name stands for, or what is wrong with it.
fn named<T, E: std::fmt::Display>(name: &str, read: Result<T, E>) -> Result<T, String> {
    read.map_err(|error| format!("`{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Label;

    fn parsed(text: &[u8]) -> Result<(Vec<Scope>, Mode), String> {
        parse(text).map(|order| (order.scopes, order.mode))
    }

    #[test]
    fn who_waits_does_so_within_bounds() {
        let wait = |text: &str| parse(text.as_bytes()).map(|order| order.wait);
        let seconds = |seconds| Ok(Some(Duration::from_secs(seconds)));
        assert_eq!(wait(r#"{"kind":"all"}"#), Ok(None));
        assert_eq!(wait(r#"{"kind":"all","wait":"all"}"#), seconds(10));
        assert_eq!(wait(r#"{"kind":"all","wait":"all","timeout":0}"#), seconds(0));
        assert_eq!(wait(r#"{"kind":"all","wait":"all","timeout":9999}"#), seconds(MOST_WAIT));
        assert!(wait(r#"{"kind":"all","timeout":1}"#).is_err());
    }

    fn tag(name: &str) -> Scope {
        Scope::Label(Label::tag(name.as_bytes()).expect("a tag"))
    }

    #[test]
    fn urls_are_brought_into_the_keys_form() {
        let found = parsed(br#"{"kind":"url","value":"HTTP://Shop.Example:80/a/../b?x"}"#);
        let url = || Scope::Url("http://shop.example/b?x".to_owned());
        assert_eq!(found, Ok((vec![url()], Mode::Soft)));
        let found = parsed(br#"{"kind":"prefix","value":"https://a.example","mode":"hard"}"#);
        let prefix = Scope::Prefix("https://a.example/".to_owned());
        assert_eq!(found, Ok((vec![prefix], Mode::Hard)));
        assert_eq!(parsed(br#"{"kind":"all"}"#), Ok((vec![Scope::All], Mode::Soft)));
        let found = parsed(br#"{"kind":"all","mode":"refresh"}"#);
        assert_eq!(found, Ok((vec![Scope::All], Mode::Refresh)));
        let found = parsed(br#"{"urls":["http://shop.example/b?x"],"tags":["a","b"]}"#);
        assert_eq!(found, Ok((vec![url(), tag("a"), tag("b")], Mode::Soft)));
    }

    #[test]
    fn groups_are_those_of_an_origin() {
        let origin = Target::parse("http://a.example/").expect("a URL");
        let group = Scope::Label(Label::group(&origin, b"g").expect("a group"));
        let found = parsed(br#"{"groups":["g"],"origin":"http://A.example:80/any","mode":"hard"}"#);
        assert_eq!(found, Ok((vec![group.clone()], Mode::Hard)));
        let found = parsed(br#"{"kind":"group","value":"g","origin":"http://a.example"}"#);
        assert_eq!(found, Ok((vec![group], Mode::Soft)));
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
            (r#"{"kind":"all","measure":true}"#, "dry_run"),
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
