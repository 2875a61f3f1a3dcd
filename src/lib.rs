//! Seawall: a caching reverse proxy.
//!
//! Rooms stand on floors, and imports go down only; rooms on one floor do not know each other,
//! except that those after an arrow may know those before it (`tests/tidy.rs` holds this table).
//!
//! | floor | rooms |
//! |---|---|
//! | 7 | `allocator`, `cli` ← `ask`, `units` ← `logs`, `page` ← `bench`, `demo`, `explain`, `purge`, `reload`, `replay` ← `warm` ← `main` |
//! | 6 | `app` |
//! | 5 | [`server`] ← [`config`] ← [`forecast`] |
//! | 4 | [`proxy`], [`admin`] ← [`trial`] |
//! | 3 | [`cache`] |
//! | 2 | [`store`], `coalesce`, [`upstream`] |
//! | 1 | [`error`], [`budget`], [`limit`], [`keepalive`], [`pieces`], [`redis`], [`shutdown`] ← [`body`] ← [`context`] ← [`telemetry`] |
//! | 0 | [`clock`], [`headers`], [`key`] ← [`policy`] ← [`rules`]: no I/O, no tokio; `now` is an argument |
//!
//! A request's way through the house is one function: `proxy::stack`.

pub mod admin;
pub mod app;
pub mod body;
pub mod budget;
pub mod cache;
pub mod clock;
pub mod coalesce;
pub mod config;
pub mod context;
pub mod error;
pub mod forecast;
pub mod headers;
pub mod keepalive;
pub mod key;
pub mod limit;
pub mod pieces;
pub mod policy;
pub mod proxy;
pub mod redis;
pub mod rules;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod trial;
pub mod upstream;
