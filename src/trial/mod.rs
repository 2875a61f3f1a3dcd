//! Requests that are tried without a network: the stack that serves clients, over an origin that
//! answers what it is told and a clock that moves when it is told.
//!
//! `[[test]]`s are run here, and `seawall explain` looks on: both see what would be done, because
//! it is done. [`Stage`] is the stack, [`Seen`] what came of one request, [`run`] runs [`Case`]s.

mod ask;
mod case;
mod describe;
mod expect;
mod explain;
mod explanation;
mod live;
mod report;
mod script;
mod seen;
mod stage;

pub use ask::{Ask, AskError, Content, Reply};
pub use case::{Case, Step, run};
pub use expect::{Expectation, Want};
pub use explain::explain;
pub use explanation::{
    Copy, Decision, Effective, Explanation, Flight, Freshness, Keyed, Known, Live, MatchedRule,
    Message, Setback, Varying, Word,
};
pub use live::explain_live;
pub use report::{Difference, Failure, Report};
pub use script::Sent;
pub use seen::Seen;
pub use stage::{Set, Stage};
