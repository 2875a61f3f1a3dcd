//! What was measured, kept as files, so that a run that was cut goes on and pages can be made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::interrupt;

/// A folder with a file for each thing that is measured.
pub(crate) struct Results {
    folder: PathBuf,
    /// Tells programs apart, and how long each was looked at: what was measured of another one, or in
    /// another way, is measured again.
    program: String,
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    program: String,
    measured: T,
}

impl Results {
    /// Those of a program, measured as `how` says.
    pub(crate) fn of(folder: &Path, program: &Path, how: &str) -> io::Result<Self> {
        let at = |path: &Path, error| io::Error::other(format!("{}: {error}", path.display()));
        let about = fs::metadata(program).map_err(|error| {
            io::Error::other(format!("{}; `make measured` builds it", at(program, error)))
        })?;
        fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        let age = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let program = format!("{} bytes of {age}, {how}", about.len());
        Ok(Self { folder: folder.to_owned(), program })
    }

    /// Those of the program that was measured last, whether it is still there or not.
    pub(crate) fn of_last(folder: &Path) -> io::Result<Self> {
        let mut last = None;
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let entry = entry?;
            let when = entry.metadata()?.modified()?;
            let text = fs::read(entry.path()).unwrap_or_default();
            if let Ok(Kept::<IgnoredAny> { program, .. }) = serde_json::from_slice(&text)
                && last.as_ref().is_none_or(|(then, _)| *then < when)
            {
                last = Some((when, program));
            }
        }
        let nothing = || {
            let folder = folder.display();
            io::Error::other(format!("nothing was measured yet into {folder}: make bench-peers"))
        };
        let (_, program) = last.ok_or_else(nothing)?;
        Ok(Self { folder: folder.to_owned(), program })
    }

    /// Where files may be put that a measurement needs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is known, else what `measure` finds out, which is known then.
    pub(crate) fn get_or<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        measure: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(measured) = self.get(name) {
            eprintln!("{name}: measured before");
            return Ok(measured);
        }
        eprintln!("{name}");
        let measured = measure().map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        // What was cut is not what was asked for.
        interrupt::check()?;
        let kept = Kept { program: self.program.clone(), measured };
        let text = serde_json::to_string_pretty(&kept).map_err(io::Error::other)?;
        // A file is whole or not there.
        let unfinished = self.folder.join(format!("{name}.unfinished"));
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, self.file(name))?;
        Ok(kept.measured)
    }

    /// What is known of this program.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = fs::read_to_string(self.file(name)).ok()?;
        let kept: Kept<T> = serde_json::from_str(&text).ok()?;
        (kept.program == self.program).then_some(kept.measured)
    }

    /// Forgets what begins with `group`.
    pub(crate) fn forget(&self, group: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(group)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_of_a_program_is_known_of_no_other() {
        let folder = std::env::temp_dir().join(format!("seawall-results-{}", std::process::id()));
        let kept = folder.join("kept");
        assert!(Results::of_last(&kept).is_err(), "there is no folder yet");
        fs::create_dir_all(&folder).unwrap();
        let (one, other) = (folder.join("one"), folder.join("other"));
        fs::write(&one, "1").unwrap();
        fs::write(&other, "22").unwrap();
        let results = Results::of(&kept, &one, "3 rounds").unwrap();
        fs::write(kept.join("of-something-else"), [0xFF]).unwrap();
        assert!(results.get_or("a-b", || Err::<u32, _>(io::ErrorKind::Other.into())).is_err());
        assert_eq!(results.get_or("a-b", || Ok(1)).unwrap(), 1);
        assert_eq!(results.get_or("a-b", || Ok(2)).unwrap(), 1);
        for (program, how) in [(&other, "3 rounds"), (&one, "1 round")] {
            assert_eq!(Results::of(&kept, program, how).unwrap().get::<u32>("a-b"), None);
        }
        assert!(Results::of(&kept, &folder.join("none"), "3 rounds").is_err());
        assert_eq!(Results::of_last(&kept).unwrap().get("a-b"), Some(1));
        results.forget("a-").unwrap();
        assert_eq!(results.get::<u32>("a-b"), None);
        assert!(Results::of_last(&kept).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
