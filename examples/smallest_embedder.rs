//! The smallest program on the heap: a list that grows at one end and dies at the other.
//!
//! ```text
//! cargo run --example smallest_embedder
//! ```
#![forbid(unsafe_code)]

use std::error::Error;

use gc_runtime::{Heap, Record};

/// A link has one reference, to the next link, and one word of data.
const LINK: Record = Record { refs: 1, data_words: 1 };
const NEXT: u32 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    let heap = Heap::builder().limit_bytes(16 << 20).build()?;
    println!("transport: {} ({})", heap.transport(), heap.transport_reason());

    // This thread becomes a mutator. Roots survive safepoints, and everything they lead to.
    let mut mutator = heap.attach()?;
    let first = mutator.alloc(LINK)?;
    let last = mutator.push_root(mutator.root(first));
    let new = mutator.push_root(None);

    for number in 1..=1_000_000 {
        // An allocation can be a safepoint: objects may move here. So it needs the mutator
        // exclusively, and the compiler refuses any reference that was read before it.
        mutator.alloc_into(new, LINK)?;
        let (Some(end), Some(link)) = (mutator.root(last), mutator.root(new)) else {
            return Err("a root was lost".into());
        };
        mutator.set_word(link, 0, number);
        mutator.store(end, NEXT, Some(link));
        mutator.set_root(last, Some(link));
        if number > 10_000 {
            // The list keeps its last ten thousand links.
            let second = mutator.root(first).and_then(|link| mutator.load(link, NEXT));
            mutator.set_root(first, second);
        }
    }

    mutator.collect();
    let (mut links, mut next) = (0, mutator.root(first));
    while let Some(link) = next {
        links += 1;
        next = mutator.load(link, NEXT);
    }
    drop(mutator);
    let stats = heap.stats();
    println!("{links} links are left after {} cycles", stats.cycles);
    println!(
        "live: {} bytes; pages moved as a whole or reused: {}",
        stats.live_bytes, stats.pages_recycled
    );
    Ok(())
}
