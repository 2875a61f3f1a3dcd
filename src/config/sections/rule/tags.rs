//! `[rule.tags]`: what responses can be purged by beside their URLs.

use http::HeaderName;

use super::edits::not_a_template;
use super::matching::FIELD;
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, settings};
use crate::config::sketch;
use crate::config::units::Refused;
use crate::headers;
use crate::rules::{TagRules, TagTemplate};

pub(in crate::config) const TAGS: &[Key<TagRules>] = settings! {
    "spaced" = Default("[\"Surrogate-Key\", \"xkey\"]"), "Response fields with tags between spaces. Any number of lines of them counts. A response with more than 4,096 tags, or one above 1,024 bytes, is not stored: it would outlive a purge." => |tags, value| tags.spaced = fields(value)?;
    "listed" = Default("[\"Cache-Tag\"]"), "Response fields with tags between commas." => |tags, value| tags.listed = fields(value)?;
    "groups" = Default("true"), "Whether `Cache-Groups` counts (RFC 9875). A group belongs to its origin: scheme, host and port." => |tags, value| tags.groups = value.boolean()?;
    "add" = Default("[]"), "Tags that responses get here: templates of which every part stands in the URL: `[\"product:{path.2}\"]`. A tag that lacks a part is left out." => |tags, value| tags.add = value.list("write a list: [\"product:{path.2}\"]", |value| value.parsed(template))?;
    "expose" = Default("false"), "Whether clients get the fields with tags. They always get `Cache-Groups`, which is for every cache on the way." => |tags, value| tags.expose = value.boolean()?;
};

fn fields(value: &Value<'_>) -> Checked<Vec<HeaderName>> {
    value.list("write a list: [\"Surrogate-Key\"]", |value| {
        value.formed(|| sketch::text(FIELD), field)
    })
}

fn field(text: &str) -> Result<HeaderName, Refused> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Refused::new(format!("`{text}` is not a field name"), "write its name"))?;
    if headers::is_essential(&name) {
        let why = format!("`{name}` has another meaning, and clients would no longer get it");
        return Err(Refused::new(why, "use a field of its own"));
    }
    Ok(name)
}

fn template(text: &str) -> Result<TagTemplate, Refused> {
    TagTemplate::parse(text).map_err(|error| not_a_template(&error))
}
