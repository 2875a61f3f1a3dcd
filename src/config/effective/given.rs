//! What flags and environment variables say, as it would stand in the file.

use std::time::Duration;

use clap::parser::ValueSource;
use toml::Value;

use super::By;
use crate::config::overrides::{CliOverrides, Toggled};
use crate::telemetry::Format;

/// What somebody says outside of the file.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) by: By,
    /// Whether it is a secret.
    pub(super) secret: bool,
}

/// Everything that was said outside of the file.
pub(super) struct AllGiven<'a> {
    overrides: &'a CliOverrides,
    /// What [`environment`] gave.
    environment: &'a [String],
}

/// Which of the settings in `matches` come from environment variables and not from flags.
#[must_use]
pub fn environment(matches: &clap::ArgMatches) -> Vec<String> {
    let from_variable =
        |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable);
    matches.ids().filter(from_variable).map(ToString::to_string).collect()
}

impl<'a> AllGiven<'a> {
    pub(super) fn new(overrides: &'a CliOverrides, environment: &'a [String]) -> Self {
        Self { overrides, environment }
    }

    /// What is said of a key of a section.
    pub(super) fn of(&self, section: &str, key: &str) -> Option<Given> {
        let flags = self.overrides;
        let (id, value) = match (section, key) {
            ("server", "threads") => ("threads", flags.threads.map(|it| i64::from(it).into())),
            ("server", "grace") => ("grace", flags.grace.map(duration)),
            ("trust", "proxies") => ("trusted_proxy", list(&flags.trusted_proxy)),
            ("cache", "memory") => ("memory", flags.memory.map(|it| size(it as u64))),
            ("cache", "max_object_size") => ("max_object_size", flags.max_object_size.map(size)),
            ("cache", "default_lifetime") => {
                ("default_lifetime", flags.default_lifetime.map(duration))
            }
            ("cache", "stale_while_revalidate") => {
                ("stale_while_revalidate", flags.stale_while_revalidate.map(duration))
            }
            ("cache", "stale_if_error") => ("stale_if_error", flags.stale_if_error.map(duration)),
            ("admin", "address") => {
                ("admin_listen", flags.admin_listen.map(|it| toggled(it, |it| it.to_string())))
            }
            ("admin", "token") => ("admin_token", flags.given_admin_token().map(Value::from)),
            ("access_log", "format") => {
                ("access_log", flags.access_log.map(|it| toggled(it, format)))
            }
            ("log", "level") => ("log_level", flags.log_level.as_deref().map(Value::from)),
            ("log", "format") => ("log_format", flags.log_format.map(|it| format(it).into())),
            _ => return None,
        };
        let secret = id == "admin_token";
        value.map(|value| Given { value, by: self.by(id), secret })
    }

    /// The origin that replaces all upstreams.
    pub(super) fn origin(&self) -> Option<Given> {
        let origin = self.overrides.origin.as_ref()?;
        let scheme = if origin.tls { "https" } else { "http" };
        let host = &origin.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let value = format!("{scheme}://{host}:{}", origin.port).into();
        Some(Given { value, by: self.by("origin"), secret: false })
    }

    /// The addresses that replace all listeners.
    pub(super) fn listen(&self) -> impl Iterator<Item = Given> {
        self.overrides.listen.iter().map(|address| Given {
            value: address.to_string().into(),
            by: self.by("listen"),
            secret: false,
        })
    }

    fn by(&self, id: &str) -> By {
        if self.environment.iter().any(|known| known == id) {
            By::Environment { variable: format!("SEAWALL_{}", id.to_ascii_uppercase()) }
        } else {
            By::Flag { flag: format!("--{}", id.replace('_', "-")) }
        }
    }
}

fn duration(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

/// In the largest unit that says it exactly.
pub(super) fn size(bytes: u64) -> Value {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "B"));
    format!("{}{name}", bytes / unit).into()
}

fn list(items: &[impl ToString]) -> Option<Value> {
    let items: Vec<_> = items.iter().map(|item| Value::from(item.to_string())).collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

fn toggled<T>(toggled: Toggled<T>, show: impl Fn(T) -> String) -> Value {
    toggled.on().map_or_else(|| "off".to_owned(), show).into()
}

fn format(format: Format) -> String {
    match format {
        Format::Text => "text",
        Format::Json => "json",
    }
    .to_owned()
}
