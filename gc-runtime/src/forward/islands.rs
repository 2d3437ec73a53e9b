//! The planner: which runs of pages keep their content, and where everything goes.
//!
//! It looks at the number of live words on each page, and at nothing else of the heap.

use crate::addr::{Geometry, PageIndex, index32};
use crate::forward::fixed_pages::{Fix, FixedPages, FixedWalk};
use crate::forward::straddle::StraddleTable;

/// A prefix of the heap keeps its place if at least this share of its words is live, in percent.
///
/// Moving nothing there costs at most the dead rest; ART settled on the same figure after
/// measuring memory on phones.
pub(crate) const DENSE_PERCENT: u64 = 95;

/// A page is dense enough for an island if at least this share of its words is live, in percent.
pub(crate) const ISLAND_PERCENT: u64 = 90;

/// The least dense pages of an island while no mutator runs: what a clump of 64 KiB has, wherever in a
/// page it begins.
pub(crate) const ISLAND_PAGES: usize = 14;

/// The same beside running mutators. An island breaks the runs of staging pages around it: two more
/// requests, each of which has the processors of mutators forget translations. On a virtual machine
/// that is as dear as building some twenty or thirty pages.
pub(crate) const LONG_ISLAND_PAGES: usize = 64;

/// How tightly the summary packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Pages that are live enough keep their content, dead words and all.
    Islands,
    /// The same, but only long runs of them: mutators run.
    LongIslands,
    /// Every dead word goes, whatever it costs: memory has run out, or somebody wants to know.
    Tight,
}

impl Packing {
    fn dense_percent(self) -> u64 {
        match self {
            Self::Islands | Self::LongIslands => DENSE_PERCENT,
            Self::Tight => 100,
        }
    }

    /// The least pages of an island.
    pub(crate) fn island_pages(self) -> usize {
        match self {
            Self::Islands => ISLAND_PAGES,
            Self::LongIslands => LONG_ISLAND_PAGES,
            Self::Tight => usize::MAX,
        }
    }

    /// The share of live words from which on a page keeps its content; zero if none does.
    pub(crate) fn threshold_percent(self) -> u64 {
        match self {
            Self::Islands | Self::LongIslands => ISLAND_PERCENT,
            Self::Tight => 0,
        }
    }
}

/// Words left empty before an island: they come before the word `at` of the old heap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Padding {
    pub(crate) at: u32,
    pub(crate) words: u32,
    /// Its number among those that come in the middle of a page's words.
    pub(crate) split: u32,
}

/// Where an old page's live words go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// They are packed, from the word `start` of the new heap on.
    Packed {
        /// The place of the first.
        start: u32,
        /// What is left empty on the way.
        padding: Option<Padding>,
    },
    /// The page keeps its content.
    Whole {
        /// The place of its first word.
        start: u32,
    },
}

/// Padding as the new heap's pages see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// The word of the old heap before which the padding comes.
    pub(crate) at: u32,
    /// Where packed words end.
    pub(crate) place: u32,
    /// Where the island starts.
    pub(crate) island: u32,
    /// How many words, from `at` on, come right before the island: they belong to an object that
    /// reaches into it.
    pub(crate) tail: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Island(Run),
    /// So many pages, of which none begins an island.
    Packed {
        pages: usize,
    },
}

/// The outcome.
#[derive(Debug)]
pub(crate) struct Placement {
    /// Pages of the dense prefix.
    pub(crate) dense: u32,
    /// For each page of the old heap.
    pub(crate) targets: Vec<Target>,
    pub(crate) gaps: Vec<Gap>,
    /// The end of all words in the new heap.
    pub(crate) end: u32,
    pub(crate) islands: IslandCounts,
}

/// What the islands of a plan are worth. The dense prefix is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IslandCounts {
    /// How many there are.
    pub(crate) count: u32,
    /// Pages in them.
    pub(crate) pages: u32,
    /// Words left empty before them, and dead words on them.
    pub(crate) padding_words: u64,
}

/// Whether a page that is partly dead may be the first of an island.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    Allowed,
    Forbidden,
}

/// Pages that might keep their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    pages: usize,
    live_words: u64,
    fix: Option<Fix>,
}

