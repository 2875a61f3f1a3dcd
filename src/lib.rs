//! Seawall: a caching reverse proxy.
//!
//! Rooms stand on floors, and imports go down only; rooms on one floor do not know each other
//! (`tests/tidy.rs` holds this table).
//!
//! | floor | rooms |
//! |---|---|
//! | 7 | `main`, `cli`, `demo` |
//! | 6 | `app` |
//! | 5 | [`config`], [`server`] |
//! | 4 | [`proxy`], [`admin`] |
//! | 3 | [`cache`] |
//! | 2 | [`store`], `coalesce`, [`upstream`] |
//! | 1 | [`error`], [`body`], [`budget`], [`context`], [`telemetry`], `shutdown` |
//! | 0 | [`clock`] ← `headers` ← [`policy`], `key`: no I/O, no tokio; `now` is an argument |
//!
//! A request's way through the house is one function: `proxy::stack`.

pub mod admin;
pub mod body;
pub mod budget;
pub mod cache;
pub mod clock;
pub mod config;
pub mod context;
pub mod error;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod upstream;
