//! Tests of the whole proxy over real sockets: a scripted origin behind it, scripted clients in
//! front, and a clock that moves when told to. One file per theme; each test is named as the
//! sentence that it proves.
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "nothing here is seen outside; `pub` means seen outside its module"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_imports,
    reason = "support is part of the tests, which clippy can't know, and it is their language"
)]

mod access;
mod authorization;
mod bench;
mod chaos;
mod cli;
mod clients;
mod collapse;
mod compress;
mod connections;
mod corpus;
mod curve;
mod debug;
mod deception;
mod differential;
mod directives;
mod drain;
mod edits;
mod errors;
mod explain;
mod fleet;
mod floods;
mod forwarded;
mod framing;
mod freshness;
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod head;
mod headers;
mod heuristics;
mod honest;
mod http2;
mod http2_attacks;
mod http2_faults;
mod interim;
mod invalidation;
mod keys;
mod memory;
mod origins;
mod parts;
mod poisoning;
mod preconditions;
mod privacy;
mod protect;
mod purge;
mod range;
mod refresh;
mod regression;
mod reload;
mod replay;
mod request_directives;
mod routing;
mod rules;
mod search;
mod stale;
mod status;
mod streaming;
mod support;
mod tags;
mod targeted;
mod targets;
mod terms;
mod tidy;
mod tier;
mod timeouts;
mod tls;
mod upgrade;
mod validation;
mod vary;
mod warm;
