//! What this kernel can do, found out by asking and by trying. Never by its version: a patched
//! kernel is exactly the one whose version lies.

use std::fmt;
use std::io;

use memmap2::MmapOptions;

use crate::features::{Features, RangeIoctls, RegisterMode};
use crate::open::{FaultScope, OpenOptions, Opened, OpenedVia};
use crate::outcome::{Holes, Outcome, Stop, Wake};
use crate::page::{PageCount, page_size};
use crate::raw::Area;
use crate::registration::Registration;
use crate::sys;

/// Yes, or no and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Answer {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why, in words for people.
        reason: String,
    },
}

impl Answer {
    fn no(reason: impl Into<String>) -> Self {
        Self::No { reason: reason.into() }
    }

    fn of<E: fmt::Display>(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Yes,
            Err(error) => Self::no(error.to_string()),
        }
    }

    /// Whether it is yes.
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }

    /// Why not, if it is no.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Yes => None,
            Self::No { reason } => Some(reason),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No { reason } => write!(f, "no ({reason})"),
        }
    }
}

/// The three answers about one request. Each level says more than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Levels {
    /// The handshake offers it.
    pub feature: Answer,
    /// Registering suitable memory answers that the range takes it.
    pub range: Answer,
    /// One real page was put in place with it, and had the right contents.
    pub trial: Answer,
}

impl Levels {
    fn none(reason: &str) -> Self {
        let no = Answer::no(reason);
        Self { feature: no.clone(), range: no.clone(), trial: no }
    }

    /// The answer that counts: yes if all three are, or the first no.
    pub fn verdict(&self) -> &Answer {
        [&self.feature, &self.range].into_iter().find(|it| !it.is_yes()).unwrap_or(&self.trial)
    }
}

/// What this kernel can do for this process, level by level, with the reason for each no.
///
/// # Examples
///
/// ```
/// let support = uffd_move::Support::probe();
/// println!("{support}");
/// if let Some(reason) = support.move_pages.verdict().reason() {
///     println!("pages will be copied: {reason}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Support {
    /// Bytes in a page.
    pub page_bytes: usize,
    /// Whether there is a userfaultfd for this process at all.
    pub userfaultfd: Answer,
    /// By which door.
    pub via: Option<OpenedVia>,
    /// For whose faults.
    pub scope: Option<FaultScope>,
    /// The features that the handshake offers.
    pub features: Features,
    /// `UFFDIO_MOVE` on private anonymous memory.
    pub move_pages: Levels,
    /// `UFFDIO_COPY` on private anonymous memory.
    pub copy_pages: Levels,
    /// `UFFDIO_CONTINUE` on shared memory (a memfd).
    pub continue_pages: Levels,
    /// `UFFDIO_ZEROPAGE` on private anonymous memory.
    pub zero_pages: Levels,
    /// Fault delivery by SIGBUS on the faulting thread.
    pub signal_delivery: Answer,
    /// `mremap(MREMAP_DONTUNMAP)`: taking all pages away at once.
    pub mremap_dontunmap: Answer,
}

impl Support {
    /// Asks and tries. Opens a few descriptors and maps a few pages, and leaves nothing behind.
    pub fn probe() -> Self {
        let wish = Features::MOVE | Features::MINOR_SHMEM | Features::MISSING_SHMEM;
        let opened = OpenOptions::new().wish(wish).open();
        let mremap_dontunmap = Answer::of(sys::try_dontunmap());
        match opened {
            Ok(opened) => Self::ask(&opened, mremap_dontunmap),
            Err(error) => {
                let none = Levels::none("there is no userfaultfd");
                Self {
                    page_bytes: page_size(),
                    userfaultfd: Answer::no(error.to_string()),
                    via: None,
                    scope: None,
                    features: Features::empty(),
                    move_pages: none.clone(),
                    copy_pages: none.clone(),
                    continue_pages: none.clone(),
                    zero_pages: none,
                    signal_delivery: Answer::no("there is no userfaultfd"),
                    mremap_dontunmap,
                }
            }
        }
    }

    fn ask(opened: &Opened, mremap_dontunmap: Answer) -> Self {
        let offers = |feature: Features| {
            Answer::of(
                opened
                    .offered
                    .contains(feature)
                    .then_some(())
                    .ok_or("the handshake does not offer it"),
            )
        };
        let always = || Answer::Yes;
        let signal = match offers(Features::SIGBUS) {
            Answer::Yes => {
                Answer::of(OpenOptions::new().require(Features::SIGBUS).open().map(drop))
            }
            no => no,
        };
        Self {
            page_bytes: page_size(),
            userfaultfd: Answer::Yes,
            via: Some(opened.via),
            scope: Some(opened.scope),
            features: opened.offered,
            move_pages: levels(offers(Features::MOVE), RangeIoctls::MOVE, opened, try_move),
            copy_pages: levels(always(), RangeIoctls::COPY, opened, try_copy),
            continue_pages: levels(
                offers(Features::MINOR_SHMEM),
                RangeIoctls::CONTINUE,
                opened,
                try_continue,
            ),
            zero_pages: levels(always(), RangeIoctls::ZEROPAGE, opened, try_zero),
            signal_delivery: signal,
            mremap_dontunmap,
        }
    }
}

type Registered<'a> = Registration<&'a userfaultfd::Uffd>;
type Failure = Box<dyn std::error::Error>;