impl Placement {
    /// Decides where everything goes, given the number of live words on each page.
    pub(crate) fn of(
        geometry: Geometry,
        straddles: &StraddleTable,
        fixed: &FixedPages,
        live_words: &[u32],
        packing: Packing,
    ) -> Self {
        let dense = dense_prefix(live_words, geometry.page_words_u32(), packing.dense_percent());
        let start_of = |page: usize| geometry.page_start(PageIndex(index32(page)));
        let mut placement = Self {
            dense,
            targets: Vec::with_capacity(live_words.len()),
            gaps: Vec::new(),
            end: start_of(dense as usize),
            islands: IslandCounts::default(),
        };
        let whole = |page| Target::Whole { start: start_of(page) };
        placement.targets.extend((0..dense as usize).map(whole));
        let mut fixed = fixed.walk();
        let mut splits = 0;
        while placement.targets.len() < live_words.len() {
            let page = placement.targets.len();
            // Padding comes before an object that reaches in from the page before. One that comes
            // from further away would need it in the middle of what has been placed already.
            let reaches = straddles.straddler(PageIndex(index32(page)));
            let lead = match reaches.is_none_or(|object| object.start >= start_of(page.max(1) - 1))
            {
                true => Lead::Allowed,
                false => Lead::Forbidden,
            };
            let page_words = geometry.page_words_u32();
            match run_at(live_words, page, lead, &mut fixed, page_words, packing) {
                Found::Island(run) => placement.add_island(geometry, straddles, run, &mut splits),
                Found::Packed { pages } => {
                    for &live in &live_words[page..page + pages] {
                        let start = placement.end;
                        placement.targets.push(Target::Packed { start, padding: None });
                        placement.end += live;
                    }
                }
            }
        }
        placement
    }

    /// The next pages keep their content.
    fn add_island(
        &mut self,
        geometry: Geometry,
        straddles: &StraddleTable,
        Run { pages, live_words, fix }: Run,
        splits: &mut u32,
    ) {
        let page_words = geometry.page_words_u32();
        let first = PageIndex(index32(self.targets.len()));
        let old = geometry.page_start(first);
        let start = match fix {
            Some(Fix::Pinned) => old,
            _ => self.end.next_multiple_of(page_words),
        };
        if start != self.end {
            // Padding comes before the object that reaches into the island, if there is one: its
            // words must stay neighbours.
            let at = straddles.straddler(first).map_or(old, |straddler| straddler.start);
            let tail = old - at;
            self.gaps.push(Gap { at, place: self.end - tail, island: start, tail });
            let words = start - self.end;
            if tail != 0
                && let Some(Target::Packed { padding, .. }) = self.targets.last_mut()
            {
                *padding = Some(Padding { at, words, split: *splits });
                *splits += 1;
            }
            self.islands.padding_words += u64::from(words);
        }
        self.end = start;
        for _ in 0..pages {
            self.targets.push(Target::Whole { start: self.end });
            self.end += page_words;
        }
        self.islands.padding_words += u64::from(self.end - start) - live_words;
        self.islands.count += 1;
        self.islands.pages += index32(pages);
    }
}

/// The island that begins with `page`, or how many pages from it on are packed.
///
/// It is a run of dense pages, or of fixed ones. A single page between them that is partly dead comes
/// along if the whole would be dense even if that page were dead: so few of them that what is left
/// empty matters little. So do the page before (if `lead` allows it) and the page after, if the whole
/// is dense. Then what is live there needs no page of its own to be packed into, and nothing is copied
/// at all.
fn run_at(
    live_words: &[u32],
    page: usize,
    lead: Lead,
    fixed: &mut FixedWalk<'_>,
    page_words: u32,
    packing: Packing,
) -> Found {
    let least = packing.island_pages();
    let is_dense = |live: u64, pages: usize| {
        live * 100 >= pages as u64 * u64::from(page_words) * ISLAND_PERCENT
    };
    let live_of = |page: usize| live_words.get(page).copied().map_or(0, u64::from);
    // Whether a page that is partly dead comes along between the pages of `run` and the next one.
    let is_between = |run: &Run, page: usize, ahead: &FixedWalk<'_>| {
        let next = live_of(page + 1);
        run.pages > 0
            && run.fix.is_none()
            && live_of(page) > 0
            && is_dense(next, 1)
            && is_dense(run.live_words + next, run.pages + 2)
            && ahead.clone().at(index32(page + 1)).is_none()
    };
    // The next page asked for is `page + 1` if this is no island.
    let here = fixed.at(index32(page));
    let first = live_of(page);
    let leads = lead == Lead::Allowed && here.is_none() && first > 0 && !is_dense(first, 1);
    let mut ahead = fixed.clone();
    let mut run = Run::default();
    let mut at = page + usize::from(leads);
    while at < live_words.len() {
        let (found, live) = (ahead.at(index32(at)), live_of(at));
        if found.is_none() && !is_dense(live, 1) && !is_between(&run, at, &ahead) {
            break;
        }
        run.fix = run.fix.max(found);
        run.pages += 1;
        run.live_words += live;
        at += 1;
    }
    if leads {
        // Nothing is known yet of the pages after this one: a fixed page is an island by itself.
        let whole = Run { pages: run.pages + 1, live_words: run.live_words + first, ..run };
        if run.fix.is_some() || run.pages < least || !is_dense(whole.live_words, whole.pages) {
            return Found::Packed { pages: 1 };
        }
        run = whole;
    }
    if run.fix.is_some() {
        return Found::Island(run);
    }
    if run.pages < least {
        // What follows the first page of a run that is too short is too short as well.
        return Found::Packed { pages: run.pages.max(1) };
    }
    let last = live_of(at);
    // What comes after it must not be a run of its own: one with a pinned page may need padding
    // before it, and there is no place for that between two pages that keep their content.
    let next = live_of(at + 1);
    let alone = ahead.at(index32(at)).is_none()
        && ahead.at(index32(at + 1)).is_none()
        && !is_dense(next, 1);
    if last > 0 && alone && is_dense(run.live_words + last, run.pages + 1) {
        run.pages += 1;
        run.live_words += last;
    }
    Found::Island(run)
}

