//! The few parts of Markdown that the document checks read: links, code spans, headings.

/// The text with fenced blocks blanked out, so that examples are not taken for claims.
pub(crate) fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(opening)) => fence = Some(opening),
            (Some(opening), Some(closing)) if opening == closing => fence = None,
            (None, None) => out.push_str(line),
            _ => {}
        }
        out.push('\n');
    }
    out
}

/// The contents of the code spans of one line, outermost backticks only.
pub(crate) fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The targets of inline links and images, and of reference definitions, of one line.
pub(crate) fn link_targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // What stands in backticks is not a link, `a[i](x)` least of all.
    for text in line.split('`').step_by(2) {
        let mut rest = text;
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            found.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    // Code spans in the label hide the opening bracket, so that `[`x`](y)` needs a second look.
    let mut rest = line;
    while let Some(at) = rest.find("`](") {
        rest = &rest[at + 3..];
        let end = rest.find([')', ' ']).unwrap_or(rest.len());
        if !found.contains(&&rest[..end]) {
            found.push(&rest[..end]);
        }
        rest = &rest[end..];
    }
    if let Some((label, target)) = line.trim_start().split_once("]: ")
        && label.starts_with('[')
        && !label.starts_with("[^")
    {
        found.extend(target.split_whitespace().next());
    }
    found
}

/// The anchor of a heading line, as the usual renderers make it.
pub(crate) fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    Some(
        title
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                '-' | '_' => Some(c),
                _ if c.is_alphanumeric() => Some(c),
                _ => None,
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_blocks_are_not_prose() {
        assert_eq!(prose("a\n```rust\n[x](y)\n```\nb\n"), "a\n\n\n\nb\n");
    }

    #[test]
    fn links_are_found_beside_and_around_code() {
        assert_eq!(link_targets("see [a](b.md) and ![c](d.svg \"e\")"), ["b.md", "d.svg"]);
        assert_eq!(link_targets("[`x.rs`](src/x.rs), not `a[i](j)`"), ["src/x.rs"]);
        assert_eq!(link_targets("[paper]: docs/paper.md"), ["docs/paper.md"]);
        assert!(link_targets("[^1]: a footnote").is_empty());
    }

    #[test]
    fn code_spans_come_in_pairs() {
        assert_eq!(code_spans("`a` b `c`"), ["a", "c"]);
    }

    #[test]
    fn anchors_follow_the_heading() {
        assert_eq!(anchor("## What `MOVE` costs, twice").as_deref(), Some("what-move-costs-twice"));
        assert_eq!(anchor("#!shebang"), None);
        assert_eq!(anchor("text"), None);
    }
}
