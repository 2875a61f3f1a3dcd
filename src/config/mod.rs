//! The configuration file, as written and as meant.
//!
//! [`load`] is the way in: file, environment and flags become [`Settings`], or [`Faults`] that say
//! all that is wrong. Everything below `Settings` has its own `Config` and never sees this module.

mod compile;
mod fault;
mod overrides;
mod raw;
mod reference;
mod schema;
mod sections;
mod units;
mod variation;
mod written;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use fault::{Fault, Faults};
pub use overrides::{CliOverrides, Toggled};
use raw::Surroundings;
pub use reference::{default_file, key_tables};
pub use sections::upstream::{Origin, origin};
pub use units::{Refused, address, duration, network, size};
pub use variation::{Change, ChangeError};

use crate::trial::{Ask, Explanation, Reply};
use crate::{admin, proxy, server, store, telemetry, trial, upstream};

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
    /// The admin listener.
    pub admin: admin::Config,
    /// Logs.
    pub telemetry: telemetry::Config,
    /// How often the file is looked at for a change; `None`: never.
    pub watch: Option<Duration>,
    /// What the rules should do.
    pub tests: Vec<trial::Case>,
}

impl Settings {
    /// Explains a request, and if the origin's answer is given, what becomes of that. The settings
    /// have to come from `file`, which is read once more for what stands where.
    ///
    /// Blocks until it has been tried, without a network.
    #[must_use]
    pub fn explain(&self, file: Option<&Path>, ask: &Ask, reply: Option<&Reply>) -> Explanation {
        let set = trial::Set::new(&self.proxy, &self.store);
        let mut explained = trial::explain(&set, ask, reply, &self.upstream_names());
        let routes = &self.proxy.routes;
        let route = explained.route.as_ref();
        let route = routes.iter().position(|known| Some(&known.name) == route);
        let text = file.and_then(|file| read(file).ok()).unwrap_or_default();
        let by_rules = std::mem::take(&mut explained.settings);
        explained.settings = written::settings(&text, route);
        for setting in by_rules {
            written::set(&mut explained.settings, setting);
        }
        explained
    }

    fn upstream_names(&self) -> Vec<String> {
        self.upstreams.iter().map(|upstream| upstream.name.clone()).collect()
    }

    /// Tries what the tests say, without a network: requests go through the stack that serves
    /// clients. Blocks until they are done.
    #[must_use]
    pub fn run_tests(&self) -> trial::Report {
        let set = trial::Set::new(&self.proxy, &self.store);
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
    let text = match file.map(read) {
        None => String::new(),
        Some(Ok(text)) => text,
        Some(Err(fault)) => return Err(Faults::new(file, String::new(), vec![fault])),
    };
    understand(file, text, &sources.overrides)
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
    let around = Surroundings { directory, variable: |name| std::env::var(name).ok() };
    compile::compile(&text, around, overrides).map_err(|faults| Faults::new(file, text, faults))
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
