//! The planner against a naive twin that places every word by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::{Arbitrary, Unstructured};

use crate::addr::{FromWord, Geometry, PageIndex, ToWord};
use crate::forward::fixed_pages::FixedPages;
use crate::forward::islands::{DENSE_PERCENT, ISLAND_PERCENT, Packing};
use crate::forward::offset_table::{OffsetTable, PackedPage, PageSource};
use crate::forward::straddle::StraddleTable;
use crate::forward::{Forward, Forwarding, Neighbourhoods, Plan};
use crate::layout::ObjectLayout;
use crate::mark::live_bitmap::{LiveBitmap, Writers};

const PAGES: u32 = 700;
const PAGE_WORDS: u32 = 512;

/// Live objects in order: how many dead words come before each, and its size.
#[derive(Debug)]
struct Case {
    packing: Packing,
    objects: Vec<(u32, u32)>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let packing =
            *u.choose(&[Packing::Islands, Packing::Islands, Packing::LongIslands, Packing::Tight])?;
        let mut objects = Vec::new();
        while !u.is_empty() && objects.len() < 20_000 {
            // Stretches of one density: islands need some dense pages in a row.
            let (gap, size, count) = match u.int_in_range(0..=4)? {
                0 => (2000, 900, 20),
                1 => (3, 40, 2000),
                2 => (0, 700, 120),
                3 => (60, 500, 100),
                _ => (30, 3000, 30),
            };
            for _ in 0..u.int_in_range(1..=count)? {
                objects.push((u.int_in_range(0..=gap)?, u.int_in_range(2..=size.max(2))?));
            }
        }
        Ok(Self { packing, objects })
    }
}

/// Where every live word goes, reckoned one word at a time.
struct Twin {
    places: BTreeMap<u32, u32>,
    end: u32,
}

impl Twin {
    fn new(placed: &[(u32, u32)], pages: u32, packing: Packing) -> Self {
        let mut owner = BTreeMap::new();
        for &(start, words) in placed {
            owner.extend((start..start + words).map(|word| (word, start)));
        }
        let live_on =
            |page: u32| owner.range(page * PAGE_WORDS..(page + 1) * PAGE_WORDS).count() as u64;
        let live: Vec<u64> = (0..pages).map(live_on).collect();
        let percent = |words: u64, pages: u64| words * 100 / (pages * u64::from(PAGE_WORDS));
        let dense_percent = if packing == Packing::Tight { 100 } else { DENSE_PERCENT };
        let dense = (1..=live.len())
            .rev()
            .find(|&end| {
                percent(live[..end].iter().sum(), end as u64) >= dense_percent
                    && percent(live[end - 1], 1) >= dense_percent
            })
            .unwrap_or(0);

        let mut places = BTreeMap::new();
        let mut next = u32::try_from(dense).unwrap() * PAGE_WORDS;
        places.extend(owner.range(..next).map(|(&word, _)| (word, word)));
        let mut page = dense;
        while page < live.len() {
            let first = u32::try_from(page).unwrap() * PAGE_WORDS;
            // Nothing may come along that an object reaches into from further than a page away.
            let reaches = first - owner.get(&first).copied().unwrap_or(first);
            let run = match packing {
                Packing::Tight => 0,
                _ => island(&live[page..], reaches, packing.island_pages()),
            };
            if run == 0 {
                for (&word, _) in owner.range(first..first + PAGE_WORDS) {
                    places.insert(word, next);
                    next += 1;
                }
                page += 1;
                continue;
            }
            let island = next.next_multiple_of(PAGE_WORDS);
            // An object that reaches into the island goes along.
            if let Some(&start) = owner.get(&first) {
                for word in start..first {
                    *places.get_mut(&word).unwrap() += island - next;
                }
            }
            let words = u32::try_from(run).unwrap() * PAGE_WORDS;
            for (&word, _) in owner.range(first..first + words) {
                places.insert(word, island + (word - first));
            }
            next = island + words;
            page += run;
        }
        Self { places, end: next }
    }
}

/// How many of these pages the island has that begins with the first of them.
fn island(live: &[u64], reaches: u32, least: usize) -> usize {
    let is_dense = |pages: &[u64]| {
        let all = pages.len() as u64 * u64::from(PAGE_WORDS);
        !pages.is_empty() && pages.iter().sum::<u64>() * 100 >= all * ISLAND_PERCENT
    };
    // Dense pages, and single ones between them.
    let core = |from: usize| {
        let pages = &live[from..];
        let belongs = |&at: &usize| {
            let between = at > 0
                && pages[at] > 0
                && pages.get(at + 1).is_some_and(|&next| is_dense(&[next]))
                && is_dense(&[&pages[..at], &[0, pages[at + 1]]].concat());
            is_dense(&[pages[at]]) || between
        };
        (0..pages.len()).take_while(belongs).count()
    };
    // With a page that is partly dead before the dense ones, or without; then one after them.
    let lead = usize::from(core(0) == 0 && live[0] > 0 && reaches <= PAGE_WORDS);
    let mut end = lead + core(lead);
    if end - lead < least || !is_dense(&live[..end]) {
        return 0;
    }
    let alone = live.get(end + 1).is_none_or(|&next| !is_dense(&[next]));
    if end < live.len() && live[end] > 0 && alone && is_dense(&live[..=end]) {
        end += 1;
    }
    end
}

