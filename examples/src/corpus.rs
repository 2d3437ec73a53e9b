//! Finding and reading the text files that the index workload works on.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::error::DemoError;

/// One text file: its name relative to the input directory, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Text files in the order of their names, and what was left out.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    pub(crate) files: Vec<TextFile>,
    pub(crate) bytes: u64,
    /// Files that are not text.
    pub(crate) binary: u64,
    /// Files and directories that could not be read, with the reason.
    pub(crate) unreadable: Vec<String>,
    /// Where the text comes from, in words.
    pub(crate) origin: String,
}

/// Reads every text file below `directory`, up to `limit_bytes` in all.
pub(crate) fn read_directory(directory: &Path, limit_bytes: u64) -> Result<Corpus, DemoError> {
    let shown = directory.display();
    let metadata = fs::metadata(directory).map_err(|error| match error.kind() {
        ErrorKind::NotFound => DemoError::Input(format!(
            "there is no directory {shown}; give --input a directory with text files, or leave it out \
             to index the sources this program was built from"
        )),
        _ => DemoError::Input(format!("cannot look at {shown}: {error}; choose another --input")),
    })?;
    if !metadata.is_dir() {
        return Err(DemoError::Input(format!(
            "{shown} is a file; give --input the directory that it lies in"
        )));
    }
    let mut corpus = Corpus { origin: shown.to_string(), ..Corpus::default() };
    let mut found = Vec::new();
    walk(directory, String::new(), Kinds::Every, &mut found, &mut corpus.unreadable);
    let count = found.len();
    read_files(found, limit_bytes, &mut corpus);
    if !corpus.files.is_empty() {
        return Ok(corpus);
    }
    Err(DemoError::Input(if let Some(first) = corpus.unreadable.first() {
        format!(
            "nothing in {shown} could be read ({} unreadable, the first: {first}; {} binary); make the \
             files readable or choose another --input",
            corpus.unreadable.len(),
            corpus.binary
        )
    } else if count == 0 {
        format!("{shown} is empty; give --input a directory with text files in it")
    } else {
        format!(
            "{shown} has no text: {count} files, all empty or binary; give --input a directory with \
             text files in it"
        )
    }))
}

/// Reads the sources that this program was built from: the packages of the lock file as far as
/// cargo has unpacked them here, or else the workspace itself.
pub(crate) fn read_own_sources(limit_bytes: u64) -> Result<Corpus, DemoError> {
    let mut found = Vec::new();
    let mut corpus = Corpus {
        origin: "the sources of the packages this was built from".into(),
        ..Corpus::default()
    };
    for registry in registries() {
        for package in locked_packages() {
            let directory = registry.join(&package);
            if directory.is_dir() {
                walk(&directory, package, Kinds::Source, &mut found, &mut corpus.unreadable);
            }
        }
    }
    read_files(found, limit_bytes, &mut corpus);
    if corpus.bytes >= ENOUGH_BYTES.min(limit_bytes) {
        return Ok(corpus);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut corpus = Corpus { origin: "the sources of this workspace".into(), ..Corpus::default() };
    let mut found = Vec::new();
    walk(&workspace, String::new(), Kinds::Source, &mut found, &mut corpus.unreadable);
    read_files(found, limit_bytes, &mut corpus);
    if corpus.files.is_empty() {
        return Err(DemoError::Input(
            "the sources this program was built from are not on this machine any more; give --input a \
             directory with text files in it"
                .into(),
        ));
    }
    Ok(corpus)
}

/// Which files count as input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// Every file; those that are not text are skipped when they have been read.
    Every,
    /// Files that are called like source text.
    Source,
}

/// Below this the packages of the lock file are no input worth the name.
const ENOUGH_BYTES: u64 = 1 << 20;

