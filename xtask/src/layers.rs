//! Module edges against the layer table: a module uses its own layer and those below.
//!
//! `lib.rs` is the facade on top of every table: it may name everything, and nobody reaches up to
//! it. A `crate::Name` that the facade re-exports counts as an edge to the module that `Name`
//! comes from, so a detour over the facade is no way around the rule. A row may also name a module
//! inside a module (`compact/page_state`) that stands lower than the rest of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::rust_source::{self, Token};
use crate::steps::{Findings, Step};
use crate::workspace::{self, Workspace};

/// One crate's modules, bottom to top. Modules in one row are peers and may use each other.
struct Layers {
    /// The folder of `lib.rs`.
    source: &'static str,
    bottom_to_top: &'static [&'static [&'static str]],
}

/// The layer rule. Edit here, and say in ARCHITECTURE.md what changed.
const TABLE: &[Layers] = &[
    Layers {
        source: "uffd-move/src",
        bottom_to_top: &[
            &["page", "features", "outcome", "error"],
            &["sys"],
            &["raw"],
            &["open", "registration", "move_pages", "fault"],
            &["support", "handler_thread", "signal", "alt_stack", "pretouch"],
        ],
    },
    Layers {
        source: "gc-runtime/src",
        bottom_to_top: &[
            &[
                "addr",
                "halves",
                "sync",
                "gate",
                "error",
                "options",
                "stats",
                "counters",
                "processor",
                "event",
                "container",
                "model",
                "layout",
                "last_layout",
                "record",
                "local",
            ],
            &["observe"],
            &["environment"],
            &["raw"],
            &[
                "mark/live_bitmap",
                "mark/marks_apart",
                "mark/page_reach",
                "mark/batches",
                "mark/barrier",
                "mark/worklist",
            ],
            &["forward"],
            // The words in which transports and the steps of compaction talk to each other; what faults
            // leave behind for the next.
            &["compact/page_state", "compact/near_faults"],
            &["transport", "compact/recycle", "compact/free_pages", "compact/emptied_pages"],
            &["space"],
            &["embedder_roots", "roots", "safepoint"],
            &["mark"],
            &["references", "fixed"],
            &["compact"],
            &["release"],
            &["core", "verify", "snapshot", "trigger"],
            &["cycle"],
            &[
                "heap",
                "builder",
                "mutator",
                "refill",
                "root_access",
                "object_access",
                "record_access",
                "reference_access",
                "placement",
                "jit_layout",
                "typed",
            ],
        ],
    },
];

pub(crate) const STEP: Step =
    Step { name: "layers", run: |workspace, _| check(workspace).report() };

/// Reports every edge that points up, and every module that the table does not know.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Findings::default();
    let files = workspace.rust_files();
    for layers in TABLE {
        check_crate(workspace, layers, &files, &mut findings);
    }
    findings
}

fn check_crate(ws: &Workspace, layers: &Layers, files: &[String], findings: &mut Findings) {
    let source = layers.source;
    let facade = ws.read(&format!("{source}/lib.rs")).unwrap_or_default();
    let exports = exports(&facade);
    let mut seen = BTreeSet::new();
    for file in files {
        let Some(inside) = file.strip_prefix(&format!("{source}/")) else { continue };
        let module = module_path(inside);
        if module.is_empty() {
            continue;
        }
        seen.extend([module[0].clone(), module.join("/")]);
        let Some((own, own_name)) = layers.height(&module) else {
            let name = module.join("::");
            findings.error(format!("{file}: module `{name}` is in no row of xtask/src/layers.rs"));
            continue;
        };
        if workspace::is_test_file(file) {
            continue;
        }
        for path in
            edges(&ws.read(file).unwrap_or_default(), &module, |path| layers.height(path).is_some())
        {
            let used = exports.get(&path[0]).unwrap_or(&path);
            match layers.height(used) {
                Some((height, used)) if height > own => findings.error(format!(
                    "{file}: `{own_name}` uses `{}` of the higher layer `{used}`",
                    path.join("::")
                )),
                Some(_) => {}
                None => findings.error(format!(
                    "{file}: `crate::{}` is neither a module of the table nor re-exported",
                    path[0]
                )),
            }
        }
    }
    for known in layers.bottom_to_top.iter().flat_map(|row| row.iter()) {
        if !seen.contains(*known) {
            findings.error(format!("xtask/src/layers.rs: {source} has no module `{known}`"));
        }
    }
}

