//! The corpus of the fuzz targets, replayed: what a fuzzer found once stays found, and no nightly
//! compiler is needed for that.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use crate::fuzz::TARGETS;

fn replay(name: &str) {
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let (mut inputs, mut faults) = (0, Vec::new());
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("a readable folder").path();
        let data = fs::read(&path).expect("a readable file");
        assert!(data.len() <= 4096, "{}: a corpus is kept small", path.display());
        inputs += 1;
        if catch_unwind(|| run(&data)).is_err() {
            faults.push(path);
        }
    }
    assert!(faults.is_empty(), "see above for what is wrong with {faults:#?}");
    assert!(inputs >= 5, "{name} has a corpus");
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($target)),*];
            assert!(TARGETS.iter().all(|(name, _)| replayed.contains(name)));
        }
    };
}

replays! {
    codec config directives h2_frames key range request_path response_path structured_fields
}
