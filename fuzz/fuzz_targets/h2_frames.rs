//! Runs [`seawall_fuzz::h2_frames::run`] on whatever libFuzzer makes up.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seawall_fuzz::h2_frames::run(data));
