//! Two heaps that differ in their huge pages alone, and what is compared of them.

use crate::alternate::{Side, alternate};
use crate::contender::Contender;
use crate::error::BenchError;
use crate::huge_turn::{Filled, HugePages, HugeTurn};
use crate::pass::Pass;
use crate::report::Answer;
use crate::samples::{Series, short};

/// One line of a table: what, its unit, and the values of a turn.
pub(crate) type Measure = (&'static str, &'static str, fn(&HugeTurn) -> Vec<f64>);

/// Two sides that differ in their huge pages alone.
pub(crate) struct HugeSides {
    pub(crate) asks: &'static str,
    pub(crate) contender: Contender,
    pub(crate) used: u64,
    pub(crate) passes: u64,
    pub(crate) sides: [(&'static str, HugePages); 2],
    /// Which of them is about huge pages.
    pub(crate) huge: usize,
    /// The first says how much was in huge pages.
    pub(crate) measures: &'static [Measure],
}

impl HugeSides {
    /// Lets both sides take turns; the table and the samples go into the answer. The side about
    /// huge pages is left out if it got none.
    ///
    /// # Errors
    ///
    /// As [`HugeTurn::of`].
    pub(crate) fn measure(
        &self,
        rounds: usize,
        answer: &mut Answer,
    ) -> Result<[Vec<HugeTurn>; 2], BenchError> {
        let sides = self.sides.map(|(name, huge_pages)| {
            Side::new(name, move || {
                HugeTurn::of(self.contender, self.used, self.passes, huge_pages)
            })
        });
        let mut yields = alternate("huge", rounds, sides.into_iter().collect())?.into_iter();
        let turns = [yields.next().unwrap_or_default(), yields.next().unwrap_or_default()];
        let (_, _, in_huge) = self.measures[0];
        let got_some = turns[self.huge].iter().flat_map(in_huge).any(|mib| mib > 0.0);
        let [(one, _), (other, _)] = self.sides;
        answer.summary.push(self.asks.to_owned());
        answer.summary.push(format!("  {:<38} {one:>14} {other:>14} {:>7}", "", "ratio"));
        for (what, unit, values) in self.measures {
            let [one, other] = [0, 1].map(|side| {
                let name = format!("{}: {what}", self.sides[side].0);
                let got = got_some || side != self.huge;
                series(&name, unit, *values, if got { &turns[side] } else { &[] })
            });
            let ratio = match (one.median(), other.median()) {
                (Some(one), Some(other)) if other > 0.0 => format!("{:.2}", one / other),
                _ => "-".to_owned(),
            };
            let cell = |of: &Series| of.median().map_or("-".to_owned(), short);
            answer.summary.push(format!(
                "  {:<38} {:>14} {:>14} {ratio:>7}",
                format!("{what}, {unit}"),
                cell(&one),
                cell(&other)
            ));
            answer.samples.extend([one, other].into_iter().filter(|of| !of.values.is_empty()));
        }
        if !got_some {
            let name = self.sides[self.huge].0;
            answer.summary.push(format!("{name}: not measured: none were huge"));
        }
        Ok(turns)
    }
}

pub(crate) const TABLES_HUGE: Measure =
    ("side tables in huge pages", "MiB", |turn| vec![turn.tables_huge_mib]);
pub(crate) const OBJECTS_HUGE: Measure =
    ("objects in huge pages when filled", "MiB", |turn| first(turn, |pass| pass.seen.huge_mib));
pub(crate) const FIRST_FAULTS: Measure =
    ("first cycle, page faults", "faults", |turn| first(turn, |pass| pass.collecting.faults));
pub(crate) const FIRST_COMPACTION: Measure =
    ("compaction per live MiB", "us", |turn| first(turn, compaction_us));
pub(crate) const MARKING: Measure = ("marking", "ms", |turn| later(turn, mark_ms));
pub(crate) const SUMMARY: Measure = ("summary", "ms", |turn| later(turn, summary_ms));
pub(crate) const COMPACTION: Measure =
    ("compaction per live MiB", "us", |turn| later(turn, compaction_us));
pub(crate) const SPLIT: Measure =
    ("large folios split", "folios", |turn| turn.split.into_iter().collect());

pub(crate) fn mark_ms(pass: &Pass<Filled>) -> f64 {
    (pass.cycle.mark_ns - pass.cycle.summary_ns) / 1e6
}

pub(crate) fn summary_ms(pass: &Pass<Filled>) -> f64 {
    pass.cycle.summary_ns / 1e6
}

pub(crate) fn compaction_us(pass: &Pass<Filled>) -> f64 {
    pass.cycle.wall_us_per_mib()
}

/// Of the pass that meets a new heap.
pub(crate) fn first(turn: &HugeTurn, of: fn(&Pass<Filled>) -> f64) -> Vec<f64> {
    turn.passes.iter().take(1).map(of).collect()
}

/// Of all the others.
pub(crate) fn later(turn: &HugeTurn, of: fn(&Pass<Filled>) -> f64) -> Vec<f64> {
    turn.passes.iter().skip(1).map(of).collect()
}

pub(crate) fn series(
    name: &str,
    unit: &str,
    values: fn(&HugeTurn) -> Vec<f64>,
    turns: &[HugeTurn],
) -> Series {
    Series::new(name, unit, turns.iter().flat_map(values).collect())
}
