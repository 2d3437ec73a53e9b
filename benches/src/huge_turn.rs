//! A heap with huge pages or without, from its birth on.

use gc_runtime::Islands;

use crate::contender::Contender;
use crate::error::BenchError;
use crate::heap_mapping::HeapMapping;
use crate::huge_pages::huge_kib;
use crate::pass::Pass;
use crate::raw::Advice;
use crate::samples::counter;
use crate::shape::{Keep, Shape};
use crate::small_pages_only::SmallPagesOnly;
use crate::splits::Splits;

/// Where a heap gets huge pages, beside what it asks for and refuses by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HugePages {
    /// Nothing beside.
    AsItIs,
    /// Nowhere: the process has none.
    Nowhere,
    /// This advice for its objects' memory, before there are any.
    FromBirth(Advice),
    /// This advice for it before each cycle.
    BeforeCycles(Advice),
}

/// A new heap, and what was seen of it.
#[derive(Debug, Clone)]
pub struct HugeTurn {
    /// One after the other; the first meets side tables and objects' memory that nobody has touched.
    pub passes: Vec<Pass<Filled>>,
    /// What else was in huge pages at the end, in MiB: side tables.
    pub tables_huge_mib: f64,
    /// Large folios that were split between filling and the end of the cycle that empties the heap,
    /// over all passes; nothing where the kernel does not count them.
    pub split: Option<f64>,
}

/// A heap that has been filled.
#[derive(Debug, Clone, Copy)]
pub struct Filled {
    /// Objects' memory in huge pages, in MiB.
    pub huge_mib: f64,
    before: Option<Splits>,
}

impl HugeTurn {
    /// Builds a heap and fills it `passes` times with `used` bytes, half of them live.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::System`] | /proc cannot be read | leave this side out |
    /// | any other | the heap could not be built or filled, or is broken | see the reason |
    ///
    /// # Panics
    ///
    /// As [`Contender::build`].
    pub fn of(
        contender: Contender,
        used: u64,
        passes: u64,
        huge_pages: HugePages,
    ) -> Result<Self, BenchError> {
        let switched_off = match huge_pages {
            // A kernel that cannot switch them off may have none at all.
            HugePages::Nowhere => SmallPagesOnly::new().ok(),
            _ => None,
        };
        let huge_before = mib(huge_kib()?);
        let heap = contender.build(used, Islands::On)?;
        let mut mutator = heap.attach()?;
        let mapping = HeapMapping::of(&mut mutator)?;
        if let HugePages::FromBirth(advice) = huge_pages {
            // What comes of it is seen below, whatever the answer says.
            let _ = mapping.advise(advice);
        }
        let look = || {
            if let HugePages::BeforeCycles(advice) = huge_pages {
                // As above.
                let _ = mapping.advise(advice);
            }
            let huge_mib = mib(mapping.huge_kib()?);
            Ok(Filled { huge_mib, before: Splits::now() })
        };
        let shape = Shape::mixed(Keep::Percent(50));
        let (mut done, mut split) = (Vec::new(), Some(0.0));
        for seed in 0..passes {
            let pass = Pass::over(&heap, &mut mutator, used, shape, seed, look)?;
            let cycle = Splits::now().zip(pass.seen.before);
            let cycle = cycle.map(|(after, before)| counter(after.since(before)));
            split = split.zip(cycle).map(|(all, cycle)| all + cycle);
            done.push(pass);
        }
        let tables = mib(huge_kib()?) - mib(mapping.huge_kib()?) - huge_before;
        drop(switched_off);
        Ok(Self { passes: done, tables_huge_mib: tables.max(0.0), split })
    }
}

fn mib(kib: u64) -> f64 {
    counter(kib) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_runtime::Transport;

    #[test]
    fn small_pages_are_made_huge_unless_the_heap_refuses() {
        let used = 8 << 20;
        let made = HugePages::BeforeCycles(Advice::Make);
        let huge_mib = |transport| {
            let turn = HugeTurn::of(Contender::Of(transport), used, 1, made);
            turn.map(|turn| turn.passes[0].seen.huge_mib)
        };
        if huge_mib(Transport::Stw).unwrap() == 0.0 {
            return println!("skipped: no huge pages can be made");
        }
        match huge_mib(Transport::Move) {
            Ok(huge_mib) => assert_eq!(huge_mib, 0.0),
            Err(error) => println!("skipped: {}", crate::error::chain(&error)),
        }
    }
}
