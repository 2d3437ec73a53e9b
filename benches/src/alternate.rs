//! A B A B: the sides of a comparison take turns.

use crate::error::BenchError;

/// One side of a comparison: a name, and what one turn does.
pub struct Side<'a, T> {
    /// The side's name in progress messages.
    pub name: String,
    /// One turn.
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
}

/// Lets every side take `rounds` turns, one after the other, and collects what each turn yields.
///
/// The order within a round is turned round each time (A B, B A, A B, …): otherwise one side would
/// always run in the wake of the other. Progress goes to standard error.
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
            yields[index].push((side.turn)()?);
        }
    }
    Ok(yields)
}