impl Layers {
    /// The row of a path, and the entry that it falls under: the longest one that fits.
    fn height(&self, path: &[String]) -> Option<(usize, &'static str)> {
        let rows = self.bottom_to_top.iter().enumerate();
        let entries = rows.flat_map(|(height, row)| row.iter().map(move |entry| (height, *entry)));
        entries
            .filter(|(_, entry)| {
                let parts: Vec<&str> = entry.split('/').collect();
                parts.len() <= path.len() && parts.iter().zip(path).all(|(part, name)| part == name)
            })
            .max_by_key(|(_, entry)| entry.len())
    }
}

/// `compact/fault.rs` is the module path `compact::fault`; `lib.rs` is the root, without a name.
fn module_path(inside: &str) -> Vec<String> {
    let stem = inside.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" || stem == "main" {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

/// The paths from the root of the crate that a file uses, by `crate::` and by `super::`.
///
/// In an inline module `super` means less than it seems: it counts only where it leads to a module
/// of the table.
fn edges(
    text: &str,
    module: &[String],
    is_known: impl Fn(&[String]) -> bool,
) -> BTreeSet<Vec<String>> {
    let tokens = rust_source::without_tests(&rust_source::tokens(text));
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        // Not `pub(in crate::…)`.
        let is_use = at == 0 || !tokens[at - 1].is("in");
        if tokens[at].is("crate") && is_use {
            found.extend(paths(&tokens[at + 1..]));
        } else if tokens[at].is("super") {
            let mut ups = 1;
            while rust_source::starts_with(&tokens[at + 1..], &[":", ":", "super"]) {
                ups += 1;
                at += 3;
            }
            if let Some(kept) = module.len().checked_sub(ups) {
                let below = |path: Vec<String>| [&module[..kept], &path[..]].concat();
                let above = paths(&tokens[at + 1..]).into_iter().map(below);
                found.extend(above.filter(|path| is_known(path)));
            }
        }
        at += 1;
    }
    found
}

/// The paths of a use tree, or the one path of an expression, that starts with `::`.
fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // What stands before each open brace.
    let mut outer: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let separated = rust_source::starts_with(&tokens[at..], &[":", ":"]);
        match token {
            _ if separated => at += 1,
            Token::Word(word) if word == "as" => at += 1,
            // A macro lives at the root wherever it is written.
            Token::Word(_) if tokens.get(at + 1).is_some_and(|next| next.is("!")) => break,
            // Two words in a row: the path has ended, and the next one belongs to something else.
            Token::Word(_) if at > 0 && matches!(tokens[at - 1], Token::Word(_)) => break,
            Token::Word(word) if at > 0 => {
                if word != "self" {
                    path.push(word.clone());
                }
            }
            Token::Mark('{') if at > 0 && tokens[at - 1].is(":") => outer.push(path.clone()),
            Token::Mark(',' | '}') if !outer.is_empty() => {
                found.push(path.clone());
                path = outer.last().cloned().unwrap_or_default();
                if token.is("}") {
                    outer.pop();
                    path = outer.last().cloned().unwrap_or_default();
                }
            }
            _ => break,
        }
        at += 1;
    }
    found.push(path);
    found.retain(|path| !path.is_empty());
    found
}

