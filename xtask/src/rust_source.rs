//! Rust text as a list of tokens, without comments, literals and `#[cfg(test)]` items.
//!
//! The source checks look for a few fixed shapes (`crate::name`, `allow(unsafe_code`). A parser
//! would be a dependency to build on every fresh machine; plain `grep` would find the shapes in
//! comments and strings too.

/// One token: an identifier, or a single punctuation character. Literals are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    Mark(char),
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        match self {
            Self::Word(word) => word == text,
            Self::Mark(mark) => text.len() == mark.len_utf8() && text.starts_with(*mark),
        }
    }
}

/// Splits Rust text into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let here = chars[at];
        let next = chars.get(at + 1).copied();
        at = match here {
            '/' if next == Some('/') => line_end(&chars, at),
            '/' if next == Some('*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            '\'' => char_or_lifetime_end(&chars, at),
            _ if here.is_alphabetic() || here == '_' => {
                let end = word_end(&chars, at);
                let word: String = chars[at..end].iter().collect();
                match raw_string_end(&chars, &word, end) {
                    Some(end) => end,
                    None => {
                        out.push(Token::Word(word));
                        end
                    }
                }
            }
            _ if here.is_ascii_digit() => word_end(&chars, at),
            _ if here.is_whitespace() => at + 1,
            _ => {
                out.push(Token::Mark(here));
                at + 1
            }
        };
    }
    out
}

/// The tokens without the items under `#[cfg(test)]` and `#[cfg(all(test, …))]`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if starts_test_item(&tokens[at..]) {
            at = item_end(tokens, attribute_end(tokens, at));
        } else {
            out.push(tokens[at].clone());
            at += 1;
        }
    }
    out
}

/// Whether the tokens begin with the given ones.
pub(crate) fn starts_with(tokens: &[Token], shape: &[&str]) -> bool {
    tokens.len() >= shape.len() && tokens.iter().zip(shape).all(|(token, text)| token.is(text))
}

fn starts_test_item(tokens: &[Token]) -> bool {
    starts_with(tokens, &["#", "[", "cfg", "(", "test", ")"])
        || starts_with(tokens, &["#", "[", "cfg", "(", "all", "(", "test"])
}

/// The index after the attribute that starts at `at`.
fn attribute_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if token.is("[") {
            depth += 1;
        } else if token.is("]") {
            depth -= 1;
            if depth == 0 {
                return index + 1;
            }
        }
    }
    tokens.len()
}

/// The index after the item that starts at `at`: its semicolon, or its closing brace.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if token.is("{") || token.is("(") || token.is("[") {
            depth += 1;
        } else if token.is("}") || token.is(")") || token.is("]") {
            depth = depth.saturating_sub(1);
            if depth == 0 && token.is("}") {
                // `use a::{b};` ends with its semicolon.
                let semicolon = tokens.get(index + 1).is_some_and(|next| next.is(";"));
                return index + 1 + usize::from(semicolon);
            }
        } else if depth == 0 && token.is(";") {
            return index + 1;
        }
    }
    tokens.len()
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |offset| at + offset)
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `'x'` and `'\n'` are literals; `'a` is a lifetime and has no closing quote.
fn char_or_lifetime_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            // The character after the backslash may itself be a quote.
            let from = (at + 3).min(chars.len());
            chars[from..].iter().position(|c| *c == '\'').map_or(chars.len(), |o| from + o + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => word_end(chars, at + 1),
    }
}

fn word_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|c| !c.is_alphanumeric() && *c != '_')
        .map_or(chars.len(), |offset| at + offset)
}

/// The end of `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `c"…"`, where `prefix` ends at `at`.
fn raw_string_end(chars: &[char], prefix: &str, at: usize) -> Option<usize> {
    if matches!(prefix, "b" | "c") && chars.get(at) == Some(&'"') {
        return Some(string_end(chars, at));
    }
    if !matches!(prefix, "r" | "br" | "cr") {
        return None;
    }
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut at = at + hashes + 1;
    while at < chars.len() {
        let closes = chars[at] == '"'
            && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        at += 1;
        if closes {
            return Some(at + hashes);
        }
    }
    Some(chars.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text)
            .into_iter()
            .filter_map(|token| match token {
                Token::Word(word) => Some(word),
                Token::Mark(_) => None,
            })
            .collect()
    }

    #[test]
    fn comments_and_literals_leave_no_words() {
        let text = r###"
            // line
            /* block /* nested */ still */
            a("string \" crate::x", 'c', '\'', b"bytes", r#"raw " crate::y"#, 0xff_u32) b
        "###;
        assert_eq!(words(text), ["a", "b"]);
    }

    #[test]
    fn lifetimes_do_not_open_a_literal() {
        assert_eq!(
            words("fn f<'a>(x: &'a str) -> &'a str { x }"),
            ["fn", "f", "x", "str", "str", "x"]
        );
    }

    #[test]
    fn test_items_are_left_out() {
        let text = "use a; #[cfg(test)] mod tests { fn f() { b } } #[cfg(test)] use c::{d}; \
                    #[cfg(all(test, loom))] mod x; fn e() {}";
        let left = without_tests(&tokens(text));
        let left: Vec<_> = left.iter().filter(|t| matches!(t, Token::Word(_))).cloned().collect();
        assert_eq!(left, ["use", "a", "fn", "e"].map(|w| Token::Word(w.to_owned())));
    }

    #[test]
    fn an_unfinished_text_ends_quietly() {
        for text in ["\"open", "/* open", "'\\", "r#\"open", "#[cfg(test)", "#[cfg(test)] mod x {"]
        {
            let _ = without_tests(&tokens(text));
        }
    }
}
