//! Giving memory back to the system: parts of a reservation, dropped or freed, in few calls.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, mmap_anonymous};

use super::map::Reservation;

/// How memory is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Giving {
    /// At once; where the kernel does so by itself, with the page tables of whole chunks.
    Drop,
    /// When the system is short of memory: until then it can be used again for nothing.
    Lazily,
    /// At once and with the page tables, by a new mapping in place of the old one.
    Remap,
}

/// The most ranges of one request (`UIO_MAXIOV`).
const MAX_RANGES: usize = 1024;

impl Reservation {
    /// Gives back the memory behind `parts`, ranges of bytes of whole pages; the number of system
    /// calls. The bytes read as zeros afterwards, or, freed lazily, as zeros or as they were.
    pub(crate) fn give_back(&self, parts: &[Range<usize>], giving: Giving) -> io::Result<u32> {
        let advice = match giving {
            Giving::Drop => MmapAdvise::MADV_DONTNEED,
            Giving::Lazily => MmapAdvise::MADV_FREE,
            Giving::Remap => {
                let mut calls = 0;
                for part in parts {
                    calls += self.remap(part.start, part.len())?;
                }
                return Ok(calls);
            }
        };
        let mut calls = 0;
        for parts in parts.chunks(MAX_RANGES) {
            let rest = if parts.len() > 1 && has_vectors() {
                calls += 1;
                after(parts, self.advise_all(parts, advice as i32).unwrap_or(0))
            } else {
                parts.to_vec()
            };
            // What the vectored request left out: it stops at the first part that is refused.
            for part in rest {
                calls += 1;
                self.advise(part.start, part.len(), advice)?;
            }
        }
        Ok(calls)
    }

    /// One request for all `parts`; how many bytes of them were done.
    fn advise_all(&self, parts: &[Range<usize>], advice: i32) -> io::Result<usize> {
        // Opened each time: in a forked child an older one would still mean the parent.
        let process = own_pidfd()?;
        let vectors: Vec<libc::iovec> = parts
            .iter()
            .map(|part| libc::iovec {
                iov_base: self.checked(part.start, part.len()).as_ptr(),
                iov_len: part.len(),
            })
            .collect();
        process_madvise(&process, &vectors, advice)
    }

    /// Puts a new mapping in the place of `len` bytes from `offset`: the page tables go with the
    /// memory. What was asked for of the whole range is asked for again, so that it stays one
    /// mapping, which moving it aside needs.
    fn remap(&self, offset: usize, len: usize) -> io::Result<u32> {
        let start = self.checked(offset, len).as_ptr().expose_provenance();
        let len =
            NonZeroUsize::new(len).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: MAP_FIXED replaces only this reservation's own range (checked), whose words are
        // only ever seen as atomics, so that reading zeros afterwards is defined.
        unsafe {
            mmap_anonymous(
                NonZeroUsize::new(start),
                len,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE,
            )
        }?;
        Ok(1 + self.ask_again(offset, len.get())?)
    }
}

/// What is left of `parts` after the first `done` bytes.
fn after(parts: &[Range<usize>], mut done: usize) -> Vec<Range<usize>> {
    let mut rest = Vec::new();
    for part in parts {
        let skipped = done.min(part.len());
        done -= skipped;
        if skipped < part.len() {
            rest.push(part.start + skipped..part.end);
        }
    }
    rest
}

fn own_pidfd() -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor was just opened for this value alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `process_madvise`(2) on the calling process.
fn process_madvise(process: &OwnedFd, vectors: &[libc::iovec], advice: i32) -> io::Result<usize> {
    // SAFETY: the vectors are alive during the call, and every caller has made sure that their
    // ranges are its own and may be advised so.
    let done = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            process.as_raw_fd(),
            vectors.as_ptr(),
            vectors.len(),
            advice,
            0,
        )
    };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// Whether several ranges can be given back in one request: asked of the kernel once, by doing it.
pub(crate) fn has_vectors() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let answer = probe_vectors();
        match &answer {
            Ok(()) => tracing::debug!("memory is given back by process_madvise"),
            Err(reason) => tracing::debug!(%reason, "memory is given back range by range"),
        }
        answer.is_ok()
    })
}

fn probe_vectors() -> io::Result<()> {
    let page = uffd_move::page_size();
    let range = Reservation::new(4 * page, page, c"gc probe")?;
    range.back_with_memory()?;
    let word = |index: usize| &range.words()[index * page / size_of::<u64>()];
    for index in 0..4 {
        word(index).store(1, std::sync::atomic::Ordering::Relaxed);
    }
    let done =
        range.advise_all(&[0..page, 2 * page..3 * page], MmapAdvise::MADV_DONTNEED as i32)?;
    let left: Vec<u64> =
        (0..4).map(|index| word(index).load(std::sync::atomic::Ordering::Relaxed)).collect();
    match (done == 2 * page, &left[..]) {
        (true, [0, 1, 0, 1]) => Ok(()),
        _ => Err(io::Error::other(format!("{done} bytes of {} were dropped: {left:?}", 2 * page))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_a_short_request_left_out_is_known() {
        let parts = [0..10, 20..30, 40..50];
        assert_eq!(after(&parts, 0), parts);
        assert_eq!(after(&parts, 10), parts[1..]);
        assert_eq!(after(&parts, 14), [24..30, 40..50]);
        assert!(after(&parts, 30).is_empty());
    }

    #[test]
    fn all_ways_give_back_what_they_are_told_and_nothing_else() {
        let chunk = 2 << 20;
        for giving in [Giving::Drop, Giving::Remap] {
            let range = Reservation::new(8 * chunk, 1 << 30, c"gc test").unwrap();
            range.back_with_memory().unwrap();
            let word = |index: usize| &range.words()[index * chunk / 8 + 5];
            (0..8).for_each(|index| word(index).store(7, Ordering::Relaxed));
            let parts = [chunk..3 * chunk, 4 * chunk..5 * chunk, 7 * chunk..8 * chunk];
            let calls = range.give_back(&parts, giving).unwrap();
            if giving == Giving::Drop {
                assert_eq!(calls, if has_vectors() { 1 } else { 3 });
            }
            let left: Vec<u64> = (0..8).map(|index| word(index).load(Ordering::Relaxed)).collect();
            assert_eq!(left, [7, 0, 0, 7, 0, 7, 7, 0], "{giving:?}");
        }
    }
}
