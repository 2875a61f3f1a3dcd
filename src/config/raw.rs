//! The file as written: values of the TOML tree, each with its place and typed readers.

use std::fs::File;
use std::io::Read;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Checked, Fault, Faulty};
use super::sketch::{self, Sketch};
use super::units::{self, Refused};

/// What values may refer to outside of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    /// Where relative paths start: the file's directory.
    pub(super) directory: &'a Path,
    /// Looks an environment variable up.
    pub(super) variable: fn(&str) -> Option<String>,
    /// Where readers leave what they ask for, while there is nothing to read.
    pub(super) sketch: Option<Sketch<'a>>,
}

/// A value of the file.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    node: &'a Spanned<DeValue<'a>>,
    around: Surroundings<'a>,
}

/// The name of an entry.
#[derive(Clone, Debug)]
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
}

impl Name<'_> {
    /// A fault at this name.
    pub(super) fn fault(&self, title: impl Into<String>) -> Fault {
        Fault::at(self.span.clone(), title)
    }
}

/// The text of the file, and where its lines begin.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// The line of a place in bytes, from 1.
    pub(super) fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// What is written there.
    pub(super) fn text(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }
}

/// Bound on a file that holds a secret.
const MAX_SECRET_BYTES: u64 = 4096;

impl<'a> Value<'a> {
    pub(super) fn new(node: &'a Spanned<DeValue<'a>>, around: Surroundings<'a>) -> Self {
        Self { node, around }
    }

