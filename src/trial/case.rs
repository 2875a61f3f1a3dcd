//! Tests beside the rules: what they are, and how they are run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::ask::{Ask, Reply};
use super::expect::Expectation;
use super::report::{Difference, Failure, Report};
use super::seen::Seen;
use super::stage::Set;
use crate::clock::Timestamp;

/// When every test begins: Thu, 01 Jan 2026 00:00:00 GMT.
pub(super) const START: Timestamp = Timestamp::from_secs(1_767_225_600);

/// Bound on one test. What is tried waits for nothing but itself.
const LONGEST: Duration = Duration::from_secs(10);

/// A test.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The line where it stands, from 1.
    pub line: usize,
    /// What is asked, in order; all of it of one cache, which is empty at first.
    pub steps: Vec<Step>,
}

/// One request of a test.
#[derive(Clone, Debug)]
pub struct Step {
    /// How much time passes before it.
    pub after: Duration,
    /// The request.
    pub ask: Arc<Ask>,
    /// What the origin answers, if it is asked.
    pub reply: Arc<Reply>,
    /// What should come of it.
    pub expect: Vec<Expectation>,
}

/// What is written is compared: patterns can't be.
impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// Runs `cases`, each on an empty cache of its own. `upstreams` are the names of the upstreams.
///
/// Blocks until they are done; to be called from anywhere, runtimes included.
#[must_use]
pub fn run(set: &Set, cases: &[Case], upstreams: &[String]) -> Report {
    if cases.is_empty() {
        return Report::default();
    }
    // A thread of its own: a runtime can't wait within another.
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run_all(set, cases, upstreams));
        running.join().unwrap_or_else(|_| Report::broken(cases.len()))
    })
}

fn run_all(set: &Set, cases: &[Case], upstreams: &[String]) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return Report::broken(cases.len()) };
    let mut report = Report { run: cases.len(), failures: Vec::new(), broken: false };
    for case in cases {
        let trying = async { timeout(LONGEST, try_case(set, case, upstreams)).await };
        let failed = runtime.block_on(trying).unwrap_or_else(|_| Some(Failure::late(case)));
        report.failures.extend(failed);
    }
    report
}

/// Stops at the first step that goes wrong: what comes after builds on it.
async fn try_case(set: &Set, case: &Case, upstreams: &[String]) -> Option<Failure> {
    let stage = set.stage(START);
    for (index, step) in case.steps.iter().enumerate() {
        stage.advance(step.after);
        let seen = stage.ask(&step.ask, &step.reply).await;
        let differences = compare(step, &seen, upstreams);
        if !differences.is_empty() {
            return Some(Failure::of(case, index, differences, &seen));
        }
    }
    None
}

fn compare(step: &Step, seen: &Seen, upstreams: &[String]) -> Vec<Difference> {
    step.expect.iter().filter_map(|expected| expected.missed(seen, upstreams)).collect()
}
