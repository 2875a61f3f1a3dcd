//! The configuration file, as written and as meant.
//!
//! [`load`] is the way in: file, environment and flags become [`Settings`], or [`Faults`] that say
//! all that is wrong. Everything below `Settings` has its own `Config` and never sees this module.

mod compile;
mod effective;
mod fault;
mod json_schema;
mod overrides;
mod raw;
mod reference;
mod schema;
mod sections;
mod sketch;
mod units;
mod variation;
mod written;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use effective::{By, Effective, Setting, Table, environment};
pub use fault::{Fault, Faults};
pub use json_schema::json_schema;
pub use overrides::{CliOverrides, Toggled};
use raw::Surroundings;
pub use reference::{default_file, key_tables};
pub use sections::upstream::{Origin, origin};
pub use units::{Refused, address, duration, network, size};
pub use variation::{Change, ChangeError};
pub use written::Written;

use crate::trial::{Ask, Explanation, Reply};
use crate::{admin, proxy, redis, server, store, telemetry, trial, upstream};

/// Bound on the file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Everything a node is told, checked: what the file, the environment and the flags mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Threads, listeners, connection limits.
    pub server: server::Config,
    /// Origins; routes refer to them by index.
    pub upstreams: Vec<upstream::Config>,
    /// Routes, trust, request limits, error pages.
    pub proxy: proxy::Config,
    /// The memory tier.
    pub store: store::Config,
    /// Where the tier behind memory is, if there is one.
    pub redis: Option<redis::Config>,
    /// That tier.
    pub tier: store::remote::Config,
    /// The admin listener.
    pub admin: admin::Config,
    /// Logs.
    pub telemetry: telemetry::Config,
    /// How often the file is looked at for a change; `None`: never.
    pub watch: Option<Duration>,
    /// What the rules should do.
    pub tests: Vec<trial::Case>,
    /// The file, as it was read.
    pub written: Written,
}

impl Settings {
    /// Explains a request, and if the origin's answer is given, what becomes of that.
    ///
    /// Blocks until it has been tried, without a network.
    #[must_use]
    pub fn explain(&self, ask: &Ask, reply: Option<&Reply>) -> Explanation {
        let set = trial::Set::new(&self.proxy, &self.upstreams, &self.store);
        let mut explained = trial::explain(&set, ask, reply, &self.upstream_names());
        self.complete(&mut explained);
        explained
    }

    /// Adds what is set outside of rules to an explanation by these settings.
    pub fn complete(&self, explained: &mut Explanation) {
        let routes = &self.proxy.routes;
        let route = explained.route.as_ref();
        let route = routes.iter().position(|known| Some(&known.name) == route);
        explained.file = self.written.file.as_ref().map(|file| file.display().to_string());
        let by_rules = std::mem::take(&mut explained.settings);
        explained.settings = self.written.settings(route);
        for setting in by_rules {
            written::set(&mut explained.settings, setting);
        }
    }

    /// The upstreams' names, by their indices.
    #[must_use]
    pub fn upstream_names(&self) -> Vec<String> {
        self.upstreams.iter().map(|upstream| upstream.name.clone()).collect()
    }

    /// Tries what the tests say, without a network: requests go through the stack that serves
    /// clients. Blocks until they are done.
    #[must_use]
    pub fn run_tests(&self) -> trial::Report {
        let set = trial::Set::new(&self.proxy, &self.upstreams, &self.store);
        trial::run(&set, &self.tests, &self.upstream_names())
    }
}

/// Where settings come from. A flag wins over its `SEAWALL_*` variable, that over the file, and the
/// file over the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// The TOML file; without one the defaults hold.
    pub file: Option<PathBuf>,
    /// Flags and environment variables.
    pub overrides: CliOverrides,
}

/// Reads and checks all sources.
///
/// Relative paths in the file start at its own directory. Files that it names must be readable.
///
/// # Errors
/// [`Faults`], with all that is wrong.
pub fn load(sources: &Sources) -> Result<Settings, Faults> {
    let file = sources.file.as_deref();
    let text = text(file)?;
    understand(file, text, &sources.overrides)
}

/// What is in force by these sources, and who says so; `environment` is what [`environment`] gave.
/// What is missing for a start is told beside it.
///
/// # Errors
/// As [`load`], but for what is missing.
pub fn show(sources: &Sources, environment: &[String]) -> Result<Effective, Faults> {
    let file = sources.file.as_deref();
    let text = text(file)?;
    let missing = match understand(file, text.clone(), &sources.overrides) {
        Ok(_) => Vec::new(),
        Err(faults) if faults.list().iter().all(Fault::is_missing) => faults.list().to_vec(),
        Err(faults) => return Err(faults),
    };
    let effective = effective::effective(file, &text, &sources.overrides, environment);
    Ok(effective.lacking(&missing))
}

/// The same with `changes` to the file, in their order; faults are shown in the file as changed.
///
/// # Errors
/// As [`load`]; a change that can't be made is one too.
pub fn load_changed(sources: &Sources, changes: &[Change]) -> Result<Settings, Faults> {
    if changes.is_empty() {
        return load(sources);
    }
    let file = sources.file.as_deref();
    let text = file.map_or_else(|| Ok(String::new()), read);
    let edited = text.and_then(|text| {
        variation::change(&text, changes).map_err(|error| Fault::anywhere(None, error.to_string()))
    });
    match edited {
        Ok(text) => understand(file, text, &sources.overrides),
        Err(fault) => Err(Faults::new(file, String::new(), vec![fault])),
    }
}

/// Checks a configuration that is in no file; relative paths in it start at the working directory.
///
/// # Errors
/// [`Faults`], with all that is wrong.
pub fn parse(text: &str, overrides: &CliOverrides) -> Result<Settings, Faults> {
    understand(None, text.to_owned(), overrides)
}

fn understand(
    file: Option<&Path>,
    text: String,
    overrides: &CliOverrides,
) -> Result<Settings, Faults> {
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let variable = |name: &str| std::env::var(name).ok();
    let around = Surroundings { directory, variable, sketch: None };
    let mut settings = compile::compile(&text, around, overrides)
        .map_err(|faults| Faults::new(file, text, faults))?;
    settings.written.file = file.map(Path::to_owned);
    Ok(settings)
}

/// The text of the file, which is empty without one.
fn text(file: Option<&Path>) -> Result<String, Faults> {
    let text = file.map_or_else(|| Ok(String::new()), read);
    text.map_err(|fault| Faults::new(file, String::new(), vec![fault]))
}

fn read(path: &Path) -> Result<String, Fault> {
    let unreadable = |why: String| {
        Fault::anywhere(
            None,
            format!("cannot read the configuration file {}: {why}", path.display()),
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable("it is larger than 1MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))
}
