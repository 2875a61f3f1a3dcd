//! `[rule.match]` and `[rule.match_response]`.

use std::ops::RangeInclusive;

use http::{HeaderName, Method};

use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, fill, keys};
use crate::config::sections::route::host_pattern;
use crate::config::sections::server::network;
use crate::config::sketch;
use crate::config::units::Refused;
use crate::rules::{Condition, PathPattern, PatternError, Presence, ResponseCondition, Text};

/// How deep `any`, `all` and `not` may stand in each other.
const MAX_DEPTH: usize = 8;

const TIB: u64 = 1 << 40;

/// Names of fields (RFC 9110 §5.1).
pub(in crate::config) const FIELD: &str = "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";

/// Methods and globs over paths, as far as a pattern can say it.
pub(in crate::config) const METHOD: &str = "^[^a-z]+$";
const PATH: &str = r"^(/|\*\*)[^?]*$";

/// A `match` table as it is read.
#[derive(Debug, Default)]
pub(in crate::config) struct Matcher {
    pub(super) conditions: Vec<Condition>,
    depth: usize,
}

impl Matcher {
    fn add(&mut self, condition: Condition) {
        self.conditions.push(condition);
    }
}

pub(in crate::config) const MATCH: &[Key<Matcher>] = keys! {
    "host" = Example("\"shop.example.com\""), "This host, on any port; `\"*.example.com\"` for every name below. Here and below, a list means: one of these." => |matcher, value| {
        let hosts = value.one_or_more(|value| value.parsed(host_pattern))?;
        matcher.add(Condition::Host(hosts.into()));
        Ok(())
    };
    "path" = Example("\"/images/**\""), "A glob over the whole path, in its normal form and without the query: `*` stays within a segment, `**` does not, `{a,b}` is a choice, and `/a/**` is also `/a`." => |matcher, value| {
        let paths = value.one_or_more(|value| value.formed(|| sketch::text(PATH), path_glob))?;
        matcher.add(Condition::Path(paths.into()));
        Ok(())
    };
    "path_regex" = Example("\"^/[0-9]+$\""), "A regular expression that matches anywhere in the path, unless it says `^` and `$`." => |matcher, value| {
        let regex = |text: &str| PathPattern::regex(text).map_err(|error| not_a_pattern(&error));
        let paths = value.one_or_more(|value| value.parsed(regex))?;
        matcher.add(Condition::Path(paths.into()));
        Ok(())
    };
    "method" = Example("[\"GET\", \"HEAD\"]"), "The request's method." => |matcher, value| {
        let methods = value.one_or_more(|value| value.formed(|| sketch::text(METHOD), method))?;
        matcher.add(Condition::Method(methods.into()));
        Ok(())
    };
    "scheme" = Example("\"https\""), "`\"https\"` or `\"http\"`, as the client or a trusted proxy has it." => |matcher, value| {
        matcher.add(Condition::Secure(value.one_of(&[("https", true), ("http", false)])?));
        Ok(())
    };
    "header" = Example("{ accept = \"*json*\", x-preview = false }"), "Fields by name: `true` for there, `false` for not there, a glob over the whole value, a list of globs, or `{ regex = \"…\" }`." => |matcher, value| {
        for (name, presence) in headers(value)? {
            matcher.add(Condition::Header(name, presence));
        }
        Ok(())
    };
    "cookie" = Example("{ session = false }"), "Cookies by name, as above." => |matcher, value| {
        for (name, presence) in named(value, ".", exact_name)? {
            matcher.add(Condition::Cookie(name, presence));
        }
        Ok(())
    };
    "query" = Example("{ preview = true }"), "Query parameters by name, as above; names and values as they stand in the URL." => |matcher, value| {
        for (name, presence) in named(value, ".", exact_name)? {
            matcher.add(Condition::Query(name, presence));
        }
        Ok(())
    };
    "client" = Example("[\"10.0.0.0/8\"]"), "The client's address, as trusted proxies tell it." => |matcher, value| {
        let networks = value.one_or_more(|value| network(&value))?;
        matcher.add(Condition::Client(networks.into()));
        Ok(())
    };
    "all" = Example("[{ method = \"GET\" }, { scheme = \"https\" }]"), "Tables like `match`: all of them hold." => |matcher, value| {
        let all = nested(value, matcher.depth)?;
        matcher.add(Condition::All(all.into()));
        Ok(())
    };
    "any" = Example("[{ path = \"/a/**\" }, { host = \"a.example.com\" }]"), "Tables like `match`: one of them holds." => |matcher, value| {
        let any = nested(value, matcher.depth)?;
        matcher.add(Condition::Any(any.into()));
        Ok(())
    };
    "not" = Example("{ path = \"/admin/**\" }"), "A table like `match`: it does not hold." => |matcher, value| {
        let inner = one_nested(value, matcher.depth)?;
        matcher.add(Condition::Not(Box::new(inner)));
        Ok(())
    };
};

