//! The questions, one file each.

pub mod emulation;
pub mod faults;
pub mod fraction;
pub mod huge;
pub mod islands;
pub mod losing;
pub mod mutator;
pub mod pauses;
pub mod peers;
pub mod scaling;
pub mod swap;
pub mod transports;
pub mod utilisation;

use crate::error::BenchError;
use crate::machine;
use crate::report::Answer;

/// A question that can be asked by name.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The name on the command line and in reports.
    pub name: &'static str,
    /// The question in one sentence.
    pub asks: &'static str,
    /// Measures and answers.
    pub run: fn(&Settings) -> Result<Answer, BenchError>,
}

/// Every question, in the order in which they are asked.
pub const ALL: [Question; COUNT] = [
    pauses::QUESTION,
    transports::QUESTION,
    fraction::QUESTION,
    islands::QUESTION,
    huge::QUESTION,
    faults::QUESTION,
    emulation::QUESTION,
    losing::QUESTION,
    mutator::QUESTION,
    peers::QUESTION,
    scaling::QUESTION,
    swap::QUESTION,
    utilisation::QUESTION,
];

const COUNT: usize = 13;

/// What all questions have in common.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// How large the heaps are.
    pub scale: Scale,
    /// Turns for each side; without it, what the question thinks best.
    pub rounds: Option<usize>,
}

/// How large the heaps are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scale {
    /// The sizes that the claims are about.
    #[default]
    Full,
    /// A few MiB: shows that a benchmark runs, in a second. No claim is judged at this scale.
    Smoke,
}

impl Settings {
    /// Fails where the machine has less memory than a question needs.
    pub(crate) fn need_memory_mib(&self, needed_mib: u64) -> Result<(), BenchError> {
        let available_mib = machine::available_mib();
        if available_mib < needed_mib {
            return Err(BenchError::Memory { needed_mib, available_mib });
        }
        Ok(())
    }

    /// The number of turns: the caller's wish, or the question's, or few at the smoke scale.
    #[must_use]
    pub(crate) fn rounds_or(&self, default: usize) -> usize {
        let smoke = if self.scale == Scale::Smoke { 2 } else { default };
        self.rounds.unwrap_or(smoke).max(1)
    }
}

/// The question of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Question> {
    static QUESTIONS: [Question; COUNT] = ALL;
    QUESTIONS.iter().find(|question| question.name == name)
}
