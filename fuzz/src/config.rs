//! Any text as a configuration: settings, or faults that can be shown.

use std::time::{Duration, Instant};

use seawall::config::{CliOverrides, parse};

/// How long reading a small file may take, with room for instrumentation and a busy machine.
const BOUND: Duration = Duration::from_secs(5);

/// A file's bytes; what is not UTF-8 is refused before this.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let begun = Instant::now();
    if let Err(faults) = parse(text, &CliOverrides::default()) {
        assert!(!faults.list().is_empty());
        let plain = faults.render(false);
        assert!(!faults.render(true).is_empty());
        // What a file holds must not steer the terminal that shows its faults.
        let steers = |c: char| c.is_control() && c != '\n';
        assert!(!plain.chars().any(steers), "{plain:?}");
        for fault in faults.list() {
            assert!(!fault.title().is_empty());
            let _ = (fault.advice(), faults.position(fault));
        }
    }
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}