    pub(super) fn around(&self) -> Surroundings<'a> {
        self.around
    }

    /// Notes what is asked for, where a schema is made.
    fn ask(&self, shape: impl FnOnce() -> Json) {
        if let Some(sketch) = self.around.sketch {
            sketch.note(shape());
        }
    }

    /// What `read` asks of a part of this value, where a schema is made.
    fn asked_of_part(&self, read: impl Fn(Self)) -> Option<Sketch<'a>> {
        let asked = self.around.sketch?.inner();
        let around = Surroundings { sketch: Some(asked), ..self.around };
        asked.useless().for_each(|node| read(Self { node, around }));
        Some(asked)
    }

    /// Where it stands, in bytes.
    pub(super) fn span(&self) -> Range<usize> {
        self.node.span()
    }

    /// A fault at this value.
    pub(super) fn fault(&self, title: impl Into<String>) -> Fault {
        Fault::at(self.span(), title)
    }

    fn refuse(&self, refused: Refused) -> Faulty {
        self.fault(refused.why).help(refused.instead).into()
    }

    fn wrong_type(&self, expected: &str, instead: &str) -> Faulty {
        let found = match self.node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("expected {expected}, found {found}"))
            .label(format!("{found}, not {expected}"))
            .help(instead)
            .into()
    }

    pub(super) fn boolean(&self) -> Checked<bool> {
        self.ask(|| json!({ "type": "boolean" }));
        let value = self.node.get_ref();
        value
            .as_bool()
            .ok_or_else(|| self.wrong_type("a boolean", "write true or false, without quotes"))
    }

    /// A string that is not empty.
    pub(super) fn string(&self) -> Checked<&'a str> {
        self.ask(sketch::any_text);
        self.some_text()
    }

    fn some_text(&self) -> Checked<&'a str> {
        match self.node.get_ref().as_str() {
            Some("") => {
                Err(self.fault("the string is empty").help("leave the key out instead").into())
            }
            Some(text) => Ok(text),
            None => Err(self.wrong_type("a string", "write it in quotes")),
        }
    }

    /// A string that may be empty.
    pub(super) fn text(&self) -> Checked<&'a str> {
        self.ask(|| json!({ "type": "string" }));
        if self.node.get_ref().as_str() == Some("") { Ok("") } else { self.some_text() }
    }

    /// Whether it is a string at all: what else it may be is told by other means.
    pub(super) fn is_string(&self) -> bool {
        self.node.get_ref().is_str()
    }

    /// Whether it is this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.ask(|| sketch::words([word]));
        self.node.get_ref().as_str() == Some(word)
    }

    /// A string in some form of its own.
    pub(super) fn parsed<T>(&self, parse: impl Fn(&str) -> Result<T, Refused>) -> Checked<T> {
        self.formed(sketch::any_text, parse)
    }

    /// A string in a form of which a schema can say this much.
    pub(super) fn formed<T>(
        &self,
        shape: impl FnOnce() -> Json,
        parse: impl Fn(&str) -> Result<T, Refused>,
    ) -> Checked<T> {
        self.ask(shape);
        parse(self.some_text()?).map_err(|refused| self.refuse(refused))
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Checked<T> {
        self.ask(|| sketch::words(words.iter().map(|(word, _)| *word)));
        let text = self.some_text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let names: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        Err(self
            .fault(format!("\"{text}\" is not one of the choices"))
            .help(format!("write {}", names.join(" or ")))
            .into())
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Checked<u64> {
        self.ask(|| sketch::integer(&range));
        let allowed = format!("write a whole number from {} to {}", range.start(), range.end());
        let Some(integer) = self.node.get_ref().as_integer() else {
            return Err(self.wrong_type("a whole number", &allowed));
        };
        match i128::from_str_radix(integer.as_str(), integer.radix()).ok().map(u64::try_from) {
            Some(Ok(number)) if range.contains(&number) => Ok(number),
            _ => Err(self
                .fault(format!("{} is out of range", integer.as_str()))
                .help(allowed)
                .into()),
        }
    }

    /// A whole number within `range`, as a `usize`.
    pub(super) fn count(&self, range: RangeInclusive<u32>) -> Checked<usize> {
        let number = self.integer(u64::from(*range.start())..=u64::from(*range.end()))?;
        // A count is at most `u32::MAX` by its type, so nothing is lost.
        Ok(number as usize)
    }

    /// A share from just above 0 to 1.
    pub(super) fn fraction(&self) -> Checked<f64> {
        self.ask(|| json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }));
        let instead = "write a number above 0 and up to 1, like 0.1";
        let text = match self.node.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) => integer.as_str(),
            _ => return Err(self.wrong_type("a number", instead)),
        };
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
            _ => Err(self.fault(format!("{text} is out of range")).help(instead).into()),
        }
    }

    /// A number within `range`.
    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Checked<f64> {
        self.ask(|| json!({ "type": "number", "minimum": range.start(), "maximum": range.end() }));
        let instead = format!("write a number from {} to {}", range.start(), range.end());
        let text = match self.node.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) => integer.as_str(),
            _ => return Err(self.wrong_type("a number", &instead)),
        };
        match text.parse::<f64>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(self.fault(format!("{text} is out of range")).help(instead).into()),
        }
    }

    /// A duration within `range`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Checked<Duration> {
        self.ask(|| sketch::duration(&range));
        if let DeValue::Integer(number) = self.node.get_ref() {
            return Err(self.bare(&format!("\"{number}s\""), "a duration"));
        }
        let text = self.some_text()?;
        let duration = units::duration(text).map_err(|refused| self.refuse(refused))?;
        self.within(duration, range)
    }

    /// A duration above zero, or `"off"`.
    pub(super) fn optional_duration(&self) -> Checked<Option<Duration>> {
        if self.is_off() {
            return Ok(None);
        }
        self.duration(Duration::from_millis(1)..=units::LONGEST).map(Some)
    }

    /// Whether it is `"off"`.
    pub(super) fn is_off(&self) -> bool {
        self.ask(|| sketch::words(["off", "none"]));
        matches!(self.node.get_ref().as_str(), Some("off" | "none"))
    }

    fn within(&self, duration: Duration, range: RangeInclusive<Duration>) -> Checked<Duration> {
        if range.contains(&duration) {
            return Ok(duration);
        }
        let show = humantime::format_duration;
        Err(self
            .fault(format!("{} is out of range", show(duration)))
            .help(format!("write {} to {}", show(*range.start()), show(*range.end())))
            .into())
    }

    /// A size within `range`, in bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Checked<u64> {
        self.ask(|| sketch::size(&range));
        if let DeValue::Integer(number) = self.node.get_ref() {
            return Err(self.bare(&format!("\"{number}B\""), "a size"));
        }
        let text = self.some_text()?;
        let size = units::size(text).map_err(|refused| self.refuse(refused))?;
        if range.contains(&size) {
            return Ok(size);
        }
        let show = bytesize::ByteSize;
        Err(self
            .fault(format!("{} is out of range", show(size)))
            .help(format!("write {} to {}", show(*range.start()), show(*range.end())))
            .into())
    }

    /// A size within `range`, as a `usize`.
    pub(super) fn memory(&self, range: RangeInclusive<u64>) -> Checked<usize> {
        let size = self.size(range)?;
        usize::try_from(size).map_err(|_| self.fault("this size is beyond this machine").into())
    }

    fn bare(&self, quoted: &str, what: &str) -> Faulty {
        if quoted.contains('-') {
            return self.fault(format!("{what} cannot be negative")).into();
        }
        self.fault(format!("{what} needs a unit"))
            .label("a bare number")
            .help(format!("write {quoted}, or another unit"))
            .into()
    }

    /// The table, to be read by its own keys.
    pub(super) fn table(&self, instead: &str) -> Checked<&'a DeTable<'a>> {
        self.node.get_ref().as_table().ok_or_else(|| self.wrong_type("a table", instead))
    }

    /// Whether it is a table with this key.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.node.get_ref().as_table().is_some_and(|table| table.contains_key(key))
    }

    /// The value of a key of this table.
    pub(super) fn key(&self, key: &str) -> Option<Self> {
        let table = self.node.get_ref().as_table()?;
        table.get(key).map(|node| Self::new(node, self.around))
    }

    /// Where the value of a key of this table stands; the table itself if it has no such key.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.node.get_ref().get(key).map_or_else(|| self.span(), Spanned::span)
    }

    /// Every entry of a table whose names are the writer's, read by `parse`; all faulty ones are
    /// reported. `names` is a pattern of which a schema tells.
    pub(super) fn entries<T>(
        &self,
        instead: &str,
        names: &str,
        parse: impl Fn(Name<'a>, Value<'a>) -> Checked<T>,
    ) -> Checked<Vec<T>> {
        let name = || Name { text: "name", span: self.span() };
        if let Some(asked) = self.asked_of_part(|value| drop(parse(name(), value))) {
            self.ask(|| sketch::entries(names, &asked.shape()));
        }
        let table = self.table(instead)?;
        collect(table.iter().map(|(name, node)| {
            let name = Name { text: name.get_ref(), span: name.span() };
            parse(name, Value::new(node, self.around))
        }))
    }

    /// Every member read by `parse`; all faulty members are reported.
    pub(super) fn list<T>(
        &self,
        instead: &str,
        parse: impl Fn(Value<'a>) -> Checked<T>,
    ) -> Checked<Vec<T>> {
        if let Some(asked) = self.asked_of_part(|member| drop(parse(member))) {
            self.ask(|| sketch::list(&asked.shape()));
        }
        let Some(array) = self.node.get_ref().as_array() else {
            return Err(self.wrong_type("an array", instead));
        };
        collect(array.iter().map(|node| parse(Value::new(node, self.around))))
    }

    /// One value, or every member of a list that is not empty.
    pub(super) fn one_or_more<T>(
        &self,
        parse: impl Fn(Value<'a>) -> Checked<T>,
    ) -> Checked<Vec<T>> {
        if let Some(asked) = self.asked_of_part(|member| drop(parse(member))) {
            self.ask(|| asked.shape());
            self.ask(|| sketch::list_of_some(&asked.shape()));
        }
        if self.node.get_ref().as_array().is_none() {
            return parse(*self).map(|one| vec![one]);
        }
        let list = self.list("write a list", parse)?;
        if list.is_empty() {
            return Err(self
                .fault("an empty list matches nothing")
                .help("leave the key out")
                .into());
        }
        Ok(list)
    }

    /// The path of a file that can be read; relative ones start at the configuration file.
    pub(super) fn readable_file(&self) -> Checked<PathBuf> {
        let path = self.path()?;
        match openable(&path) {
            Ok(true) => Ok(path),
            Ok(false) => Err(self.fault("this is not a regular file").help("name a file").into()),
            Err(error) => Err(self.unreadable(&path, &error)),
        }
    }

    /// The path of a PEM file with at least one certificate.
    pub(super) fn certificate_file(&self) -> Checked<PathBuf> {
        let path = self.readable_file()?;
        match CertificateDer::pem_file_iter(&path).map(|mut certificates| certificates.next()) {
            Ok(Some(Ok(_))) => Ok(path),
            _ => Err(self
                .fault(format!("{} holds no certificate in PEM form", path.display()))
                .help("name a file with -----BEGIN CERTIFICATE-----")
                .into()),
        }
    }

    /// The path of a PEM file with a private key.
    pub(super) fn key_file(&self) -> Checked<PathBuf> {
        let path = self.readable_file()?;
        if PrivateKeyDer::from_pem_file(&path).is_ok() {
            return Ok(path);
        }
        Err(self
            .fault(format!("{} holds no private key in PEM form", path.display()))
            .help("name a file with -----BEGIN PRIVATE KEY-----, not encrypted")
            .into())
    }

    /// A path; relative ones start at the configuration file.
    pub(super) fn path(&self) -> Checked<PathBuf> {
        self.string().map(|text| self.around.directory.join(text))
    }

    /// What the named file holds, without white space around it.
    pub(super) fn secret_in_file(&self) -> Checked<String> {
        let path = self.readable_file()?;
        let mut secret = String::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut secret))
            .map_err(|error| self.unreadable(&path, &error))?;
        self.secret(secret.trim())
    }

    /// What the named file of up to `most` bytes holds.
    pub(super) fn text_in_file(&self, most: u64) -> Checked<String> {
        let path = self.readable_file()?;
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(most + 1).read_to_string(&mut text))
            .map_err(|error| self.unreadable(&path, &error))?;
        if text.len() as u64 > most {
            let title = format!("{} has more than {most} bytes", path.display());
            return Err(self.fault(title).into());
        }
        Ok(text)
    }

    /// What the named environment variable holds.
    pub(super) fn secret_in_variable(&self) -> Checked<String> {
        let name = self.string()?;
        match (self.around.variable)(name) {
            Some(secret) => self.secret(secret.trim()),
            None => Err(self
                .fault(format!("the environment variable {name} is not set"))
                .help("set it where Seawall is started, or use token_file")
                .into()),
        }
    }

    /// A secret that fits a header field; its text never stands in a fault.
    pub(super) fn secret(&self, secret: &str) -> Checked<String> {
        units::token(secret).map(str::to_owned).map_err(|refused| self.refuse(refused))
    }

    fn unreadable(&self, path: &Path, error: &std::io::Error) -> Faulty {
        let mut fault = self.fault(format!("cannot read {}: {error}", path.display()));
        if self.node.get_ref().as_str().is_some_and(|text| Path::new(text).is_relative()) {
            fault = fault.help("relative paths start at the configuration file's directory");
        }
        fault.into()
    }
}

/// Whether it is a regular file; an error where that cannot be opened.
fn openable(path: &Path) -> std::io::Result<bool> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let regular = path.metadata()?.is_file();
    if regular {
        File::open(path)?;
    }
    Ok(regular)
}

/// All values, or the faults of all.
pub(super) fn collect<T>(values: impl Iterator<Item = Checked<T>>) -> Checked<Vec<T>> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Ok(value) => good.push(value),
            Err(Faulty(more)) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(Faulty(faults)) }
}
