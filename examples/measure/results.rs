//! What was measured, kept as files, so that a run that was cut goes on and pages can be made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// A folder with a file for each thing that is measured.
pub(crate) struct Results {
    folder: PathBuf,
    /// Tells programs apart: what was measured of another one is measured again.
    program: String,
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    program: String,
    measured: T,
}

impl Results {
    pub(crate) fn of(folder: &Path, program: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let about = fs::metadata(program)
            .map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
        let age = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let program = format!("{} bytes of {age}", about.len());
        Ok(Self { folder: folder.to_owned(), program })
    }

    /// Those of the program that was measured last, whether it is still there or not.
    pub(crate) fn of_last(folder: &Path) -> io::Result<Self> {
        let mut last = None;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let when = entry.metadata()?.modified()?;
            let text = fs::read_to_string(entry.path())?;
            if let Ok(Kept::<IgnoredAny> { program, .. }) = serde_json::from_str(&text)
                && last.as_ref().is_none_or(|(then, _)| *then < when)
            {
                last = Some((when, program));
            }
        }
        let (_, program) = last.ok_or_else(|| io::Error::other("nothing was measured yet"))?;
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
        let kept = Kept { program: self.program.clone(), measured: measure()? };
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
        fs::create_dir_all(&folder).unwrap();
        let (one, other) = (folder.join("one"), folder.join("other"));
        fs::write(&one, "1").unwrap();
        fs::write(&other, "22").unwrap();
        let kept = folder.join("kept");
        let results = Results::of(&kept, &one).unwrap();
        assert_eq!(results.get_or("a-b", || Ok(1)).unwrap(), 1);
        assert_eq!(results.get_or("a-b", || Ok(2)).unwrap(), 1);
        assert_eq!(Results::of(&kept, &other).unwrap().get::<u32>("a-b"), None);
        assert_eq!(Results::of_last(&kept).unwrap().get("a-b"), Some(1));
        results.forget("a-").unwrap();
        assert_eq!(results.get::<u32>("a-b"), None);
        assert!(Results::of_last(&kept).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
