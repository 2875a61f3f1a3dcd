//! Tables of keys: one row a key, and the walk that applies a table of the file to a draft.
//!
//! A row is all there is to a key: its name, default and meaning (which the tests hold against
//! `config/seawall.toml` and `docs/configuration.md`) and the function that reads it.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::fault::{Checked, Fault, Faulty};
use super::raw::{Surroundings, Value};
use super::sections;
use super::sketch::Sketch;

/// What a key means where the file is silent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {
    /// As if this TOML value were written.
    Default(&'static str),
    /// Something that no value says; here is an example of one.
    Example(&'static str),
    /// A fault; here is an example.
    Required(&'static str),
}

/// One key of a section, read into a `T`.
pub(super) struct Key<T: 'static> {
    pub(super) name: &'static str,
    pub(super) absent: Absent,
    pub(super) meaning: &'static str,
    pub(super) set: fn(&mut T, &Value<'_>) -> Checked<()>,
    /// Reads it to be applied later, and again and again: keys that a `[[rule]]` may set.
    pub(super) read: Option<Read<T>>,
}

/// Reads a value once.
pub(super) type Read<T> = fn(&Value<'_>) -> Checked<Apply<T>>;

/// What a value that was read sets.
pub(super) type Apply<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

/// One row a key: `name = absent, "meaning" => |draft, value| …;`
macro_rules! keys {
    ($($name:literal = $absent:ident($text:literal), $meaning:literal => $set:expr;)*) => {
        &[$($crate::config::schema::Key {
            name: $name,
            absent: $crate::config::schema::Absent::$absent($text),
            meaning: $meaning,
            set: $set,
            read: None,
        },)*]
    };
}
pub(super) use keys;

/// One row a key that is one assignment, so that rules may make it too:
/// `name = absent, "meaning" => |draft, value| draft.field = read;`
macro_rules! settings {
    ($($name:literal = $absent:ident($text:literal), $meaning:literal
        => |$draft:ident, $value:ident| $from:ident $(.$field:ident)+ = $read:expr;)*) => {
        &[$($crate::config::schema::Key {
            name: $name,
            absent: $crate::config::schema::Absent::$absent($text),
            meaning: $meaning,
            set: |$draft, $value| {
                $from$(.$field)+ = $read;
                Ok(())
            },
            read: Some(|$value| {
                let read = $read;
                Ok(std::sync::Arc::new(move |$draft| $from$(.$field)+ = read.clone()))
            }),
        },)*]
    };
}
pub(super) use settings;

/// What the documentation and the hints need of a key, whatever its draft.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) absent: Absent,
    pub(super) meaning: &'static str,
}

impl Absent {
    /// The default or example, as TOML.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Default(text) | Self::Example(text) | Self::Required(text) => text,
        }
    }
}

/// The rows of a table without their readers.
pub(super) fn describe<T>(keys: &'static [Key<T>]) -> impl Iterator<Item = Described> {
    keys.iter().map(|key| Described { name: key.name, absent: key.absent, meaning: key.meaning })
}

/// Notes a table with these keys, where there is no file and a schema is made instead.
pub(super) fn sketch_table<T>(
    sketch: Sketch<'_>,
    section: &str,
    keys: &[&'static [Key<T>]],
    read: &mut dyn FnMut(&Key<T>, &Value<'_>),
) {
    let rows = keys.iter().flat_map(|rows| rows.iter());
    let described = rows.map(|key| {
        let about = Described { name: key.name, absent: key.absent, meaning: key.meaning };
        (about, key)
    });
    sketch.note_table(section, sections::about(section), described, &mut |key, value| {
        read(key, value);
    });
}

/// Applies every key of `table` to `draft` and reports all that is wrong with them.
///
/// `section` is the section's name as in the file, for the hints.
pub(super) fn fill<T>(
    section: &str,
    keys: &[&'static [Key<T>]],
    table: &DeTable<'_>,
    around: Surroundings<'_>,
    draft: &mut T,
) -> Checked<()> {
    if let Some(sketch) = around.sketch {
        // What comes of it is of no use: only what is asked counts.
        sketch_table(sketch, section, keys, &mut |key, value| drop((key.set)(draft, value)));
        return Ok(());
    }
    let mut faults = Vec::new();
    for (name, node) in table {
        let known = keys.iter().flat_map(|rows| rows.iter()).find(|key| key.name == name.get_ref());
        let outcome = match known {
            Some(key) => (key.set)(draft, &Value::new(node, around)),
            None => Err(unknown(section, keys, name.get_ref(), name.span()).into()),
        };
        if let Err(Faulty(more)) = outcome {
            faults.extend(more);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Faulty(faults)) }
}

fn unknown<T>(section: &str, keys: &[&'static [Key<T>]], name: &str, span: Range<usize>) -> Fault {
    let names: Vec<_> = keys.iter().flat_map(|rows| rows.iter()).map(|key| key.name).collect();
    let fault = Fault::at(span, format!("[{section}] has no key `{name}`")).label("unknown key");
    if let Some(help) = did_you_mean(name, &names) {
        return fault.help(help);
    }
    match sections::home_of(name) {
        Some(home) => fault.help(format!("`{name}` belongs in [{home}]")),
        None => fault.help(format!("its keys are: {}", names.join(", "))),
    }
}

/// The nearest of `names`, if one is near enough to be meant.
pub(super) fn did_you_mean(name: &str, names: &[&str]) -> Option<String> {
    let distance = |known: &&&str| strsim::damerau_levenshtein(name, known);
    let nearest = names.iter().min_by_key(distance)?;
    let near = distance(&nearest) <= 1 + name.len() / 4;
    near.then(|| format!("did you mean `{nearest}`?"))
}
