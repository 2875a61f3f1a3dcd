//! `seawall replay`: from a log and a configuration to what hit rate it will give.

mod html;
mod plots;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use seawall::config::{self, Change, ChangeError, CliOverrides, Faults, Sources};
use seawall::forecast::report::{Report, Variant, Wanted};
use seawall::forecast::{Clockwork, Missed, Plan, Site, Weigh};

use crate::cli::replay::{self, Asked, Assumed, Diff, Replay, ReplayCommand, Settings, Telling};
use crate::logs::{self, LogError};
use crate::page::PlotError;
use crate::units;

/// Combinations of what-ifs that are played at most.
const MOST_VARIANTS: usize = 200;

/// What Seawall's own policy is called among others.
const OURS: &str = "Seawall";

/// What the configuration that was given is called among what-ifs.
const AS_IT_IS: &str = "as it is";

/// What came of it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) said: String,
    /// Demands that were not met, in words.
    pub(crate) missed: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("the configuration has faults")]
    Settings(Box<Faults>),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("--what-if comes to {0} combinations; {MOST_VARIANTS} are the most")]
    TooManyVariants(usize),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot write {}: {cause}", .file.display())]
    Write { file: PathBuf, cause: io::Error },
    #[error("cannot draw: {0}")]
    Draw(#[from] PlotError),
}

impl ReplayError {
    /// Whether the command line is at fault.
    pub(crate) const fn is_usage(&self) -> bool {
        match self {
            Self::Log(error) => error.is_usage(),
            other => matches!(other, Self::Change(_) | Self::TooManyVariants(_)),
        }
    }
}

impl From<Faults> for ReplayError {
    fn from(faults: Faults) -> Self {
        Self::Settings(Box::new(faults))
    }
}

pub(crate) fn run(replay: Replay) -> Result<Done, ReplayError> {
    match replay.command {
        Some(ReplayCommand::Diff(diff)) => compare(&diff),
        None => {
            let Replay { config, asked, .. } = replay;
            let variants = variants(&asked.settings.what_if)?;
            let what_if = variants.into_iter().map(|changes| {
                let words: Vec<_> = changes.iter().map(Change::text).collect();
                (words.join("; "), config.clone(), changes)
            });
            let report = forecast(config.as_deref(), &asked, what_if.collect())?;
            tell(&report, AS_IT_IS, &asked.telling, |name| report.figure(name))
        }
    }
}

/// What the second configuration wins and loses against the first.
fn compare(diff: &Diff) -> Result<Done, ReplayError> {
    let after = diff.after.display().to_string();
    let what_if = vec![(after, Some(diff.after.clone()), Vec::new())];
    let report = forecast(Some(&diff.before), &diff.asked, what_if)?;
    // A budget judges the change, not what was before.
    let after = report.what_if.first();
    let before = diff.before.display().to_string();
    tell(&report, &before, &diff.asked.telling, |name| figure_of(after?, name))
}

fn variants(sweeps: &[String]) -> Result<Vec<Vec<Change>>, ReplayError> {
    let mut all = Vec::new();
    for sweep in sweeps {
        all.extend(Change::sweep(sweep)?);
    }
    if all.len() > MOST_VARIANTS { Err(ReplayError::TooManyVariants(all.len())) } else { Ok(all) }
}

/// A name, a file, and changes to it.
type Alternative = (String, Option<PathBuf>, Vec<Change>);

fn forecast(
    file: Option<&Path>,
    asked: &Asked,
    what_if: Vec<Alternative>,
) -> Result<Report, ReplayError> {
    let Asked { logs, base: origin, settings, telling } = asked;
    let changes = settings.set.iter().map(|text| Change::parse(text));
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    let memory = settings.memory.first().copied();
    let base = load(file, &changes, settings, memory)?;
    let mut others = Vec::new();
    for (name, file, more) in what_if {
        // What is asked for by name goes before what counts for all.
        let memory = memory.filter(|_| !more.iter().any(|change| change.is_of("cache.memory")));
        let changes: Vec<_> = changes.iter().cloned().chain(more).collect();
        others.push((name, load(file.as_deref(), &changes, settings, memory)?, memory));
    }
    let details = [&base].into_iter().chain(others.iter().map(|(_, other, _)| other));
    let details = details.into_iter().any(|loaded| !loaded.settings.proxy.rules.list().is_empty());
    let since = Instant::now();
    let (trace, reading) = logs::read(logs, origin, details)?;
    let reading_seconds = since.elapsed().as_secs_f64();
    let clockwork = Clockwork {
        warm_up: settings
            .warm_up
            .map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
        latency: settings.latency.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX)),
    };
    let is_read = !telling.json || telling.html.is_some();
    let mut memory = settings.memory.clone();
    if memory.is_empty() {
        memory.push(base.settings.store.memory as u64);
    }
    let wanted = Wanted {
        clockwork,
        curve: !telling.quick && (is_read || telling.curve || memory.len() > 1),
        peers: !telling.quick && (is_read || telling.compare),
        top: telling.top,
        memory,
    };
    let since = Instant::now();
    let plan = Plan::new(&base.site(settings), &trace);
    let mut report = Report::new(&trace, &reading, &plan, &wanted, reading_seconds, since);
    drop(plan);
    for (name, other, memory) in others {
        let plan = Plan::new(&other.site(settings), &trace);
        let memory = memory.unwrap_or(other.settings.store.memory as u64);
        report.what_if.push(Variant::new(name, &trace, &plan, memory, clockwork));
    }
    Ok(report)
}