/// The longest prefix that is dense as a whole and does not end in pages that are not.
fn dense_prefix(live_words: &[u32], page_words: u32, percent: u64) -> u32 {
    let is_dense = |live: u64, pages: u64| live * 100 >= pages * u64::from(page_words) * percent;
    let mut best = 0;
    let mut live = 0;
    for (page, &words) in (1u32..).zip(live_words) {
        live += u64::from(words);
        if is_dense(live, u64::from(page)) && is_dense(u64::from(words), 1) {
            best = page;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dense_prefix_ends_in_a_dense_page() {
        assert_eq!(dense_prefix(&[512, 512, 100, 512], 512, DENSE_PERCENT), 2);
        assert_eq!(dense_prefix(&[100, 512, 512], 512, DENSE_PERCENT), 0);
        assert_eq!(dense_prefix(&[512; 7], 512, DENSE_PERCENT), 7);
        assert_eq!(dense_prefix(&[], 512, DENSE_PERCENT), 0);
        assert_eq!(dense_prefix(&[512, 511, 512], 512, 100), 1);
    }

    fn place(live_words: &[u32], packing: Packing) -> Placement {
        let geometry = Geometry::new(1 << 30, 64, 4096);
        let straddles = StraddleTable::new(64).unwrap();
        Placement::of(geometry, &straddles, &FixedPages::default(), live_words, packing)
    }

    #[test]
    fn a_run_of_dense_pages_slides_if_it_is_long_enough() {
        let mut live = vec![10, 10, 0];
        live.extend([512; ISLAND_PAGES]);
        let placement = place(&live, Packing::Islands);
        let pages = u32::try_from(ISLAND_PAGES).unwrap();
        let padding_words = u64::from(512 - 20u32);
        assert_eq!(placement.islands, IslandCounts { count: 1, pages, padding_words });
        assert_eq!(placement.end, (pages + 1) * 512);

        let short = place(&live[..live.len() - 1], Packing::Islands);
        assert_eq!((short.islands, short.end), (IslandCounts::default(), 20 + (pages - 1) * 512));
        let off = place(&live, Packing::Tight);
        assert_eq!((off.islands, off.end), (IslandCounts::default(), 20 + pages * 512));
    }

    #[test]
    fn a_page_that_is_partly_dead_does_not_part_dense_ones_that_make_up_for_it() {
        let pages = u32::try_from(ISLAND_PAGES).unwrap();
        let islands = |between: u32| {
            let mut live = vec![0];
            live.extend([512; ISLAND_PAGES]);
            live.push(between);
            live.extend([512; ISLAND_PAGES]);
            place(&live, Packing::Islands).islands
        };
        assert_eq!((islands(1).count, islands(1).pages), (1, 2 * pages + 1));
        assert_eq!((islands(0).count, islands(0).pages), (2, 2 * pages));
        // Six full pages do not make up for another one: it comes before the others.
        let mut live = vec![0, 512, 512, 512, 512, 512, 512, 450];
        live.extend([512; ISLAND_PAGES]);
        assert_eq!(place(&live, Packing::Islands).islands.pages, 1 + pages);
    }

    #[test]
    fn pages_that_are_partly_dead_come_along_if_the_whole_is_dense() {
        let pages = u32::try_from(ISLAND_PAGES).unwrap();
        let island = |before: u32, after: u32| {
            let mut live = vec![0, before];
            live.extend([512; ISLAND_PAGES]);
            live.extend([after, 0]);
            place(&live, Packing::Islands).islands
        };
        assert_eq!(island(300, 300).pages, pages + 2);
        assert_eq!(island(100, 10).pages, pages + 1);
        assert_eq!(island(0, 10).pages, pages + 1);
        assert_eq!(island(0, 0).pages, pages);
        assert_eq!(island(300, 300).padding_words, 2 * (512 - 300));
    }
}
