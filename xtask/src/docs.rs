//! What the documents name must exist: relative links, file names, `file.rs::name`.

use crate::markdown;
use crate::rust_source::{self, Token};
use crate::steps::{Findings, Step};
use crate::workspace::Workspace;

/// Endings that make a code span a file name.
const FILE_ENDINGS: [&str; 3] = [".rs", ".md", ".toml"];

pub(crate) const STEP: Step = Step { name: "docs", run: |workspace, _| check(workspace).report() };

/// Reports every link and name in the documents that leads nowhere.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Findings::default();
    let entries = workspace.entries();
    for document in entries.iter().filter(|path| path.ends_with(".md")) {
        let text = markdown::prose(&workspace.read(document).unwrap_or_default());
        for (number, line) in text.lines().enumerate() {
            let at = format!("{document}:{}", number + 1);
            for target in markdown::link_targets(line) {
                if let Some(why) = broken_link(workspace, document, target) {
                    findings.error(format!("{at}: link to {target}: {why}"));
                }
            }
            if names_files(document) {
                for span in markdown::code_spans(line) {
                    if let Some(why) = broken_name(workspace, document, &entries, span) {
                        findings.error(format!("{at}: `{span}`: {why}"));
                    }
                }
            }
        }
    }
    findings
}

/// The documents about the tree. Others name files of other places too.
fn names_files(document: &str) -> bool {
    matches!(document, "README.md" | "ARCHITECTURE.md" | "CONTRIBUTING.md")
        || document.starts_with("docs/")
}

fn broken_link(workspace: &Workspace, document: &str, target: &str) -> Option<String> {
    // Elsewhere, or a link of the API documentation, which rustdoc checks.
    if target.is_empty() || target.contains(':') {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { document.to_owned() } else { join(document, path) };
    if !workspace.root().join(&path).exists() {
        return Some("no such file".to_owned());
    }
    if anchor.is_empty() || !path.ends_with(".md") {
        return None;
    }
    let text = markdown::prose(&workspace.read(&path).unwrap_or_default());
    let found = text.lines().filter_map(markdown::anchor).any(|heading| heading == anchor);
    (!found).then(|| "no such heading".to_owned())
}

/// A path as seen from the document, with `..` resolved.
fn join(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn broken_name(ws: &Workspace, document: &str, entries: &[String], span: &str) -> Option<String> {
    let (path, symbol) = match span.split_once(".rs::") {
        Some((stem, symbol)) => (format!("{stem}.rs"), Some(symbol)),
        None => (span.to_owned(), None),
    };
    if !looks_like_a_file(&path) {
        return None;
    }
    let files = matches(document, entries, &path);
    if files.is_empty() {
        return Some("no such file".to_owned());
    }
    let symbol = symbol?;
    let found = files.iter().any(|file| has_symbol(&ws.read(file).unwrap_or_default(), symbol));
    (!found).then(|| format!("no `{symbol}` in {}", files.join(", ")))
}

fn looks_like_a_file(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let stem_is_named =
        FILE_ENDINGS.iter().any(|end| span.ends_with(end) && span.len() > end.len());
    plain && stem_is_named && !span.starts_with('/')
}

/// The files that a name may mean: from the root, from the document, or by the end of the path.
fn matches(document: &str, entries: &[String], path: &str) -> Vec<String> {
    let beside = join(document, path);
    let tail = format!("/{path}");
    entries
        .iter()
        .filter(|entry| **entry == path || **entry == beside || entry.ends_with(&tail))
        .cloned()
        .collect()
}

/// Whether every part of `Type::method` is a word of the file's code.
fn has_symbol(text: &str, symbol: &str) -> bool {
    let tokens = rust_source::tokens(text);
    let symbol = symbol.split(['(', '<', ' ']).next().unwrap_or_default();
    symbol
        .split("::")
        .filter(|part| !part.is_empty())
        .all(|part| tokens.iter().any(|token| matches!(token, Token::Word(word) if word == part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<String> {
        ["docs/a.md", "gc-runtime/src/compact/fault.rs", "x"].map(str::to_owned).to_vec()
    }

    #[test]
    fn names_match_by_the_end_of_the_path() {
        let whole = "gc-runtime/src/compact/fault.rs";
        assert_eq!(matches("README.md", &entries(), "compact/fault.rs"), [whole]);
        assert_eq!(matches("README.md", &entries(), whole), [whole]);
        assert_eq!(matches("docs/b.md", &entries(), "a.md"), ["docs/a.md"]);
        assert!(matches("README.md", &entries(), "ault.rs").is_empty());
    }

    #[test]
    fn only_plain_relative_names_are_checked() {
        for name in ["compact/fault.rs", "Cargo.toml", "docs/a.md"] {
            assert!(looks_like_a_file(name), "{name}");
        }
        for other in ["/dev/userfaultfd", "*.rs", "crate::x", ".rs", "a b.rs", "UFFDIO_MOVE"] {
            assert!(!looks_like_a_file(other), "{other}");
        }
    }

    #[test]
    fn symbols_are_words_of_the_code() {
        let text = "impl Table { fn claim(&self) {} } // publish";
        assert!(has_symbol(text, "Table::claim()"));
        assert!(!has_symbol(text, "publish"));
        assert!(!has_symbol(text, "clai"));
    }

    #[test]
    fn relative_links_climb() {
        assert_eq!(join("docs/decisions/0001.md", "../a.md"), "docs/a.md");
        assert_eq!(join("README.md", "./docs/a.md"), "docs/a.md");
    }
}
