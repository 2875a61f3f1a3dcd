//! `[rule.key]`: what makes two requests ask for the same thing.

use http::header::{self, HeaderName};
use http::uri::Authority;

use super::matching::{FIELD, not_a_pattern};
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, settings};
use crate::config::sketch;
use crate::config::units::Refused;
use crate::key::normalize_host;
use crate::rules::{KeyRules, Text};

pub(in crate::config) const KEY: &[Key<KeyRules>] = settings! {
    "ignore_query" = Default("false"), "Whether nothing of the query counts. Whatever does not count is not keyed, and the origin does not see it either: what it can't see can't change its answer." => |key, value| key.query.ignore = value.boolean()?;
    "keep_query" = Default("[]"), "Parameters that count, by globs over their names; no others do. Empty: all of them count." => |key, value| key.query.keep = globs(value)?;
    "drop_query" = Default("[]"), "Parameters that do not count, by globs over their names." => |key, value| key.query.drop = globs(value)?;
    "drop_tracking" = Default("false"), "Whether well-known parameters of advertising and analytics (`utm_*`, `gclid`, `fbclid` and their kin) do not count." => |key, value| key.query.drop_tracking = value.boolean()?;
    "sort_query" = Default("false"), "Whether the order of parameters does not count; several values of one name keep theirs." => |key, value| key.query.sort = value.boolean()?;
    "origin_sees_dropped" = Default("false"), "Danger: whether the origin gets the whole query all the same. What it then makes of a parameter that is not keyed, everybody gets." => |key, value| key.origin_sees_dropped = value.boolean()?;
    "headers" = Default("[]"), "Request fields whose values count, in place of a `Vary` that the origin does not send." => |key, value| key.fields = fields(value)?;
    "cookies" = Default("\"all\""), "Cookies that count; the others are removed from GET and HEAD requests, so that a `Cookie` no longer stands against a lifetime, nor `Vary: Cookie` against storing. `[]` removes them all; `\"all\"` keeps them all, and keys none." => |key, value| key.cookies = cookies(value)?;
    "host" = Default("\"as-is\""), "The host that requests are keyed by and sent as, so that all its aliases share: `\"shop.example.com\"`." => |key, value| key.host = host(value)?;
};

/// Names that may stand in a key.
const MAX_NAMES: usize = 32;

/// Fields that say nothing of the resource, that are keyed by other means, or of which the origin
/// sees something else than what the client sent.
const NOT_KEYED: &[HeaderName] = &[
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::FORWARDED,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::PRAGMA,
    header::RANGE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VIA,
];

fn fields(value: &Value<'_>) -> Checked<Vec<HeaderName>> {
    let name = |text: &str| {
        let refused = |why| Refused::new(why, "write names like [\"accept-language\"]");
        let name = HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| refused("this is not the name of a field"))?;
        match name.as_str() {
            "cookie" => {
                Err(Refused::new("cookies are keyed one by one", "write cookies = [\"a\"]"))
            }
            text if NOT_KEYED.contains(&name) || text.starts_with("x-forwarded-") => {
                Err(refused("this field can't be keyed"))
            }
            _ => Ok(name),
        }
    };
    let mut names: Vec<HeaderName> = value
        .list("write a list: [\"accept-language\"]", |value| {
            value.formed(|| sketch::text(FIELD), name)
        })?;
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    bounded(value, names)
}

fn cookies(value: &Value<'_>) -> Checked<Option<Vec<String>>> {
    if value.one_of(&[("all", ())]).is_ok() {
        return Ok(None);
    }
    let name = |text: &str| {
        let token = HeaderName::from_bytes(text.as_bytes()).is_ok();
        if token {
            Ok(text.to_owned())
        } else {
            Err(Refused::new("this is not the name of a cookie", "write names like [\"currency\"]"))
        }
    };
    let mut names: Vec<String> =
        value.list("write a list: [\"currency\"], or \"all\"", |value| value.parsed(name))?;
    names.sort_unstable();
    names.dedup();
    bounded(value, names).map(Some)
}

fn bounded<T>(value: &Value<'_>, names: Vec<T>) -> Checked<Vec<T>> {
    if names.len() > MAX_NAMES {
        let fault = value.fault(format!("there are more than {MAX_NAMES} names"));
        return Err(fault.help("key only what the origin's answers depend on").into());
    }
    Ok(names)
}

fn host(value: &Value<'_>) -> Checked<Option<[Authority; 2]>> {
    if value.one_of(&[("as-is", ())]).is_ok() {
        return Ok(None);
    }
    value.parsed(|text| {
        let refused = || Refused::new("this is not a host", "write \"shop.example.com\"");
        let authority = |secure| {
            let normal = normalize_host(text.as_bytes(), secure).map_err(|_| refused())?;
            Authority::try_from(&*normal).map_err(|_| refused())
        };
        Ok(Some([authority(false)?, authority(true)?]))
    })
}

fn globs(value: &Value<'_>) -> Checked<Vec<Text>> {
    let glob = |text: &str| Text::glob(text).map_err(|error| not_a_pattern(&error));
    value.list("write a list: [\"utm_*\"]", |value| value.parsed(glob))
}
