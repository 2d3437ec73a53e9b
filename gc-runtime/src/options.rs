//! The few knobs of a heap, and what their defaults are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A way to put rebuilt pages in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `UFFDIO_MOVE`: the page itself changes its address (Linux 6.8, or 6.1 with the patch series).
    Move,
    /// `UFFDIO_COPY`: the kernel allocates a page and copies.
    Copy,
    /// `UFFDIO_CONTINUE`: a memfd mapped twice.
    Continue,
    /// `mprotect` and SIGSEGV on a memfd mapped twice; needs no userfaultfd.
    Mprotect,
    /// Stop the world: everything is compacted in the pause.
    Stw,
}

impl Transport {
    /// All five, in the order in which [`TransportChoice::Auto`] would like them.
    pub const ALL: [Self; 5] = [Self::Move, Self::Copy, Self::Continue, Self::Mprotect, Self::Stw];

    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Continue => "continue",
            Self::Mprotect => "mprotect",
            Self::Stw => "stw",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no [`Transport`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no transport is called `{name}`; there are move, copy, continue, mprotect and stw")]
pub struct UnknownTransport {
    /// The word.
    pub name: String,
}

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == name)
            .ok_or_else(|| UnknownTransport { name: name.to_owned() })
    }
}

/// Which transport a heap gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportChoice {
    /// The best the kernel has: `move`, else `copy`, else `stw`. The reason is logged.
    #[default]
    Auto,
    /// This one, or an error that says why not.
    Only(Transport),
    /// For measuring: `stw`, but the time that putting finished pages in place takes is left out.
    ///
    /// What remains is the copying of objects, into memory that is already there and without a
    /// kernel call, which every transport has to do: the floor to compare them with.
    /// [`Heap::transport`](crate::Heap::transport) calls it `stw`.
    Floor,
}

/// On which thread the fault of a mutator is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FaultDelivery {
    /// On the mutator itself, in a signal handler: no scheduling, and it does its own work.
    #[default]
    Signal,
    /// On a thread of the heap that reads userfaultfd events; the mutator sleeps in the kernel.
    ///
    /// For programs that cannot have a SIGBUS handler. Not with `mprotect`, which only has signals.
    HandlerThread,
}

/// What a forked child gets of the heap. It cannot use the heap in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fork {
    /// Nothing: touching the heap in the child is a plain segmentation fault. No page is ever
    /// shared, so that none is too busy to move.
    #[default]
    Exclude,
    /// A snapshot, as fork does it. Pages that the parent has not written since are shared and
    /// must be copied instead of moved.
    ///
    /// Under `continue` and `mprotect` this is [`Exclude`](Self::Exclude): their memory is a file,
    /// which parent and child would share instead of each having its own.
    Inherit,
}

/// How much of its limit a heap uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Growth {
    /// All of it: the fewest cycles. For programs that have the memory to themselves.
    #[default]
    Whole,
    /// What pays: the live data and room that grows with them, with the speed of allocation, and
    /// with what a cycle costs (the square root rule of Kirisame, Shenoy and Panchekha, OOPSLA
    /// 2022). Memory beyond goes back to the system at the end of a cycle.
    Adaptive,
}

/// Whether runs of pages that are live enough keep their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Islands {
    /// They do: fourteen pages in a row (beside running mutators, 64) of which nine tenths are live, or
    /// more, move by whole pages, dead words and all. Their references are updated where they lie; pages without references are not
    /// even read.
    #[default]
    On,
    /// Everything is packed object by object, but for a prefix without a dead word. For measuring what
    /// islands are worth.
    Off,
}

/// When memory that the heap has no use for at the moment goes back to the system, in whole chunks
/// of 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// A while after it was used last, so that a heap that breathes does not fault its memory in
    /// again in each cycle.
    After(Decay),
    /// Only where the program asks ([`Heap::trim`](crate::Heap::trim)), or the target is lowered.
    OnRequest,
}

impl Default for Release {
    fn default() -> Self {
        Self::After(Decay::default())
    }
}

/// How long memory is kept after a cycle has found it in use: at least `at_least`; and as long as
/// that cycle is one of the last `cycles`, up to `at_most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decay {
    /// Cycles whose needs are remembered.
    pub cycles: u32,
    /// What was used is kept for this long however many cycles there are.
    pub at_least: Duration,
    /// What was used is kept no longer than this however few cycles there are.
    pub at_most: Duration,
}

impl Default for Decay {
    fn default() -> Self {
        Self { cycles: 3, at_least: Duration::from_secs(1), at_most: Duration::from_secs(10) }
    }
}

/// How memory is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReleaseBy {
    /// At once (`MADV_DONTNEED`): it is no longer resident, and its page tables are freed.
    #[default]
    Dropping,
    /// When the system needs it (`MADV_FREE`): until then it is resident, and taking it back costs
    /// no page fault. Under memory pressure and in [`Heap::trim`](crate::Heap::trim) it is dropped.
    Freeing,
}