/// A `match_response` table as it is read.
#[derive(Debug, Default)]
pub(in crate::config) struct ResponseMatcher {
    pub(super) condition: ResponseCondition,
    depth: usize,
}

pub(in crate::config) const RESPONSE: &[Key<ResponseMatcher>] = keys! {
    "status" = Example("[200, \"400-499\"]"), "The status: a number, or a range in quotes." => |matcher, value| {
        matcher.condition.status = value.one_or_more(status)?.into();
        Ok(())
    };
    "content_type" = Example("\"image/*\""), "A glob over the media type, without its parameters and without regard to case." => |matcher, value| {
        let glob = |text: &str| Text::glob_ignoring_case(text).map_err(|error| not_a_pattern(&error));
        matcher.condition.content_type = value.one_or_more(|value| value.parsed(glob))?.into();
        Ok(())
    };
    "header" = Example("{ x-cacheable = true }"), "Fields by name, as in `match`." => |matcher, value| {
        matcher.condition.headers = headers(value)?.into();
        Ok(())
    };
    "min_size" = Example("\"1KiB\""), "`Content-Length` is this or more. A response that does not tell its length does not match." => |matcher, value| {
        let most = matcher.condition.size.as_ref().map_or(u64::MAX, |size| *size.end());
        matcher.condition.size = Some(value.size(0..=1024 * TIB)?..=most);
        Ok(())
    };
    "max_size" = Example("\"1MiB\""), "`Content-Length` is this or less." => |matcher, value| {
        let least = matcher.condition.size.as_ref().map_or(0, |size| *size.start());
        matcher.condition.size = Some(least..=value.size(0..=1024 * TIB)?);
        Ok(())
    };
    "not" = Example("{ header = { cache-control = \"*private*\" } }"), "A table like `match_response`: it does not hold." => |matcher, value| {
        if matcher.depth >= MAX_DEPTH {
            return Err(value.fault("not stands too deep in itself").into());
        }
        let table = value.table("write a table like match_response: { status = 200 }")?;
        let mut inner = ResponseMatcher { depth: matcher.depth + 1, ..ResponseMatcher::default() };
        fill("rule.match_response", &[RESPONSE], table, value.around(), &mut inner)?;
        if inner.condition.is_empty() && value.around().sketch.is_none() {
            return Err(value.fault("nothing is asked, so that nothing would match").help("leave not out").into());
        }
        matcher.condition.not = Some(Box::new(inner.condition));
        Ok(())
    };
};

fn nested(value: &Value<'_>, depth: usize) -> Checked<Vec<Condition>> {
    let conditions = value.list("write a list of tables", |member| one_nested(&member, depth))?;
    if conditions.is_empty() {
        return Err(value.fault("an empty list matches nothing").help("leave it out").into());
    }
    Ok(conditions)
}