/// The figure of a variant that a budget names; `None` for those that it has not.
fn figure_of(variant: &Variant, name: &str) -> Option<f64> {
    let all: u64 = variant.outcomes.values().map(|counts| counts.requests).sum();
    let share = |requests: u64| requests as f64 / all.max(1) as f64;
    match name {
        "hit" => Some(variant.hit_ratio),
        "byte_hit" => Some(variant.byte_hit_ratio),
        "origin" => Some(share(variant.origin_requests)),
        "origin_rps_peak" => Some(variant.origin_rps_peak as f64),
        outcome => Some(share(variant.outcomes.get(outcome)?.requests)),
    }
}

fn tell(
    report: &Report,
    base: &str,
    telling: &Telling,
    figure: impl Fn(&str) -> Option<f64>,
) -> Result<Done, ReplayError> {
    if let Some(file) = &telling.html {
        let page = html::render(report, base)?;
        fs::write(file, page).map_err(|cause| ReplayError::Write { file: file.clone(), cause })?;
    }
    let said = if telling.json {
        serde_json::to_string_pretty(report).unwrap_or_default()
    } else {
        table::render(report, base)
    };
    let missed = telling.budget.as_ref().map(|budget| budget.missed(figure));
    let words = |missed: Missed| {
        let is = missed.is.map_or("unknown".to_owned(), units::figure);
        format!("seawall: over budget: {} is demanded, it is {is}", missed.demand)
    };
    Ok(Done { said, missed: missed.into_iter().flatten().map(words).collect() })
}

/// Seawall among the policies that it is compared with, the best first, and then what is no policy:
/// whether it is none, its name, and what it reaches.
fn ranking(report: &Report) -> Vec<(bool, &'static str, f64, f64)> {
    let peers = report.peers.iter();
    let mut rows: Vec<_> = peers
        .map(|peer| (peer.is_bound, peer.policy, peer.hit_ratio, peer.byte_hit_ratio))
        .chain([(false, OURS, report.hit_ratio, report.byte_hit_ratio)])
        .collect();
    rows.sort_by(|one, other| one.0.cmp(&other.0).then(other.2.total_cmp(&one.2)));
    rows
}

/// A configuration, and whether there is one.
struct Loaded {
    settings: config::Settings,
    is_given: bool,
}

impl Loaded {
    fn site(&self, settings: &Settings) -> Site {
        let weigh = match settings.weigh {
            replay::Weigh::Full => Weigh::Full,
            replay::Weigh::Body => Weigh::Body,
        };
        let is_bounded = self.is_given || weigh == Weigh::Full;
        let silent = settings.assume.iter().any(|assumed| matches!(assumed, Assumed::Nothing));
        let assumptions = settings.assume.iter().filter_map(|assumed| match assumed {
            Assumed::This(assumption) => Some(assumption.clone()),
            Assumed::Nothing => None,
        });
        Site::new(&self.settings, weigh, is_bounded).assuming(assumptions.collect(), silent)
    }
}

fn load(
    file: Option<&Path>,
    changes: &[Change],
    settings: &Settings,
    memory: Option<u64>,
) -> Result<Loaded, ReplayError> {
    let mut overrides = CliOverrides::default();
    if file.is_none() {
        overrides.origin = config::origin("http://localhost").ok();
    }
    if settings.weigh == replay::Weigh::Full {
        overrides.memory = memory.map(|memory| usize::try_from(memory).unwrap_or(usize::MAX));
    }
    let is_given = file.is_some() || !changes.is_empty();
    let sources = Sources { file: file.map(Path::to_owned), overrides };
    Ok(Loaded { settings: config::load_changed(&sources, changes)?, is_given })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use seawall::forecast::Counts;

    use super::*;

    #[test]
    fn a_variant_has_the_figures_that_budgets_name() {
        let counts = |requests| Counts { requests, bytes: 0 };
        let variant = Variant {
            change: "after.toml".to_owned(),
            hit_ratio: 0.75,
            byte_hit_ratio: 0.5,
            origin_requests: 1,
            origin_rps_peak: 7,
            outcomes: BTreeMap::from([("fresh", counts(3)), ("uncacheable", counts(1))]),
        };
        for (name, figure) in [
            ("hit", Some(0.75)),
            ("byte_hit", Some(0.5)),
            ("fresh", Some(0.75)),
            ("uncacheable", Some(0.25)),
            ("origin", Some(0.25)),
            ("origin_rps_peak", Some(7.0)),
            ("resident_bytes_max", None),
        ] {
            assert_eq!(figure_of(&variant, name), figure, "{name}");
        }
    }
}
