//! Which settings of caching a file holds outside of its rules, for explanations.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::raw::{Lines, Surroundings, Value};
use super::sections::cache;
use crate::trial::Effective;

/// A good file, as it was read: what is on disk may be another by now.
#[derive(Clone, Default)]
pub struct Written {
    text: Arc<str>,
    /// Where it stood.
    pub(super) file: Option<PathBuf>,
}

impl Written {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into(), file: None }
    }

    /// What `[cache]` sets, and over it the `[route.cache]` of the route at `route`.
    pub(super) fn settings(&self, route: Option<usize>) -> Vec<Effective> {
        settings(&self.text, route)
    }
}

impl fmt::Debug for Written {
    /// Without the text, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Settings are compared by what they mean.
impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

fn settings(text: &str, route: Option<usize>) -> Vec<Effective> {
    let (root, _) = DeTable::parse_recoverable(text);
    let around = Surroundings { directory: Path::new(""), variable: |_| None, sketch: None };
    let (root, lines) = (root.get_ref(), Lines::new(text));
    let mut all = Vec::new();
    let cache = root.get("cache").map(|node| Value::new(node, around));
    add(&mut all, cache.as_ref(), "[cache]", &lines);
    let routes = root.get("route").map(|node| Value::new(node, around));
    let routes = routes.and_then(|routes| routes.list("", Ok).ok()).unwrap_or_default();
    let route = route.and_then(|index| routes.get(index));
    add(&mut all, route.and_then(|route| route.key("cache")).as_ref(), "[route.cache]", &lines);
    all
}

fn add(all: &mut Vec<Effective>, section: Option<&Value<'_>>, by: &str, lines: &Lines<'_>) {
    let Some(Ok(table)) = section.map(|section| section.table("")) else { return };
    for (name, node) in table {
        if !cache::RULES.iter().any(|row| row.name == name.get_ref()) {
            continue;
        }
        set(
            all,
            Effective {
                key: format!("cache.{}", name.get_ref()),
                value: lines.text(node.span()).to_owned(),
                by: by.to_owned(),
                line: lines.number(name.span().start),
            },
        );
    }
}

/// The later one wins.
pub(super) fn set(all: &mut Vec<Effective>, setting: Effective) {
    all.retain(|earlier| earlier.key != setting.key);
    all.push(setting);
}