fn one_nested(value: &Value<'_>, depth: usize) -> Checked<Condition> {
    if depth >= MAX_DEPTH {
        return Err(value.fault("any, all and not stand too deep in each other").into());
    }
    let table = value.table("write a table like match: { path = \"/a/**\" }")?;
    let mut matcher = Matcher { depth: depth + 1, ..Matcher::default() };
    fill("rule.match", &[MATCH], table, value.around(), &mut matcher)?;
    Ok(Condition::All(matcher.conditions.into()))
}

pub(in crate::config) fn headers(value: &Value<'_>) -> Checked<Vec<(HeaderName, Presence)>> {
    named(value, FIELD, |name| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Refused::new(format!("`{name}` is not a field name"), "write its name"))
    })
}

fn exact_name(name: &str) -> Result<Box<str>, Refused> {
    if name.is_empty() {
        return Err(Refused::new("the name is empty", "write a name"));
    }
    Ok(name.into())
}

fn named<N>(
    value: &Value<'_>,
    names: &str,
    read: impl Fn(&str) -> Result<N, Refused>,
) -> Checked<Vec<(N, Presence)>> {
    value.entries("write { name = \"value\" }", names, |name, value| {
        let presence = presence(&value)?;
        let refused = |refused: Refused| name.fault(refused.why).help(refused.instead);
        Ok((read(name.text).map_err(refused)?, presence))
    })
}

fn presence(value: &Value<'_>) -> Checked<Presence> {
    match value.boolean() {
        Ok(true) => return Ok(Presence::Present),
        Ok(false) => return Ok(Presence::Absent),
        Err(_) => {}
    }
    if let Ok(table) = value.table("") {
        let mut text = None;
        fill("rule.match.regex", &[REGEX], table, value.around(), &mut text)?;
        return match text {
            Some(text) => Ok(Presence::Value([text].into())),
            None => Err(value.fault("nothing is asked").help("write { regex = \"…\" }").into()),
        };
    }
    let glob = |text: &str| Text::glob(text).map_err(|error| not_a_pattern(&error));
    Ok(Presence::Value(value.one_or_more(|value| value.parsed(glob))?.into()))
}

const REGEX: &[Key<Option<Text>>] = keys! {
    "regex" = Example("\"^a+$\""), "A regular expression that matches anywhere in the value." => |text, value| {
        *text = Some(value.parsed(|text| Text::regex(text).map_err(|error| not_a_pattern(&error)))?);
        Ok(())
    };
};

pub(in crate::config) fn not_a_pattern(error: &PatternError) -> Refused {
    Refused::new(
        format!("this is not a pattern: {error}"),
        "put \\ before signs that mean themselves",
    )
}

fn path_glob(text: &str) -> Result<PathPattern, Refused> {
    if !text.starts_with('/') && !text.starts_with("**") {
        return Err(Refused::new(
            "a path begins with a slash",
            format!("write \"/{text}\" or \"/**/{text}\""),
        ));
    }
    if text.contains('?') {
        return Err(Refused::new(
            "a path is matched without its query",
            "match the query by query = { name = true }",
        ));
    }
    PathPattern::glob(text).map_err(|error| not_a_pattern(&error))
}

pub(in crate::config) fn method(text: &str) -> Result<Method, Refused> {
    let refused =
        || Refused::new(format!("\"{text}\" is not a method"), "write it in capitals: \"GET\"");
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(refused());
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| refused())
}

fn status(value: Value<'_>) -> Checked<RangeInclusive<u16>> {
    if !value.is_string() {
        let status = value.integer(100..=599)? as u16;
        return Ok(status..=status);
    }
    value.formed(
        || sketch::text("^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"),
        |text| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let read =
                |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
            match (read(first), read(last)) {
                (Some(first), Some(last)) if first <= last => Ok(first..=last),
                _ => {
                    Err(Refused::new("this is no status", "write 404, or a range like \"400-499\""))
                }
            }
        },
    )
}
