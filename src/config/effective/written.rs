//! From the file, the flags and the defaults to the list of what is in force.

use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::given::{AllGiven, size};
use super::{By, Effective, Setting, Table, secrets};
use crate::config::overrides::CliOverrides;
use crate::config::raw::Lines;
use crate::config::schema::{Absent, Described};
use crate::config::sections;

/// Keys of sections whose values are secrets. Where they have them from is none.
pub(in crate::config) const SECRETS: [&str; 2] = ["token", "password"];

/// What is in force, of sources that are known to be good.
pub(in crate::config) fn effective(
    file: Option<&Path>,
    text: &str,
    overrides: &CliOverrides,
    environment: &[String],
) -> Effective {
    let (root, _) = DeTable::parse_recoverable(text);
    let walk = Walk {
        root: root.get_ref(),
        lines: Lines::new(text),
        given: AllGiven::new(overrides, environment),
    };
    let file = file.map(|file| file.display().to_string());
    Effective { file, missing: Vec::new(), tables: walk.tables() }
}

struct Walk<'a> {
    root: &'a DeTable<'a>,
    lines: Lines<'a>,
    given: AllGiven<'a>,
}

impl<'a> Walk<'a> {
    fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        for section in sections::all() {
            let (name, keys) = (section.name, section.keys.as_slice());
            match name {
                "listener" => tables.extend(self.listeners(keys)),
                "upstream.NAME" => tables.extend(self.upstreams(keys)),
                "route" => tables.extend(self.routes(keys)),
                "rule" => tables.extend(self.rules()),
                // Parts of others, which show them.
                _ if name.contains('.') || name == "test" => {}
                _ => tables.push(self.only(name, keys)),
            }
        }
        tables.extend(self.error_pages());
        tables
    }

    /// A section that stands once.
    fn only(&self, section: &str, keys: &[Described]) -> Table {
        let written = self.root.get(section).and_then(|node| node.get_ref().as_table());
        let mut settings = Vec::new();
        for key in keys {
            if let Some(given) = self.given.of(section, key.name) {
                settings.push(Setting {
                    key: key.name.to_owned(),
                    value: Some(given.value).filter(|_| !given.secret),
                    hidden: given.secret,
                    by: given.by,
                });
                continue;
            }
            let part = format!("{section}.{}", key.name);
            let is_part = sections::all().iter().any(|known| known.name == part);
            match written.and_then(|table| table.get(key.name)?.get_ref().as_table()) {
                Some(within) if is_part => settings.extend(self.within(key.name, &part, within)),
                _ => settings.push(self.setting(key, written)),
            }
        }
        if section == "cache" {
            follow_memory(&mut settings);
        }
        if settings.iter().any(|setting| setting.key == "token" && setting.hidden) {
            // A token has one place; a flag wins over all of them.
            settings.retain(|it| !it.key.starts_with("token_") || it.value.is_none());
        }
        Table { name: section.to_owned(), repeated: false, settings }
    }

    /// A key as it is written, or its default.
    fn setting(&self, key: &Described, written: Option<&DeTable<'_>>) -> Setting {
        let name = key.name;
        if let Some((by, value)) = self.written(name, written) {
            let hidden = SECRETS.contains(&name);
            let value = Some(value).filter(|_| !hidden);
            return Setting { key: name.to_owned(), value, hidden, by };
        }
        let value = match key.absent {
            Absent::Default(text) => literal(text),
            Absent::Example(_) | Absent::Required(_) => None,
        };
        Setting { key: name.to_owned(), value, hidden: false, by: By::Default }
    }

    fn written(&self, name: &str, table: Option<&DeTable<'_>>) -> Option<(By, Value)> {
        let (key, node) = table?.get_key_value(name)?;
        let line = self.lines.number(key.span().start);
        Some((By::File { line }, plain(node.get_ref())))
    }

    fn array(&self, name: &str) -> impl Iterator<Item = &'a DeTable<'a>> {
        let members = self.root.get(name).and_then(|node| node.get_ref().as_array());
        members.into_iter().flatten().filter_map(|member| member.get_ref().as_table())
    }

    fn listeners(&self, keys: &[Described]) -> Vec<Table> {
        let table = |written: Option<&DeTable<'_>>| {
            let mut settings = Vec::new();
            for key in keys {
                match written.and_then(|table| table.get(key.name)?.get_ref().as_table()) {
                    Some(within) => settings.extend(self.within(key.name, "listener.tls", within)),
                    None => settings.push(self.setting(key, written)),
                }
            }
            Table { name: "listener".to_owned(), repeated: true, settings }
        };
        let at = |value: Value, by: By| {
            let mut table = table(None);
            if let Some(address) = table.settings.iter_mut().find(|it| it.key == "address") {
                (address.value, address.by) = (Some(value), by);
            }
            table
        };
        let given: Vec<_> = self.given.listen().map(|given| at(given.value, given.by)).collect();
        if !given.is_empty() {
            return given;
        }
        let written: Vec<_> = self.array("listener").map(|it| table(Some(it))).collect();
        if written.is_empty() {
            let address = sections::listener::default_address().to_string();
            return vec![at(address.into(), By::Default)];
        }
        written
    }

    /// All keys of a table within another.
    fn within(&self, prefix: &str, section: &str, written: &DeTable<'_>) -> Vec<Setting> {
        let all = sections::all();
        let keys = all.iter().find(|known| known.name == section).map(|it| it.keys.as_slice());
        let setting = |key| {
            let setting = self.setting(key, Some(written));
            Setting { key: format!("{prefix}.{}", setting.key), ..setting }
        };
        keys.unwrap_or_default().iter().map(setting).collect()
    }

    fn upstreams(&self, keys: &[Described]) -> Vec<Table> {
        let table = |name: &str, written: Option<&DeTable<'_>>| {
            let mut settings: Vec<_> = keys.iter().map(|key| self.setting(key, written)).collect();
            // Every other key is that of `[upstream_defaults]`.
            let own = written.map(|written| self.all_written(&[], written)).unwrap_or_default();
            settings.extend(own.into_iter().filter(|it| keys.iter().all(|key| key.name != it.key)));
            Table { name: format!("upstream.{name}"), repeated: false, settings }
        };
        if let Some(given) = self.given.origin() {
            let mut table = table("origin", None);
            if let Some(url) = table.settings.iter_mut().find(|it| it.key == "url") {
                (url.value, url.by) = (Some(given.value), given.by);
            }
            return vec![table];
        }
        let written = self.root.get("upstream").and_then(|node| node.get_ref().as_table());
        let written = written.into_iter().flatten();
        written.map(|(name, node)| table(name.get_ref(), node.get_ref().as_table())).collect()
    }

    fn routes(&self, keys: &[Described]) -> Vec<Table> {
        let table = |written: Option<&DeTable<'_>>| {
            let mut settings = Vec::new();
            for key in keys {
                match written.and_then(|table| table.get(key.name)?.get_ref().as_table()) {
                    // Of these, every other key is that of `[cache]`.
                    Some(within) => settings.extend(self.all_written(&[key.name], within)),
                    None => settings.push(self.setting(key, written)),
                }
            }
            Table { name: "route".to_owned(), repeated: true, settings }
        };
        if self.given.origin().is_some() {
            return vec![table(None)];
        }
        let written: Vec<_> = self.array("route").map(|it| table(Some(it))).collect();
        // Where nothing is said of routes, everything goes to the only upstream.
        let upstreams = self.root.get("upstream").and_then(|node| node.get_ref().as_table());
        let lone = upstreams.is_some_and(|upstreams| upstreams.len() == 1);
        if written.is_empty() && lone { vec![table(None)] } else { written }
    }

    /// What is written in a table, and in those within it, in the file's order.
    fn all_written(&self, path: &[&str], table: &DeTable<'_>) -> Vec<Setting> {
        let mut placed = Vec::new();
        self.gather(path, table, &mut placed);
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, setting)| setting).collect()
    }

    fn gather(&self, path: &[&str], table: &DeTable<'_>, placed: &mut Vec<(usize, Setting)>) {
        for (name, node) in table {
            let path = [path, &[name.get_ref().as_ref()]].concat();
            match node.get_ref().as_table() {
                // One level: below it, names are the writer's.
                Some(within) if path.len() == 1 && !within.is_empty() => {
                    self.gather(&path, within, placed);
                }
                _ => {
                    let mut value = plain(node.get_ref());
                    let hidden = secrets::hide(&mut value);
                    let place = name.span().start;
                    let by = By::File { line: self.lines.number(place) };
                    let key = path.join(".");
                    placed.push((place, Setting { key, value: Some(value), hidden, by }));
                }
            }
        }
    }

    fn rules(&self) -> impl Iterator<Item = Table> {
        self.array("rule").map(|rule| {
            let settings = self.all_written(&[], rule);
            Table { name: "rule".to_owned(), repeated: true, settings }
        })
    }

    fn error_pages(&self) -> Option<Table> {
        let pages = self.root.get("error_pages")?.get_ref().as_table()?;
        let settings = self.all_written(&[], pages);
        Some(Table { name: "error_pages".to_owned(), repeated: false, settings })
    }
}

/// Where nothing is said of it, `max_object_size` follows a small memory.
fn follow_memory(settings: &mut [Setting]) {
    let bytes = |key: &str| {
        let value = settings.iter().find(|it| it.key == key)?.value.as_ref()?;
        crate::config::units::size(value.as_str()?).ok()
    };
    let (Some(memory), Some(most)) = (bytes("memory"), bytes("max_object_size")) else { return };
    let follows = |it: &&mut Setting| it.key == "max_object_size" && it.by == By::Default;
    if memory / 4 < most
        && let Some(setting) = settings.iter_mut().find(follows)
    {
        setting.value = Some(size(memory / 4));
    }
}

/// A default as the tables have it.
fn literal(text: &str) -> Option<Value> {
    toml::from_str::<toml::Table>(&format!("it = {text}")).ok()?.remove("it")
}

/// A value without its places.
fn plain(node: &DeValue<'_>) -> Value {
    match node {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_default())
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or_default()),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(members) => {
            Value::Array(members.iter().map(|it| plain(it.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(name, it)| (name.get_ref().to_string(), plain(it.get_ref())))
                .collect(),
        ),
    }
}
