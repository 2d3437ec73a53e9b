//! A seeded driver for operation sequences: plays cases until its time is up, shortens the one that
//! fails, and prints what it takes to play it again.
//!
//! The environment says how long and what: `GC_FUZZ_SECONDS` (without it a fixed number of cases),
//! `GC_FUZZ_SEED` (one case only), `GC_FUZZ_NOTE` (a file for the seed of the case being played).

mod note;
mod seed;
mod shorten;
mod watch;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};

use note::Note;
use seed::Seed;
use watch::Watch;

/// What to play and for how long.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// So many cases, always the same.
    Cases(u64),
    /// Other cases each time.
    Seconds(f64),
    /// One case.
    Again(Seed),
}

impl Plan {
    fn from_environment(cases: u64) -> Self {
        let read = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        if let Some(text) = read("GC_FUZZ_SEED") {
            let seed = Seed::parse(&text);
            return Self::Again(
                seed.unwrap_or_else(|| panic!("GC_FUZZ_SEED is no number: {text}")),
            );
        }
        match read("GC_FUZZ_SECONDS") {
            Some(text) => Self::Seconds(
                text.parse().unwrap_or_else(|_| panic!("GC_FUZZ_SECONDS is no number: {text}")),
            ),
            None => Self::Cases(cases),
        }
    }
}

/// Plays cases of target `name`: `cases` of them, or for as long as the environment says.
///
/// A case that fails panics in `play`.
///
/// ```
/// fuzz::run("sums", 50, |case: &(u8, u8)| {
///     assert!(u16::from(case.0) + u16::from(case.1) < 511);
/// });
/// ```
///
/// # Panics
///
/// With the seed, if a case failed; at a variable that is no number.
pub fn run<C>(name: &str, cases: u64, play: impl Fn(&C))
where
    C: for<'a> Arbitrary<'a> + Debug,
{
    let plan = Plan::from_environment(cases);
    let (note, watch) = (Note::open(), Watch::start(name));
    let began = Instant::now();
    let mut seed = match plan {
        Plan::Cases(_) => Seed::FIRST,
        Plan::Seconds(_) => Seed::of_the_clock(),
        Plan::Again(seed) => seed,
    };
    let mut played = 0u64;
    loop {
        note.write(seed);
        watch.begin(seed);
        let bytes = seed.bytes();
        if let Plan::Again(_) = plan {
            println!("fuzz: {name}: {:#?}", decoded::<C>(&bytes));
        }
        if !survives(&bytes, &play) {
            let shortest = shorten::shortest(bytes, |bytes| survives(bytes, &play));
            watch.end();
            panic!(
                "fuzz: {name}: the case with seed {seed} failed after {played} others; again: \
                 ./x fuzz {name} --seed {seed}\nas short as it gets: {:#?}",
                decoded::<C>(&shortest)
            );
        }
        watch.end();
        played += 1;
        let done = match plan {
            Plan::Cases(cases) => played >= cases,
            Plan::Seconds(seconds) => began.elapsed() >= Duration::from_secs_f64(seconds),
            Plan::Again(_) => true,
        };
        if done {
            break;
        }
        seed = seed.next();
    }
    println!("fuzz: {name}: {played} cases in {:.1} s, none failed", began.elapsed().as_secs_f64());
}

/// The case that these bytes stand for; `None` if there are too few.
fn decoded<C: for<'a> Arbitrary<'a>>(bytes: &[u8]) -> Option<C> {
    C::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}

/// Whether the case ends without a panic.
fn survives<C: for<'a> Arbitrary<'a>>(bytes: &[u8], play: &impl Fn(&C)) -> bool {
    let Some(case) = decoded::<C>(bytes) else { return true };
    catch_unwind(AssertUnwindSafe(|| play(&case))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_seed_and_is_shortened() {
        let failed = catch_unwind(|| {
            run("numbers", 1000, |case: &Vec<u8>| assert!(!case.contains(&7), "a seven"));
        });
        let message = failed.expect_err("some case has a seven");
        let message = message.downcast_ref::<String>().expect("a formatted message");
        assert!(message.contains("./x fuzz numbers --seed 0x"), "{message}");
        let (_, shortest) = message.split_once("as short as it gets: ").expect("the case");
        assert!(shortest.contains('7') && shortest.len() < 200, "{shortest}");
    }

    #[test]
    fn the_same_seed_is_the_same_case() {
        let bytes = |seed: &str| Seed::parse(seed).unwrap().bytes();
        assert_eq!(bytes("0x123"), bytes("291"));
        assert_ne!(bytes("0x123"), bytes("0x124"));
        assert!(Seed::parse("seven").is_none());
        let shown = Seed::FIRST.next().to_string();
        assert_eq!(Seed::parse(&shown).unwrap().to_string(), shown);
    }
}
