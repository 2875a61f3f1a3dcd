//! What the readers of keys ask for, noted down while they read nothing.
//!
//! A schema that is written beside the readers drifts from them. So it is made by running them:
//! over a value that is of no use, in whose [`Surroundings`] a [`Sketch`] takes down every type,
//! bound and word that they ask for. Whatever they make of it is dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{Surroundings, Value};
use super::schema::{Absent, Described};
use super::units::LONGEST;

/// Values that no key takes; of these types, since some readers look at the type first.
const USELESS: &str = "table = {}\ntext = \"\\u0000\"\ndate = 1979-05-27\n";

/// All that was noted: a slot for each value, and the tables with keys of their own.
#[derive(Debug)]
pub(super) struct Book<'a> {
    useless: &'a DeTable<'a>,
    slots: RefCell<Vec<Vec<Json>>>,
    /// JSON Schemas by name. One that is under way holds `null`, for tables that hold themselves.
    tables: RefCell<BTreeMap<String, Json>>,
}

/// Where the reader of one value leaves what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sketch<'a> {
    book: &'a Book<'a>,
    slot: usize,
}

/// Has `fill` note in a new book, and hands out what it made and the tables that it met, as JSON
/// Schemas by name.
pub(super) fn sketched<T>(fill: impl FnOnce(&Book<'_>) -> T) -> (T, BTreeMap<String, Json>) {
    let (useless, _) = DeTable::parse_recoverable(USELESS);
    let book =
        Book { useless: useless.get_ref(), slots: RefCell::default(), tables: RefCell::default() };
    let made = fill(&book);
    (made, book.tables.into_inner())
}

impl Book<'_> {
    fn sketch(&self) -> Sketch<'_> {
        let mut slots = self.slots.borrow_mut();
        slots.push(Vec::new());
        Sketch { book: self, slot: slots.len() - 1 }
    }

    /// What `read` asks of its value.
    pub(super) fn shape_of(&self, mut read: impl FnMut(&Value<'_>)) -> Json {
        let sketch = self.sketch();
        let around =
            Surroundings { directory: Path::new(""), variable: |_| None, sketch: Some(sketch) };
        sketch.useless().for_each(|node| read(&Value::new(node, around)));
        sketch.shape()
    }
}

impl<'a> Sketch<'a> {
    /// A place for what is asked of a part of the value.
    pub(super) fn inner(self) -> Self {
        self.book.sketch()
    }

    /// Values to read: what is asked for may depend on the type that is found.
    pub(super) fn useless(self) -> impl Iterator<Item = &'a Spanned<DeValue<'a>>> {
        self.book.useless.values()
    }

    /// The value may also be this.
    pub(super) fn note(self, mut shape: Json) {
        let several = match shape.get_mut("anyOf").map(Json::take) {
            Some(Json::Array(several)) => several,
            _ => vec![shape],
        };
        let mut slots = self.book.slots.borrow_mut();
        let Some(noted) = slots.get_mut(self.slot) else { return };
        for shape in several {
            if !noted.contains(&shape) {
                noted.push(shape);
            }
        }
    }

    /// All that the value may be.
    pub(super) fn shape(self) -> Json {
        let slots = self.book.slots.borrow();
        match slots.get(self.slot).map(Vec::as_slice) {
            None | Some([]) => json!({}),
            Some([only]) => only.clone(),
            Some(several) => json!({ "anyOf": several }),
        }
    }

    /// The value may be a table with these keys and no others.
    pub(super) fn note_table<K>(
        self,
        name: &str,
        about: &str,
        rows: impl IntoIterator<Item = (Described, K)>,
        read: &mut dyn FnMut(&K, &Value<'_>),
    ) {
        self.note(reference(name));
        if self.book.tables.borrow().contains_key(name) {
            return;
        }
        self.book.tables.borrow_mut().insert(name.to_owned(), Json::Null);
        let table = table(self.book, about, rows, read);
        self.book.tables.borrow_mut().insert(name.to_owned(), table);
    }
}

/// The schema of a table that stands under this name.
pub(super) fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn table<K>(
    book: &Book<'_>,
    about: &str,
    rows: impl IntoIterator<Item = (Described, K)>,
    read: &mut dyn FnMut(&K, &Value<'_>),
) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (key, row) in rows {
        let shape = book.shape_of(|value| read(&row, value));
        properties.insert(key.name.to_owned(), property(key, shape));
        if matches!(key.absent, Absent::Required(_)) {
            required.push(key.name);
        }
    }
    let mut table = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !about.is_empty() {
        table["description"] = about.into();
    }
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

/// What a key may be, what it is for, and what it is if it is left out.
fn property(key: Described, mut shape: Json) -> Json {
    let bounds = shape.get("description").and_then(Json::as_str);
    let description = bounds.map(|bounds| format!("{} {bounds}", key.meaning));
    shape["description"] = description.unwrap_or_else(|| key.meaning.to_owned()).into();
    let given = as_json(key.absent.text());
    match key.absent {
        Absent::Default(_) => shape["default"] = given,
        Absent::Example(_) | Absent::Required(_) => shape["examples"] = json!([given]),
    }
    shape
}

/// A value as it stands in the file, as JSON.
fn as_json(text: &str) -> Json {
    let read = toml::from_str::<Map<String, Json>>(&format!("it = {text}"));
    read.ok().and_then(|mut table| table.remove("it")).unwrap_or_default()
}

/// A text, with the bounds that a pattern can say.
pub(super) fn text(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern })
}

/// A text that is not empty.
pub(super) fn any_text() -> Json {
    json!({ "type": "string", "minLength": 1 })
}

/// One of these words.
pub(super) fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Json {
    json!({ "enum": words.into_iter().collect::<Vec<_>>() })
}

pub(super) fn integer(range: &RangeInclusive<u64>) -> Json {
    json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
}

/// A duration; its bounds are told, as no pattern can say them.
pub(super) fn duration(range: &RangeInclusive<Duration>) -> Json {
    let show = |bound: &Duration| humantime::format_duration(*bound).to_string();
    let from = Some(range.start()).filter(|it| !it.is_zero()).map(show);
    let to = Some(range.end()).filter(|it| **it < LONGEST).map(show);
    bounded(reference("duration"), from, to)
}

/// A size; its bounds are told, as no pattern can say them.
pub(super) fn size(range: &RangeInclusive<u64>) -> Json {
    let show = |bound: &u64| bytesize::ByteSize(*bound).to_string();
    let from = Some(range.start()).filter(|it| **it > 0).map(show);
    // Beyond this, the bound is that of machines.
    let to = Some(range.end()).filter(|it| **it < 1 << 40).map(show);
    bounded(reference("size"), from, to)
}

fn bounded(mut shape: Json, from: Option<String>, to: Option<String>) -> Json {
    let told = match (from, to) {
        (Some(from), Some(to)) => format!("From {from} to {to}."),
        (Some(from), None) => format!("At least {from}."),
        (None, Some(to)) => format!("At most {to}."),
        (None, None) => return shape,
    };
    shape["description"] = told.into();
    shape
}

pub(super) fn list(member: &Json) -> Json {
    json!({ "type": "array", "items": member })
}

/// A list that is not empty.
pub(super) fn list_of_some(member: &Json) -> Json {
    json!({ "type": "array", "items": member, "minItems": 1 })
}

/// A table whose keys are the writer's.
pub(super) fn entries(names: &str, value: &Json) -> Json {
    json!({
        "type": "object",
        "propertyNames": { "pattern": names },
        "additionalProperties": value,
    })
}