/// What one request is tried on: a registered page, and the memory that the page comes from.
struct Bench<'a> {
    to: Registered<'a>,
    from: Area,
}

const NOT_ANSWERED: &str = "registering does not answer with the request";

/// What the trial page is filled with.
const MARK: u8 = 0xA5;

fn levels(
    feature: Answer,
    request: RangeIoctls,
    opened: &Opened,
    trial: fn(&Bench<'_>) -> Result<(), Failure>,
) -> Levels {
    let bench = match bench(request, opened) {
        Ok(bench) => bench,
        Err(error) => {
            let no = Answer::no(error.to_string());
            return Levels { feature, range: no.clone(), trial: no };
        }
    };
    let range = Answer::of(bench.to.ioctls().contains(request).then_some(()).ok_or(NOT_ANSWERED));
    // Tried in any case: the kernel's answer to the request is the best reason there is.
    let trial = Answer::of(trial(&bench));
    Levels { feature, range, trial }
}

fn bench(request: RangeIoctls, opened: &Opened) -> Result<Bench<'_>, Failure> {
    let (to, from, mode) = if request == RangeIoctls::CONTINUE {
        let (to, from) = shared_views()?;
        (to, from, RegisterMode::MINOR)
    } else {
        let one = PageCount::ONE;
        (Area::anonymous(one)?, Area::anonymous(one)?, RegisterMode::MISSING)
    };
    from.write(0, &vec![MARK; page_size()]);
    Ok(Bench { to: Registration::new(&opened.uffd, to, mode)?, from })
}

/// Two views of one page of shared memory.
fn shared_views() -> Result<(Area, Area), Failure> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let memory = memfd_create("uffd-move-probe", MFdFlags::MFD_CLOEXEC)?;
    nix::unistd::ftruncate(&memory, i64::try_from(page_size())?)?;
    let view = || -> Result<Area, Failure> {
        let mapping = MmapOptions::new().len(page_size()).map_raw(&memory)?;
        Ok(Area::try_from(mapping)?)
    };
    Ok((view()?, view()?))
}

fn try_move(bench: &Bench<'_>) -> Result<(), Failure> {
    let mover = bench.to.mover().ok_or(NOT_ANSWERED)?;
    let (to, from) = (bench.to.range(), bench.from.range());
    let attempt = || mover.move_pages(to, &bench.from, from, Holes::Reject, Wake::Now);
    let mut outcome = attempt()?;
    // If another thread forks meanwhile, the page is shared until it is written to.
    for _ in 0..100 {
        if outcome.stop != Stop::Busy {
            break;
        }
        bench.from.write(0, &vec![MARK; page_size()]);
        outcome = attempt()?;
    }
    check(bench, outcome, MARK)
}

fn try_copy(bench: &Bench<'_>) -> Result<(), Failure> {
    let filler = bench.to.filler().ok_or(NOT_ANSWERED)?;
    let outcome = filler.copy_pages(bench.to.range(), &vec![MARK; page_size()], Wake::Now)?;
    check(bench, outcome, MARK)
}

fn try_zero(bench: &Bench<'_>) -> Result<(), Failure> {
    let filler = bench.to.filler().ok_or(NOT_ANSWERED)?;
    check(bench, filler.zero_pages(bench.to.range(), Wake::Now)?, 0)
}

fn try_continue(bench: &Bench<'_>) -> Result<(), Failure> {
    let continuer = bench.to.continuer().ok_or(NOT_ANSWERED)?;
    check(bench, continuer.continue_pages(bench.to.range(), Wake::Now)?, MARK)
}

/// The page is there (else reading it would wait for ever) and has the right contents.
fn check(bench: &Bench<'_>, outcome: Outcome, expected: u8) -> Result<(), Failure> {
    if !outcome.is_complete() {
        return Err(format!("the kernel stopped: {:?}", outcome.stop).into());
    }
    let mut bytes = vec![!expected; page_size()];
    bench.to.area().read(0, &mut bytes);
    if bytes.iter().any(|byte| *byte != expected) {
        return Err(io::Error::other("the page has other contents than it should").into());
    }
    Ok(())
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = [
            ("move", &self.move_pages),
            ("copy", &self.copy_pages),
            ("continue", &self.continue_pages),
            ("zero", &self.zero_pages),
        ];
        let line = |f: &mut fmt::Formatter<'_>, of: fn(&Levels) -> &Answer| {
            for (i, (name, levels)) in requests.iter().enumerate() {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}{name} {}", of(levels))?;
            }
            writeln!(f)
        };
        write!(f, "userfaultfd: {}", self.userfaultfd)?;
        if let (Some(via), Some(scope)) = (self.via, self.scope) {
            write!(f, ", by {via}, {scope}, pages of {} bytes", self.page_bytes)?;
        }
        writeln!(f)?;
        write!(f, "level 1, features:       ")?;
        line(f, |levels| &levels.feature)?;
        write!(f, "level 2, range requests: ")?;
        line(f, |levels| &levels.range)?;
        write!(f, "level 3, one real page:  ")?;
        line(f, |levels| &levels.trial)?;
        writeln!(f, "delivery by SIGBUS:      {}", self.signal_delivery)?;
        write!(f, "mremap without unmapping: {}", self.mremap_dontunmap)
    }
}