/// What the planner's pages take, word by word: new place to old.
fn taken(
    table: &OffsetTable,
    live: &LiveBitmap,
    geometry: Geometry,
    end: u32,
) -> BTreeMap<u32, u32> {
    let mut taken = BTreeMap::new();
    for page in (0..geometry.pages_for(end)).map(PageIndex) {
        let start = geometry.page_start(page);
        match table.source(geometry, page, end) {
            PageSource::Whole(from) => {
                let from = geometry.page_start(from);
                let is_live = |word: &u32| live.next_live(from + word, from + word + 1).is_some();
                let words = (0..PAGE_WORDS).filter(is_live);
                taken.extend(words.map(|word| (start + word, from + word)));
            }
            PageSource::Packed(PackedPage { first, packed, tail }) => {
                let mut word = first.0;
                for place in start..start + packed {
                    word = live.next_live(word, geometry.words).expect("enough live words");
                    taken.insert(place, word);
                    word += 1;
                }
                let place = start + PAGE_WORDS - tail;
                for at in 0..tail {
                    word = live.next_live(word, geometry.words).expect("enough live words");
                    taken.insert(place + at, word);
                    word += 1;
                }
            }
        }
    }
    taken
}

fn play(case: &Case) {
    let geometry = Geometry::new(1 << 30, PAGES, PAGE_WORDS as usize * 8);
    let live = LiveBitmap::new(geometry.words).unwrap();
    let straddles = StraddleTable::new(geometry.pages).unwrap();
    let table = OffsetTable::new(geometry).unwrap();
    let (mut placed, mut at) = (Vec::new(), 0);
    for &(gap, words) in &case.objects {
        if at + gap + words > geometry.words {
            break;
        }
        at += gap;
        live.fill(at, words, Writers::One);
        straddles.note_object(geometry, at, ObjectLayout::leaf(words));
        placed.push((at, words));
        at += words;
    }
    let black = geometry.pages_for(at);
    let summary =
        table.summarise(geometry, &live, &straddles, &FixedPages::default(), black, case.packing);
    let plan = Plan { dense: summary.dense, compact: summary.compact, black, used: black };
    let forwarding = Forwarding::new(geometry, &live, &table, plan);

    let twin = Twin::new(&placed, black, case.packing);
    assert_eq!(summary.words, twin.end);
    assert_eq!(summary.live_words, twin.places.len() as u64);
    for (&word, &place) in &twin.places {
        assert_eq!(forwarding.forward(FromWord(word)), ToWord(place), "word {word}");
    }
    let expected: BTreeMap<u32, u32> =
        twin.places.iter().map(|(&word, &place)| (place, word)).collect();
    assert_eq!(taken(&table, &live, geometry, summary.words), expected);

    let mut near = Neighbourhoods::default();
    let whole = (0..black).filter(|&page| table.moves_whole(geometry, PageIndex(page)));
    for page in whole.filter(|&page| page >= plan.dense) {
        let nearby = near.of(forwarding, PageIndex(page));
        // Words on the page and far enough around it to leave any neighbourhood.
        let around = page.saturating_sub(100) * PAGE_WORDS..(page + 101) * PAGE_WORDS;
        let picked = |word: u32| word.is_multiple_of(PAGE_WORDS) || word.is_multiple_of(97);
        let words = || twin.places.range(around.clone()).filter(|(word, _)| picked(**word));
        let slots: Vec<AtomicU64> =
            words().map(|(&word, _)| AtomicU64::new(geometry.address(word))).collect();
        nearby.forward_run(&slots);
        for (slot, (&word, &place)) in slots.iter().zip(words()) {
            let (old, new) = (geometry.address(word), geometry.address(place));
            assert_eq!(nearby.forward_value(old), new, "word {word} near page {page}");
            assert_eq!(slot.load(Ordering::Relaxed), new, "word {word} near page {page}, in a run");
            assert_eq!(nearby.forward_value(old | 1 << (word % 3)), old | 1 << (word % 3));
        }
        assert_eq!(nearby.forward_value(0), 0);
    }
}

#[test]
fn every_word_goes_where_a_naive_planner_puts_it() {
    fuzz::run("planner", 60, play);
}
