//! The progress bar: on a terminal only.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether a bar may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bars {
    Drawn,
    Hidden,
}

/// A bar that counts rounds of a workload.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(bars: Bars, name: &str, rounds: u64) -> Self {
        let target = match bars {
            Bars::Drawn if std::io::stderr().is_terminal() => ProgressDrawTarget::stderr_with_hz(4),
            Bars::Drawn | Bars::Hidden => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{prefix:9} {bar:40} {pos}/{len} {elapsed} {msg}")
            .expect("the template is fixed and right");
        let bar = ProgressBar::with_draw_target(Some(rounds), target)
            .with_style(style)
            .with_prefix(name.to_owned());
        Self { bar }
    }

    /// One round is done.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Says what goes on at present.
    pub(crate) fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
