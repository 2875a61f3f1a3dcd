//! A file with a few keys changed, to see what would be otherwise.

use toml::{Table, Value};

/// A key and its new value: `cache.default_lifetime=1h`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    path: Vec<String>,
    value: Value,
    text: String,
}

/// Why a change can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not of the form.
    #[error("`{0}` is not of the form KEY=VALUE, like cache.default_lifetime=1h")]
    Form(String),
    /// The path leads through something else than a table.
    #[error("`{0}`: there is no `{1}` that could have keys")]
    Path(String, String),
    /// The file is no TOML.
    #[error("the file is not TOML: {0}")]
    Toml(String),
}

impl Change {
    /// From `KEY=VALUE`. The key is the file's own, from its section on; rules, routes and other
    /// tables of which there are several are named, or numbered from 0: `rule.images.cache.keep`.
    /// A value that is no TOML is a string.
    ///
    /// # Errors
    /// [`ChangeError::Form`].
    pub fn parse(text: &str) -> Result<Self, ChangeError> {
        let form = || ChangeError::Form(text.to_owned());
        let (path, value) = text.split_once('=').ok_or_else(form)?;
        let path: Vec<_> = path.trim().split('.').map(str::to_owned).collect();
        let value = value.trim();
        if path.iter().any(String::is_empty) || path.len() < 2 {
            return Err(form());
        }
        let parsed = format!("value = {value}").parse::<Table>().ok();
        let value = parsed.and_then(|mut table| table.remove("value"));
        let value = value.unwrap_or_else(|| Value::String(text_after(text).to_owned()));
        Ok(Self { path, value, text: text.trim().to_owned() })
    }

    /// All that a sweep comes to: each value of `KEY=A|B`, of each key of `KEY=…; KEY=…`, with each
    /// of the others.
    ///
    /// # Errors
    /// [`ChangeError::Form`].
    pub fn sweep(text: &str) -> Result<Vec<Vec<Self>>, ChangeError> {
        let mut all = vec![Vec::new()];
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let form = || ChangeError::Form(part.to_owned());
            let (key, values) = part.split_once('=').ok_or_else(form)?;
            let mut longer = Vec::new();
            for value in values.split('|') {
                let change = Self::parse(&format!("{}={}", key.trim(), value.trim()))?;
                let with = all.iter().map(|before: &Vec<Self>| {
                    before.iter().cloned().chain([change.clone()]).collect()
                });
                longer.extend(with);
            }
            all = longer;
        }
        Ok(all)
    }

    /// Whether this is the key that it changes, as `cache.memory`.
    #[must_use]
    pub fn is_of(&self, key: &str) -> bool {
        self.path.iter().map(String::as_str).eq(key.split('.'))
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn text_after(text: &str) -> &str {
    text.split_once('=').map_or("", |(_, value)| value.trim())
}

/// The file `text` with `changes`.
pub(super) fn change(text: &str, changes: &[Change]) -> Result<String, ChangeError> {
    let parsed = text.parse::<Table>();
    let mut file = Value::Table(parsed.map_err(|error| ChangeError::Toml(error.to_string()))?);
    for change in changes {
        set(&mut file, change)?;
    }
    toml::to_string(&file).map_err(|error| ChangeError::Toml(error.to_string()))
}

fn set(file: &mut Value, change: &Change) -> Result<(), ChangeError> {
    let mut at = file;
    let Some((key, above)) = change.path.split_last() else { return Ok(()) };
    for step in above {
        let lost = || ChangeError::Path(change.text.clone(), step.clone());
        at = match at {
            Value::Table(table) => {
                table.entry(step.clone()).or_insert_with(|| Value::Table(Table::new()))
            }
            Value::Array(members) => member(members, step).ok_or_else(lost)?,
            _ => return Err(lost()),
        };
    }
    match at {
        Value::Table(table) => {
            table.insert(key.clone(), change.value.clone());
            Ok(())
        }
        _ => Err(ChangeError::Path(change.text.clone(), key.clone())),
    }
}

/// The table with this name, or with this number.
fn member<'a>(members: &'a mut [Value], step: &str) -> Option<&'a mut Value> {
    let named = |member: &Value| member.get("name").and_then(Value::as_str) == Some(step);
    let index = members.iter().position(named).or_else(|| step.parse().ok())?;
    members.get_mut(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[cache]\nmemory = \"64MiB\"\n[[rule]]\nname = \"images\"\n[[rule]]\n";

    fn changed(text: &str) -> Result<String, ChangeError> {
        change(FILE, &[Change::parse(text)?])
    }

    #[test]
    fn keys_are_the_files_own() {
        for (text, line) in [
            ("cache.default_lifetime=1h", "default_lifetime = \"1h\""),
            ("cache.memory = \"1GiB\"", "memory = \"1GiB\""),
            ("rule.images.cache.enabled=false", "[rule.cache]\nenabled = false"),
            ("rule.1.key.drop_query=[\"a\"]", "drop_query = [\"a\"]"),
        ] {
            let file = changed(text).unwrap();
            assert!(file.contains(line), "{text}: {file}");
        }
        for text in ["cache", "cache=1", "=1", "cache.memory.x=1", "rule.none.x=1", "a..b=1"] {
            assert!(changed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sweep_is_every_combination() {
        let all = Change::sweep("cache.a=1m|1h; cache.b=1|2|3").unwrap();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|changes| changes.len() == 2));
        assert_eq!(
            all[1].iter().map(Change::text).collect::<Vec<_>>(),
            ["cache.a=1h", "cache.b=1"]
        );
        assert!(Change::sweep("cache.a").is_err());
    }
}
