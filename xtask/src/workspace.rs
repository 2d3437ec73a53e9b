//! Where the workspace is, and which files belong to it.

use std::path::{Path, PathBuf};

/// Members with Rust source that the source checks read.
const MEMBERS: [&str; 5] = ["uffd-move", "gc-runtime", "examples", "benches", "xtask"];

/// Folders that hold no text of ours.
const NOT_OURS: [&str; 3] = ["target", ".git", ".x-cache"];

/// The checked-out workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn of_this_program() -> Self {
        let member = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = member.parent().expect("xtask is a folder of the workspace");
        Self { root: root.to_path_buf() }
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path as it is written in documents and messages: from the root, with slashes.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Every file and folder of ours, in the order of their names. Folders end with a slash.
    pub(crate) fn entries(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(&self.root, &mut found);
        found.sort();
        found
    }

    /// The Rust files of the members, as paths from the root.
    pub(crate) fn rust_files(&self) -> Vec<String> {
        self.entries()
            .into_iter()
            .filter(|path| path.ends_with(".rs"))
            .filter(|path| MEMBERS.iter().any(|member| path.starts_with(&format!("{member}/"))))
            .collect()
    }

    /// The text of a file, or nothing where it is missing or not UTF-8.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }

    fn walk(&self, folder: &Path, found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            // Not through links: a link to a folder above would never end.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder {
                found.push(self.relative(&path));
            } else if !NOT_OURS.iter().any(|other| name == *other) {
                found.push(format!("{}/", self.relative(&path)));
                self.walk(&path, found);
            }
        }
    }
}

/// Whether a path from the root is test code as a whole.
pub(crate) fn is_test_file(path: &str) -> bool {
    // `tests.rs` and `loom_tests.rs` beside the code, and whole folders.
    path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.split('/').any(|part| part == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_finds_this_file_and_no_build_output() {
        let entries = Workspace::of_this_program().entries();
        assert!(entries.iter().any(|path| path == "xtask/src/workspace.rs"));
        assert!(entries.iter().any(|path| path == "xtask/src/"));
        assert!(!entries.iter().any(|path| path.starts_with("target/")));
    }

    #[test]
    fn test_files_are_known_by_name_or_folder() {
        assert!(is_test_file("gc-runtime/src/mark/tests.rs"));
        assert!(is_test_file("uffd-move/tests/support/mod.rs"));
        assert!(!is_test_file("xtask/src/test.rs"));
    }
}
