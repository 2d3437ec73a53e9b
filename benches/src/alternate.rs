//! A B A B: the sides of a comparison take turns.

use crate::error::BenchError;
use crate::stolen::Stolen;

/// One side of a comparison: a name, and what one turn does.
pub struct Side<'a, T> {
    /// The side's name in progress messages.
    pub name: String,
    /// One turn, which may be asked for again.
    pub turn: Box<dyn FnMut() -> Result<T, BenchError> + 'a>,
}

impl<T> std::fmt::Debug for Side<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a, T> Side<'a, T> {
    /// A side from its name and its turn.
    pub fn new(name: impl Into<String>, turn: impl FnMut() -> Result<T, BenchError> + 'a) -> Self {
        Self { name: name.into(), turn: Box::new(turn) }
    }

    /// A turn that the hypervisor did not disturb, or the least disturbed of a few.
    fn undisturbed(&mut self) -> Result<T, BenchError> {
        let mut best: Option<(f64, T)> = None;
        for attempt in 1..=ATTEMPTS {
            let stolen = Stolen::from_now();
            let yielded = (self.turn)()?;
            let share = stolen.share();
            if best.as_ref().is_none_or(|(least, _)| share < *least) {
                best = Some((share, yielded));
            }
            if share <= DISTURBED {
                break;
            }
            eprintln!(
                "  {:.1} % of the processors went to other machines in attempt {attempt} of {ATTEMPTS}",
                share * 100.0
            );
        }
        Ok(best.expect("there is at least one attempt").1)
    }
}

/// A turn in which more of the processors than this share went to other machines is taken again.
const DISTURBED: f64 = 0.005;

/// So often at most; then the least disturbed one counts.
const ATTEMPTS: u32 = 3;

/// Lets every side take `rounds` turns, one after the other, and collects what each turn yields.
///
/// The order within a round is turned round each time (A B, B A, A B, …): otherwise one side would
/// always run in the wake of the other. On a virtual machine a turn is taken again, up to twice, if the
/// hypervisor gave more than half a percent of the processors to others meanwhile. Progress goes to
/// standard error.
///
/// # Examples
///
/// ```
/// use benches::alternate::{Side, alternate};
///
/// let mut order = std::cell::RefCell::new(String::new());
/// let sides = ["a", "b"].map(|name| {
///     Side::new(name, || {
///         order.borrow_mut().push_str(name);
///         Ok(name.len())
///     })
/// });
/// let yields = alternate("example", 2, sides.into())?;
/// assert_eq!(yields, [[1, 1], [1, 1]]);
/// assert_eq!(order.get_mut(), "abba");
/// # Ok::<(), benches::error::BenchError>(())
/// ```
///
/// # Errors
///
/// | outcome | meaning | what to do |
/// |---|---|---|
/// | any [`BenchError`] | a turn could not be finished | end the benchmark: half a comparison is none |
pub fn alternate<T>(
    question: &str,
    rounds: usize,
    mut sides: Vec<Side<'_, T>>,
) -> Result<Vec<Vec<T>>, BenchError> {
    let mut yields: Vec<Vec<T>> = sides.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let side = &mut sides[index];
            eprintln!("{question}: round {} of {rounds}, {}", round + 1, side.name);
            yields[index].push(side.undisturbed()?);
        }
    }
    Ok(yields)
}
