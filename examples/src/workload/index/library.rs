//! The documents: passages of the input files, with their terms counted.
//!
//! This is done once, before anything is measured, and lies outside the memory under test.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::corpus::Corpus;
use crate::random::{Random, hash_bytes, mix};

/// All passages and all terms.
#[derive(Debug)]
pub(crate) struct Library {
    files: Vec<(String, String)>,
    passages: Vec<Passage>,
    terms: Vec<Term>,
}

/// A part of a file.
#[derive(Debug)]
struct Passage {
    file: usize,
    start: usize,
    end: usize,
    /// Number of the term and how often it occurs, in the order of first occurrence.
    terms: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct Term {
    text: Arc<str>,
    hash: u64,
}

/// A document to be added to the index.
#[derive(Debug)]
pub(super) struct Draft<'l> {
    pub(super) title: &'l str,
    pub(super) text: &'l str,
    library: &'l Library,
    terms: &'l [(u32, u32)],
}

impl<'l> Draft<'l> {
    /// Hash, text and count of each term.
    pub(super) fn terms(&self) -> impl ExactSizeIterator<Item = (u64, &'l str, u32)> + use<'l> {
        let library = self.library;
        self.terms.iter().map(move |&(term, count)| {
            let (hash, text) = library.term(term);
            (hash, text, count)
        })
    }

    /// The term at `index` of [`Self::terms`], by its number.
    pub(super) fn term_number(&self, index: usize) -> u32 {
        self.terms[index].0
    }

    pub(super) fn term_count(&self) -> usize {
        self.terms.len()
    }
}

impl Library {
    pub(crate) fn new(corpus: Corpus, seed: u64) -> Self {
        let mut numbers: HashMap<Arc<str>, u32> = HashMap::new();
        let mut hashes = HashSet::new();
        let mut library = Self { files: Vec::new(), passages: Vec::new(), terms: Vec::new() };
        let mut random = Random::new(seed);
        for (file, source) in corpus.files.into_iter().enumerate() {
            let mut start = 0;
            while start < source.text.len() {
                let size = random.log_uniform(SHORTEST_PASSAGE, LONGEST_PASSAGE);
                let end = passage_end(&source.text, start, size);
                let text = &source.text[start..end];
                let terms = count_terms(text, &mut numbers, &mut hashes, &mut library.terms);
                if !terms.is_empty() {
                    library.passages.push(Passage { file, start, end, terms });
                }
                start = end;
            }
            library.files.push((source.name, source.text));
        }
        if library.passages.is_empty() {
            // Text without a single word: still a document, though no query finds it.
            let end = library.files[0].1.len();
            library.passages.push(Passage { file: 0, start: 0, end, terms: Vec::new() });
        }
        library
    }

    pub(super) fn passage_count(&self) -> usize {
        self.passages.len()
    }

    pub(super) fn draft(&self, passage: usize) -> Draft<'_> {
        let passage = &self.passages[passage];
        let (title, text) = &self.files[passage.file];
        Draft {
            title,
            text: &text[passage.start..passage.end],
            library: self,
            terms: &passage.terms,
        }
    }

    /// Hash and text of a term.
    pub(super) fn term(&self, number: u32) -> (u64, &str) {
        let term = &self.terms[number as usize];
        (term.hash, &term.text)
    }
}

/// Passages are from half a KiB to 16 KiB of text: leaves of very different sizes.
const SHORTEST_PASSAGE: u64 = 512;
const LONGEST_PASSAGE: u64 = 16 << 10;

/// The end of a passage of about `size` bytes: after a line, or else between two characters.
fn passage_end(text: &str, start: usize, size: u64) -> usize {
    let mut end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
    if end >= text.len() {
        return text.len();
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    match text[start..end].rfind('\n') {
        Some(newline) => start + newline + 1,
        None => end,
    }
}

/// Counts the words of a text: identifiers of three letters and more, in lower case.
fn count_terms(
    text: &str,
    numbers: &mut HashMap<Arc<str>, u32>,
    hashes: &mut HashSet<u64>,
    terms: &mut Vec<Term>,
) -> Vec<(u32, u32)> {
    let mut counted: Vec<(u32, u32)> = Vec::new();
    let mut place: HashMap<u32, usize> = HashMap::new();
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    for word in words {
        if word.len() < 3 || word.len() > 40 || word.as_bytes()[0].is_ascii_digit() {
            continue;
        }
        let word = word.to_lowercase();
        let number = match numbers.get(word.as_str()) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(terms.len()).expect("fewer than 2^32 terms");
                let text: Arc<str> = word.into();
                let mut hash = hash_bytes(text.as_bytes());
                // The index knows a document's terms by their hashes: no two may be the same.
                while !hashes.insert(hash) {
                    hash = mix(hash, 1);
                }
                terms.push(Term { hash, text: Arc::clone(&text) });
                numbers.insert(text, number);
                number
            }
        };
        match place.get(&number) {
            Some(&at) => counted[at].1 += 1,
            None => {
                place.insert(number, counted.len());
                counted.push((number, 1));
            }
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_in_lower_case() {
        let (mut numbers, mut hashes, mut terms) = (HashMap::new(), HashSet::new(), Vec::new());
        let counted =
            count_terms("Let let x = 12ab; fn_one(LET)", &mut numbers, &mut hashes, &mut terms);
        let named: Vec<(&str, u32)> =
            counted.iter().map(|(term, count)| (&*terms[*term as usize].text, *count)).collect();
        assert_eq!(named, [("let", 3), ("fn_one", 1)]);
    }

    #[test]
    fn passages_end_between_characters() {
        let text = "ä".repeat(100);
        assert_eq!(passage_end(&text, 0, 7), 8);
        assert_eq!(passage_end("ab\ncd", 0, 4), 3);
        assert_eq!(passage_end("ab", 0, 4), 2);
    }
}
