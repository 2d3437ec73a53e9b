//! Watches the heap's pages from cycle to cycle, for the picture in the report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gc_runtime::{Heap, PageUse};

use crate::json::PageRow;

/// Parts of the heap that a picture has, and cycles at most.
const PARTS: usize = 256;
const MOST_ROWS: usize = 100;

/// How often it is looked whether a cycle has ended.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs `work` and meanwhile records what the pages are after each cycle.
pub(crate) fn watch<R>(heap: &Heap, work: impl FnOnce() -> R) -> (R, Vec<PageRow>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut rows: Vec<PageRow> = Vec::new();
            while !over.load(Ordering::Acquire) {
                std::thread::park_timeout(INTERVAL);
                record(heap, &mut rows);
            }
            record(heap, &mut rows);
            rows
        });
        let thread = watcher.thread().clone();
        // A panic in `work` must not leave the watcher running.
        let stop = OnDrop(|| {
            over.store(true, Ordering::Release);
            thread.unpark();
        });
        let result = work();
        drop(stop);
        (result, watcher.join().expect("watching does not panic"))
    })
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn record(heap: &Heap, rows: &mut Vec<PageRow>) {
    let cycle = heap.stats().cycles;
    if cycle == 0 || rows.last().is_some_and(|row| row.cycle == cycle) {
        return;
    }
    if rows.len() == MOST_ROWS {
        // Every other row goes: the picture gets coarser, not shorter.
        let mut at = 0;
        rows.retain(|_| {
            at += 1;
            at % 2 == 0
        });
    }
    rows.push(PageRow { cycle, pages: picture(&heap.page_map()) });
}

/// One letter for each part of the heap: what most of its pages are.
fn picture(map: &[PageUse]) -> String {
    let parts = PARTS.min(map.len());
    (0..parts)
        .map(|part| {
            let pages = &map[part * map.len() / parts..(part + 1) * map.len() / parts];
            let count =
                |letter: char| pages.iter().filter(|page| self::letter(**page) == letter).count();
            LETTERS.into_iter().max_by_key(|letter| count(*letter)).unwrap_or('.')
        })
        .collect()
}

const LETTERS: [char; 4] = ['.', 'f', 's', 'c'];

fn letter(page: PageUse) -> char {
    match page {
        PageUse::Fresh => 'f',
        PageUse::Slid => 's',
        PageUse::Compacted => 'c',
        // Free; and what this program does not know yet.
        _ => '.',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shows_what_most_of_its_pages_are() {
        let mut map = vec![PageUse::Slid; 512];
        map.extend(vec![PageUse::Free; 512]);
        map[0] = PageUse::Compacted;
        map[512] = PageUse::Compacted;
        map[513] = PageUse::Compacted;
        map[514] = PageUse::Compacted;
        let picture = picture(&map);
        assert_eq!(picture.len(), 256);
        assert_eq!(&picture[..2], "ss");
        assert_eq!(&picture[128..130], "c.");
    }
}
