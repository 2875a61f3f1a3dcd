//! `seawall bench`: drives a running cache over real sockets, and tells what it did.
//!
//! A [`workload`] says what is asked for, a [`pace`] when, a [`target`] whom; [`drive`] does it.
//! What an answer says of the cache is read by [`verdict`], and counted in a [`record`]; an
//! [`origin`] of its own counts the same from the other side. [`summary`] makes figures of both.

mod drive;
mod exchange;
pub(crate) mod failure;
mod html;
mod metric;
mod origin;
mod pace;
mod plan;
mod plot;
mod progress;
mod record;
mod summary;
mod table;
pub(crate) mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timeline;
pub(crate) mod verdict;
mod workload;

use std::io;
use std::path::PathBuf;

use seawall::shutdown::{Shutdown, raise_open_files, watch_signals};

use self::drive::DriveError;
use self::metric::Checked;
use self::plan::{Plan, PlanError};
use self::progress::Progress;
use self::summary::Summary;
use crate::cli::Bench;
use crate::page::PlotError;
use crate::{complain, say};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Within its budgets.
    Good,
    /// Beyond one.
    Missed,
}

/// Why there is no good report.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct BenchError(Fault);

impl BenchError {
    /// Whether the command line is at fault.
    pub(crate) const fn is_usage(&self) -> bool {
        matches!(&self.0, Fault::Plan(plan) if plan.is_usage())
    }
}

/// See [`BenchError`].
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("signals: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot write {}: {cause}", .file.display())]
    Html { file: PathBuf, cause: io::Error },
    #[error("cannot draw: {0}")]
    Draw(#[from] PlotError),
    #[error("there was nothing to ask for")]
    Nothing,
    #[error("not one whole answer came: {0}")]
    NoAnswer(String),
}

/// Runs it, and says what came of it.
pub(crate) fn run(bench: &Bench) -> Result<Ended, BenchError> {
    run_plan(bench).map_err(BenchError)
}

fn run_plan(bench: &Bench) -> Result<Ended, Fault> {
    let stop = Shutdown::new();
    let quit = stop.clone();
    watch_signals(&stop, || (), move || quit.drain()).map_err(Fault::Signals)?;
    if let Err(error) = raise_open_files() {
        complain(format_args!("the limit on open files stays as it is: {error}"));
    }
    let plan = Plan::new(bench, stop)?;
    let summary = measure(&plan)?;
    let checked: Vec<_> = plan.budgets.iter().map(|budget| budget.check(&summary)).collect();
    if let Some(file) = &bench.html {
        let written = std::fs::write(file, html::render(&summary, &checked)?);
        written.map_err(|cause| Fault::Html { file: file.clone(), cause })?;
    }
    say(if bench.json {
        table::json(&summary, &checked)
    } else {
        table::render(&summary, &checked)
    });
    conclude(&summary, &checked)
}

/// Warms the cache up, then measures it.
fn measure(plan: &Plan) -> Result<Summary, Fault> {
    let driver = &plan.driver;
    if let Some(bound) = plan.warmup {
        let _progress = Progress::start("warming up", driver, bound);
        driver.run(bound)?;
    }
    let before = plan.origin.as_ref().map(origin::Origin::through).unwrap_or_default();
    let (record, took) = {
        let _progress = Progress::start("measuring", driver, plan.bound);
        driver.run(plan.bound)?
    };
    let through = plan.origin.as_ref().map(|origin| origin.through().since(before));
    let interrupted = driver.stop.is_draining();
    Ok(Summary::new(plan.run.clone(), record, took, through, plan.notes.read(), interrupted))
}

fn conclude(summary: &Summary, checked: &[Checked]) -> Result<Ended, Fault> {
    if summary.requests == 0 && !summary.interrupted {
        return Err(Fault::Nothing);
    }
    if summary.answered == 0 && summary.failed > 0 {
        let kinds: Vec<_> = summary.failures.keys().copied().collect();
        return Err(Fault::NoAnswer(kinds.join(", ")));
    }
    let is_met = checked.iter().all(|checked| checked.met);
    Ok(if is_met { Ended::Good } else { Ended::Missed })
}