/// The names that `lib.rs` brings to the root, each with the path that it comes from.
fn exports(facade: &str) -> BTreeMap<String, Vec<String>> {
    let tokens = rust_source::without_tests(&rust_source::tokens(facade));
    let mut found = BTreeMap::new();
    for at in (0..tokens.len()).filter(|at| tokens[*at].is("use")) {
        let mut rest = &tokens[at + 1..];
        if rust_source::starts_with(rest, &["crate", ":", ":"]) {
            rest = &rest[3..];
        }
        let separator = [Token::Mark(':'), Token::Mark(':')];
        for path in paths(&[&separator[..], rest].concat()) {
            if let [_, .., name] = &path[..] {
                found.insert(name.clone(), path.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges_of(text: &str, module: &str) -> Vec<String> {
        edges(text, &module_path(module), |path| path[0].len() == 1)
            .into_iter()
            .map(|path| path.join("::"))
            .collect()
    }

    #[test]
    fn paths_and_groups_are_edges() {
        let text =
            "use crate::a::B; use crate::{c, d::{e, f as x}, g::H}; fn x() { crate::i::j() }";
        let found = edges_of(text, "m.rs");
        assert_eq!(found, ["a::B", "c", "d::e", "d::f", "g::H", "i::j"]);
    }

    #[test]
    fn a_path_ends_where_the_expression_goes_on() {
        let text = "let x = crate::a::B { c, d }; impl crate::e::F for G {} f(crate::h::I, j)";
        assert_eq!(edges_of(text, "m.rs"), ["a::B", "e::F", "h::I"]);
    }

    #[test]
    fn comments_tests_macros_and_visibility_are_not_edges() {
        let text = "//! [`crate::a`]\npub(crate) fn f() {} pub(in crate::b) fn g() { crate::c!() }
                    #[cfg(test)] mod tests { use crate::d; }";
        assert!(edges_of(text, "m.rs").is_empty());
    }

    #[test]
    fn super_climbs_from_the_module_of_the_file() {
        let text = "use super::a; use super::super::b;";
        assert_eq!(edges_of(text, "m/n.rs"), ["b", "m::a"]);
        assert_eq!(edges_of(text, "m/mod.rs"), ["a"]);
        assert!(edges_of("mod inline { use super::OwnName; }", "m.rs").is_empty());
    }

    #[test]
    fn the_longest_entry_decides() {
        let layers = Layers { source: "", bottom_to_top: &[&["a/b"], &["c"], &["a"]] };
        let height = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            layers.height(&path).map(|(height, _)| height)
        };
        assert_eq!(height(&["a", "b", "X"]), Some(0));
        assert_eq!(height(&["a", "x"]), Some(2));
        assert_eq!(height(&["z"]), None);
    }

    #[test]
    fn re_exports_lead_to_their_module() {
        let map = exports("pub use a::{B, c::D}; pub use crate::{e::{F}, g::H}; mod i;");
        let of = |name: &str| map.get(name).map(|path| path.join("::"));
        assert_eq!(of("B").as_deref(), Some("a::B"));
        assert_eq!(of("D").as_deref(), Some("a::c::D"));
        assert_eq!(of("F").as_deref(), Some("e::F"));
        assert_eq!(of("H").as_deref(), Some("g::H"));
        assert_eq!(of("i"), None);
    }

    #[test]
    fn module_paths_follow_the_files() {
        assert!(module_path("lib.rs").is_empty());
        assert_eq!(module_path("page.rs"), ["page"]);
        assert_eq!(module_path("sys/mod.rs"), ["sys"]);
        assert_eq!(module_path("sys/linux/call.rs"), ["sys", "linux", "call"]);
    }

    #[test]
    fn an_upward_edge_is_reported() {
        let folder = scratch_folder("layers-upward");
        std::fs::create_dir_all(folder.join("uffd-move/src")).expect("a scratch folder");
        std::fs::write(folder.join("uffd-move/src/low.rs"), "use crate::High;").expect("written");
        std::fs::write(folder.join("uffd-move/src/high.rs"), "use crate::low;").expect("written");
        std::fs::write(folder.join("uffd-move/src/lib.rs"), "pub use high::High;")
            .expect("written");
        let workspace = Workspace::at(&folder);
        let layers = Layers { source: "uffd-move/src", bottom_to_top: &[&["low"], &["high"]] };
        let mut findings = Findings::default();
        check_crate(&workspace, &layers, &workspace.rust_files(), &mut findings);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(findings.errors().len(), 1, "{findings:?}");
        assert!(findings.errors()[0].contains("higher layer `high`"));
    }

    fn scratch_folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("x-{name}-{}", std::process::id()))
    }
}
