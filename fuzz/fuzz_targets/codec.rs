//! Runs [`seawall_fuzz::codec::run`] on whatever libFuzzer makes up.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seawall_fuzz::codec::run(data));
