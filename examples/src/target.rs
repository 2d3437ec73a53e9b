//! A file to be written at the end: refused before the run, never half-written.

use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::error::DemoError;

/// A place for a result. The result lands in a temporary file beside it and is renamed when it is complete.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    file: NamedTempFile,
}

impl Target {
    /// Makes sure, before anything runs, that `path` can be written.
    pub(crate) fn reserve(path: &Path) -> Result<Self, DemoError> {
        let fail = |source| DemoError::Write { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(fail(Error::from(ErrorKind::IsADirectory)));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // 0o666 less the umask: a result is as readable as any other new file.
        let file = Builder::new()
            .prefix(".gc-demo-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(fail)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Puts `text` in place.
    pub(crate) fn commit(mut self, text: &str) -> Result<(), DemoError> {
        let path = self.path;
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.flush())
            .and_then(|()| self.file.persist(&path).map_err(Error::from))
            .map(drop)
            .map_err(|source| DemoError::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_when_a_run_fails() {
        let dir = tempfile::tempdir().unwrap();
        drop(Target::reserve(&dir.path().join("a.json")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_commit_replaces_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, "old").unwrap();
        let target = Target::reserve(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        target.commit("new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_directory_is_no_target() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Target::reserve(dir.path()).is_err());
        assert!(Target::reserve(&dir.path().join("no/such/a.json")).is_err());
    }
}
