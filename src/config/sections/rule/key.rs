//! `[rule.key]`: what makes two requests ask for the same thing.

use super::matching::not_a_pattern;
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, settings};
use crate::rules::{QueryRules, Text};

pub(in crate::config) const KEY: &[Key<QueryRules>] = settings! {
    "ignore_query" = Default("false"), "Whether nothing of the query counts. Whatever does not count is not keyed, and the origin does not see it either: what it can't see can't change its answer." => |query, value| query.ignore = value.boolean()?;
    "keep_query" = Default("[]"), "Parameters that count, by globs over their names; no others do. Empty: all of them count." => |query, value| query.keep = globs(value)?;
    "drop_query" = Default("[]"), "Parameters that do not count, by globs over their names." => |query, value| query.drop = globs(value)?;
    "drop_tracking" = Default("false"), "Whether well-known parameters of advertising and analytics (`utm_*`, `gclid`, `fbclid` and their kin) do not count." => |query, value| query.drop_tracking = value.boolean()?;
    "sort_query" = Default("false"), "Whether the order of parameters does not count; several values of one name keep theirs." => |query, value| query.sort = value.boolean()?;
};

fn globs(value: &Value<'_>) -> Checked<Vec<Text>> {
    let glob = |text: &str| Text::glob(text).map_err(|error| not_a_pattern(&error));
    value.list("write a list: [\"utm_*\"]", |value| value.parsed(glob))
}
