//! The answers depend on the seed and the input alone.

use super::{Library, Plan, run};
use crate::corpus::{Corpus, TextFile};
use crate::memory::Memory;
use crate::progress::{Bars, Progress};
use crate::random::Random;

/// Files of made-up words, common and rare ones.
fn corpus() -> Corpus {
    let mut random = Random::new(3);
    let files = (0..40)
        .map(|file| {
            let words: Vec<String> =
                (0..2000).map(|_| format!("word{}\n", random.log_uniform(1, 5000))).collect();
            TextFile { name: format!("file{file}.txt"), text: words.concat() }
        })
        .collect();
    Corpus { files, ..Corpus::default() }
}

fn plan(seed: u64, readers: usize) -> Plan {
    Plan {
        seed,
        readers,
        live_text_bytes: 200_000,
        batch_text_bytes: 20_000,
        churn_batches: 30,
        queries_per_batch: 40,
    }
}

fn malloc_checksum(seed: u64, readers: usize) -> u64 {
    let library = Library::new(corpus(), seed);
    let progress = Progress::new(Bars::Hidden, "test", 1);
    run(&plan(seed, readers), &library, &Memory::Malloc, &progress).unwrap().checksum
}

#[test]
fn answers_do_not_depend_on_timing_or_threads() {
    let first = malloc_checksum(1, 2);
    assert_eq!(first, malloc_checksum(1, 2));
    assert_eq!(first, malloc_checksum(1, 1));
    assert_eq!(first, malloc_checksum(1, 5));
    assert_ne!(first, malloc_checksum(2, 2));
}

#[test]
fn heap_and_malloc_give_the_same_answers() {
    let library = Library::new(corpus(), 1);
    let progress = Progress::new(Bars::Hidden, "test", 1);
    let heap = gc_runtime::Heap::builder().limit_bytes(16 << 20).build().unwrap();
    let outcome = run(&plan(1, 2), &library, &Memory::Heap(heap.clone()), &progress).unwrap();
    heap.collect();
    let report = heap.verify().unwrap();
    assert!(report.objects > 1000, "the index lives on for the verification");
    assert_eq!(outcome.checksum, malloc_checksum(1, 2));
}
