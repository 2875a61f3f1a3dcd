//! What the fuzz targets run, and the property tests with them: each module takes any bytes and
//! panics if what Seawall makes of them is wrong.
//!
//! The package's own test suite includes this file and replays the kept corpus through the same
//! functions, so that a defect found once stays found without a nightly compiler.

pub mod codec;
pub mod config;
pub mod directives;
pub mod h2_frames;
pub mod input;
pub mod judge;
pub mod key;
pub mod range;
pub mod reading;
pub mod reference;
pub mod request_path;
pub mod response_path;
pub mod stage;
pub mod strict;
pub mod structured_fields;

/// A target's name and the function that it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, each with the name of its corpus.
pub const TARGETS: [Target; 9] = [
    ("codec", codec::run),
    ("config", config::run),
    ("directives", directives::run),
    ("h2_frames", h2_frames::run),
    ("key", key::run),
    ("range", range::run),
    ("request_path", request_path::run),
    ("response_path", response_path::run),
    ("structured_fields", structured_fields::run),
];