/// How page tables of memory that is given back are freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PageTables {
    /// The kernel is asked, once, by a trial: one that frees them with the memory (Linux 6.14,
    /// `CONFIG_PT_RECLAIM`) is left to do so, for any other it is [`Remap`](Self::Remap).
    #[default]
    Ask,
    /// By mapping the range anew.
    Remap,
}

/// Whether a heap gives its free memory back when the system, or its control group, is short of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pressure {
    /// It does: it watches the group's or the system's pressure stall information (PSI), or else
    /// the group's `memory.events`; whichever there is, chosen when the heap is built.
    #[default]
    Heed,
    /// It does not.
    Ignore,
}

/// Whether a heap heeds the memory limit of its control group (cgroups(7), version 1 and 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Container {
    /// It does: before the kernel would kill the program for want of memory, the heap collects, and
    /// then answers [`OutOfMemory`](crate::OutOfMemory). Looked at after each cycle.
    #[default]
    Heed,
    /// It does not.
    Ignore,
}

/// Whether the variables `GC_LOG` and `GC_ZEAL` count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Environment {
    /// They do; `GC_ZEAL` replaces what the program asked for.
    #[default]
    Read,
    /// They do not.
    Ignore,
}

/// Checks that are too slow for every day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zeal {
    /// Walk the whole heap in a pause after every cycle and fail loudly if it is not sound.
    pub verify: Verify,
    /// Fill memory that is free with a pattern that is not a reference.
    pub poison: Poison,
    /// Start a cycle at every this many refills of an allocation buffer; zero for never.
    pub every_refills: u32,
}

/// Whether each cycle ends with a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// No.
    #[default]
    Off,
    /// Yes, in a pause of its own.
    EachCycle,
}

/// Whether freed memory is overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Poison {
    /// No.
    #[default]
    Off,
    /// Yes: with `0xdead_dead_dead_dead`.
    FreeMemory,
}

impl Zeal {
    /// Everything on: verification after each cycle, poison, a cycle at every eighth refill.
    #[must_use]
    pub fn full() -> Self {
        Self { verify: Verify::EachCycle, poison: Poison::FreeMemory, every_refills: 8 }
    }

    /// Parses `verify,poison,every=N` in any order; the empty string is no zeal.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`UnknownZeal`] | a word that is none of the three | correct it |
    pub fn parse(text: &str) -> Result<Self, UnknownZeal> {
        let mut zeal = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None if word == "verify" => zeal.verify = Verify::EachCycle,
                None if word == "poison" => zeal.poison = Poison::FreeMemory,
                None if word == "full" => zeal = Self::full(),
                Some(("every", count)) => {
                    zeal.every_refills =
                        count.parse().map_err(|_| UnknownZeal { word: word.to_owned() })?;
                }
                _ => return Err(UnknownZeal { word: word.to_owned() }),
            }
        }
        Ok(zeal)
    }
}

/// A word that is no kind of zeal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no kind of zeal; there are verify, poison, every=N and full")]
pub struct UnknownZeal {
    /// The word.
    pub word: String,
}

/// What a heap is built with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) limit_bytes: usize,
    /// `None`: the limit.
    pub(crate) soft_limit_bytes: Option<usize>,
    /// `None`: the limit.
    pub(crate) max_limit_bytes: Option<usize>,
    pub(crate) growth: Growth,
    pub(crate) container: Container,
    pub(crate) environment: Environment,
    pub(crate) collector_threads: usize,
    pub(crate) transport: TransportChoice,
    pub(crate) delivery: FaultDelivery,
    pub(crate) fork: Fork,
    pub(crate) islands: Islands,
    pub(crate) release: Release,
    pub(crate) release_by: ReleaseBy,
    pub(crate) page_tables: PageTables,
    pub(crate) pressure: Pressure,
    pub(crate) zeal: Zeal,
}

impl Options {
    /// The most that the limit can become, in bytes.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.max_limit_bytes.unwrap_or(self.limit_bytes)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit_bytes: 256 << 20,
            soft_limit_bytes: None,
            max_limit_bytes: None,
            growth: Growth::default(),
            container: Container::default(),
            environment: Environment::default(),
            collector_threads: 1,
            transport: TransportChoice::default(),
            delivery: FaultDelivery::default(),
            fork: Fork::default(),
            islands: Islands::default(),
            release: Release::default(),
            release_by: ReleaseBy::default(),
            page_tables: PageTables::default(),
            pressure: Pressure::default(),
            zeal: Zeal::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_transports_parse_back() {
        for transport in Transport::ALL {
            assert_eq!(transport.to_string().parse(), Ok(transport));
        }
        let error = "remap".parse::<Transport>().unwrap_err();
        assert!(error.to_string().contains("remap"), "{error}");
    }

    #[test]
    fn zeal_is_a_list_of_words() {
        assert_eq!(Zeal::parse(""), Ok(Zeal::default()));
        let zeal = Zeal::parse("verify, every=3").unwrap();
        assert_eq!((zeal.verify, zeal.every_refills), (Verify::EachCycle, 3));
        assert_eq!(Zeal::parse("full"), Ok(Zeal::full()));
        assert!(Zeal::parse("every=x").is_err());
        assert!(Zeal::parse("loudly").is_err());
    }
}
