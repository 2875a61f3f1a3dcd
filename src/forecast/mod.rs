//! What hit rate will this give? Logs and traces, replayed in virtual time through what decides in
//! production: [`crate::key`], the rules, [`crate::policy`] and [`crate::store::evict`].
//!
//! A log's way: [`mod@format`] reads lines, [`Source`] gets them out of files, [`Trace`] keeps what
//! they say in 32 bytes a request, [`Plan`] asks the rules and the policy about each kind of
//! request once, [`run`] plays it against a memory of some size, and [`report`] says what came of
//! it.

mod assume;
mod budget;
mod curve;
mod engine;
pub mod format;
mod intern;
mod keeper;
mod loader;
mod outcome;
mod plan;
pub mod report;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod trace;

pub use assume::{Assumption, AssumptionError};
pub use budget::{Budget, BudgetError, Missed};
pub use curve::{Point, knee};
pub use engine::{Bound, Clockwork, Sample, Setup, run};
pub use keeper::Policy;
pub use loader::{BrokenLines, Loader, Reading, Unrecognised};
pub use outcome::{Loss, Outcome};
pub use plan::{Plan, Site, Weigh};
pub use source::{Source, SourceError};
pub use tally::{Bucket, Counts, Detail, Group, Lost, Totals};
pub use trace::{Logged, Request, Trace};
