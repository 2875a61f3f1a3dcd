//! The stack of layers that every request goes through.
//!
//! [`stack()`] is the order, a line a layer with the reason for its place: open it first.

mod access;
mod admit;
mod answer;
mod client_body;
mod config;
mod controlled;
mod debug;
mod errand;
mod error_page;
mod forwarding;
mod live;
mod look;
mod normalize;
mod observe;
mod origin;
mod purge;
mod rescue;
mod route;
mod rules;
mod stack;
mod status;
mod trace;
mod tunnel;
mod users;

use std::future::Ready;

use futures_util::future::Either;

pub use access::Access;
pub use config::{Config, Limits, Purge, Route};
pub use errand::Errands;
pub use error_page::ErrorPages;
pub use live::{Generation, InForce, Live};
pub use look::{InCache, Look, Looked};
pub use observe::{Observed, Observer};
pub use origin::{Carried, OriginService, Wire};
pub use purge::PurgeAccess;
pub use route::Routes;
pub use rules::{Compose, Rule, Rules, Ruling, SetBy, Setting, Terms};
pub use stack::{Parts, Proxy, errands, look, stack};
pub use status::add as add_cache_status;
pub use trace::{Routed, Trace};
pub use users::{Users, UsersError};

use crate::context::Response;
use crate::error::ProxyError;

/// What a layer without a wait of its own returns: an answer at once, or the inner layer's.
type Early<F> = Either<Ready<Result<Response, ProxyError>>, F>;

fn now<F>(answer: Result<Response, ProxyError>) -> Early<F> {
    Either::Left(std::future::ready(answer))
}