/// The lock file that this program was built with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// `name-version` of every package in the lock file, sorted: how cargo calls their directories.
fn locked_packages() -> Vec<String> {
    let quoted = |line: &'static str, key: &str| {
        line.strip_prefix(key).map(|rest| rest.trim_matches('"').to_owned())
    };
    let mut packages = Vec::new();
    let mut name = None;
    for line in LOCK.lines() {
        if let Some(found) = quoted(line, "name = ") {
            name = Some(found);
        } else if let (Some(package), Some(version)) = (&name, quoted(line, "version = ")) {
            packages.push(format!("{package}-{version}"));
            name = None;
        }
    }
    packages.sort();
    packages
}

/// The directories in which cargo keeps unpacked packages.
fn registries() -> Vec<PathBuf> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let Some(cargo_home) = cargo_home else { return Vec::new() };
    let mut registries: Vec<PathBuf> = fs::read_dir(cargo_home.join("registry/src"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    registries.sort();
    registries
}

/// A file to be read: its name in the corpus and where it lies.
type Found = (String, PathBuf);

/// Lists the regular files below `directory`. Links are not followed: they could lead in circles.
fn walk(
    directory: &Path,
    name: String,
    kinds: Kinds,
    found: &mut Vec<Found>,
    unreadable: &mut Vec<String>,
) {
    let mut open = vec![(name, directory.to_owned())];
    while let Some((name, directory)) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                unreadable.push(format!("{}: {error}", directory.display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let file_name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && (file_name.starts_with('.') || file_name == "target") {
                continue;
            }
            let child =
                if name.is_empty() { file_name.clone() } else { format!("{name}/{file_name}") };
            if kind.is_dir() {
                open.push((child, entry.path()));
            } else if kind.is_file() && (kinds == Kinds::Every || is_source(&file_name)) {
                found.push((child, entry.path()));
            }
        }
    }
}

fn is_source(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "md" | "toml" | "txt"))
}

/// Reads the files in the order of their names until `limit_bytes` are there.
fn read_files(mut found: Vec<Found>, limit_bytes: u64, corpus: &mut Corpus) {
    found.sort();
    // The same package may lie in two registries.
    found.dedup_by(|a, b| a.0 == b.0);
    for (name, path) in found {
        if corpus.bytes >= limit_bytes {
            break;
        }
        match read_text(&path, limit_bytes - corpus.bytes) {
            Ok(Some(text)) if !text.trim().is_empty() => {
                corpus.bytes += text.len() as u64;
                corpus.files.push(TextFile { name, text });
            }
            Ok(Some(_)) => {}
            Ok(None) => corpus.binary += 1,
            Err(error) => corpus.unreadable.push(format!("{}: {error}", path.display())),
        }
    }
}

/// The text of a file, cut at `limit_bytes`; `None` when it is not text.
fn read_text(path: &Path, limit_bytes: u64) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit_bytes).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        // The limit may have cut a character in two: that is still text.
        Err(error) if error.utf8_error().error_len().is_none() => {
            let end = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(end);
            Ok(String::from_utf8(bytes).ok())
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        fs::create_dir_all(dir.path().join(".git")).unwrap();
        for name in ["z.txt", "b/c/x.txt", "a.txt", ".git/config"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::write(dir.path().join("m.bin"), [0, 1, 2]).unwrap();
        fs::write(dir.path().join("n.bin"), [0xff, 0xfe, 1]).unwrap();
        let corpus = read_directory(dir.path(), 1 << 20).unwrap();
        let names: Vec<&str> = corpus.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.txt", "b/c/x.txt", "z.txt"]);
        assert_eq!(corpus.binary, 2);
    }

    #[test]
    fn reading_stops_at_the_limit_between_two_characters() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.txt"), "ääääää").unwrap();
        let corpus = read_directory(dir.path(), 5).unwrap();
        assert_eq!(corpus.files[0].text, "ää");
    }

    #[test]
    fn the_lock_file_names_packages() {
        let packages = locked_packages();
        assert!(packages.iter().any(|package| package.starts_with("hdrhistogram-7.")));
        assert!(packages.len() > 20);
    }
}
