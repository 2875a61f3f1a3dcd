//! Runs [`seawall_fuzz::structured_fields::run`] on whatever libFuzzer makes up.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seawall_fuzz::structured_fields::run(data));
