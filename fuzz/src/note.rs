//! The seed of the case that is being played, where it outlives a process that dies.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::seed::Seed;

/// A file, if `GC_FUZZ_NOTE` names one.
#[derive(Debug)]
pub(crate) struct Note(Option<File>);

impl Note {
    pub(crate) fn open() -> Self {
        let file = std::env::var_os("GC_FUZZ_NOTE").map(|path| {
            File::create(&path).unwrap_or_else(|error| panic!("GC_FUZZ_NOTE, {path:?}: {error}"))
        });
        Self(file)
    }

    pub(crate) fn write(&self, seed: Seed) {
        if let Some(file) = &self.0 {
            // Without it a crash has no seed, but the run goes on. Of fixed length: it overwrites.
            let _ = file.write_all_at(format!("{:<20}", seed.to_string()).as_bytes(), 0);
        }
    }
}
