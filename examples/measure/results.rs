//! What was measured, kept as files, so that a run that was cut goes on and pages can be made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::de::DeserializeOwned;
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
