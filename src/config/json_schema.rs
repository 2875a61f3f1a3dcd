//! The whole file as a JSON Schema, so that editors complete and check it.

use serde_json::{Map, Value as Json, json};

use super::raw::Value;
use super::schema::{Key, fill};
use super::sections::{
    self, admin, cache, listener, logs, redis, route, rule, server, test, upstream,
};
use super::sketch::{self, Book};
use super::units;
use crate::{proxy, telemetry};

/// The JSON Schema (draft 2020-12) of the configuration file, in lines and with an end of line.
///
/// It is made by the functions that read the file. What it refuses is refused by `seawall check`
/// too; what only the whole of a file shows, and what files and patterns hold, `check` alone knows.
#[must_use]
pub fn json_schema() -> String {
    format!("{:#}\n", schema())
}

pub(super) fn schema() -> Json {
    let (properties, mut tables) = sketch::sketched(sections);
    tables.insert(
        "duration".to_owned(),
        described(
            sketch::text(units::DURATION),
            "A duration with its unit: \"250ms\", \"30s\", \"1h 30m\", \"7d\"; at most ten years.",
        ),
    );
    tables.insert(
        "size".to_owned(),
        described(
            sketch::text(units::SIZE),
            "A size with its unit: \"64KiB\" (1024), \"64KB\" (1000), \"256MiB\", \"2GiB\".",
        ),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Seawall's configuration",
        "description": "A file like what `seawall config default` prints; `seawall check` knows more than an editor.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": tables,
    })
}

/// Every section at its place in the file.
fn sections(book: &Book<'_>) -> Map<String, Json> {
    let one = |name: &str, shape: Json| (name.to_owned(), shape);
    let many = |name: &str, shape: Json| {
        (
            name.to_owned(),
            described(json!({ "type": "array", "items": shape }), sections::about(name)),
        )
    };
    let blank = || crate::upstream::Config::new("origin", false, "", 80);
    let nowhere = 0..0;
    Map::from_iter([
        one("server", table(book, "server", &[server::SERVER], server::Server::default())),
        many(
            "listener",
            table(book, "listener", &[listener::LISTENER], listener::Draft::new(nowhere.clone())),
        ),
        one("limits", table(book, "limits", &[server::LIMITS], server::Limits::default())),
        one("trust", table(book, "trust", &[server::TRUST], server::Trust::default())),
        one("upstream_defaults", table(book, "upstream_defaults", &[upstream::MANNERS], blank())),
        one(
            "upstream",
            described(
                sketch::entries(
                    upstream::NAME,
                    &table(book, "upstream.NAME", &[upstream::PLACE, upstream::MANNERS], blank()),
                ),
                "Origins; their names are yours, and routes refer to them.",
            ),
        ),
        many(
            "route",
            table(
                book,
                "route",
                &[route::ROUTE],
                route::Draft::new(nowhere, cache::Draft::default(), false),
            ),
        ),
        one("cache", table(book, "cache", &[cache::MEMORY, cache::RULES], cache::Draft::default())),
        many("rule", table(book, "rule", &[rule::RULE], rule::Draft::default())),
        many("test", table(book, "test", &[test::TEST, test::STEP], test::Draft::default())),
        one("redis", table(book, "redis", &[redis::REDIS], redis::Draft::default())),
        one("purge", table(book, "purge", &[admin::PURGE], proxy::Purge::default())),
        one("admin", table(book, "admin", &[admin::ADMIN], admin::default_admin())),
        one("debug", table(book, "debug", &[admin::DEBUG], Vec::new())),
        one(
            "access_log",
            table(book, "access_log", &[logs::ACCESS_LOG], telemetry::Config::default()),
        ),
        one("log", table(book, "log", &[logs::LOG], telemetry::Config::default())),
        one(
            "error_pages",
            described(book.shape_of(|value| drop(logs::error_pages(value))), sections::ERROR_PAGES),
        ),
    ])
}

/// A section that is read by these keys.
fn table<T>(book: &Book<'_>, name: &str, keys: &[&'static [Key<T>]], mut draft: T) -> Json {
    book.shape_of(|value: &Value<'_>| {
        let Ok(table) = value.table("") else { return };
        // It is noted on the way; there is nothing to read.
        drop(fill(name, keys, table, value.around(), &mut draft));
    })
}

fn described(mut shape: Json, about: &str) -> Json {
    shape["description"] = about.into();
    shape
}
