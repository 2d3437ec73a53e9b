//! What the kernel says it can do: bit sets that keep the bits they do not know.

use bitflags::bitflags;

bitflags! {
    /// Features of a userfaultfd, as asked for and answered in the handshake.
    ///
    /// Bits without a name are kept: a kernel may be newer than this list.
    /// See `UFFDIO_API(2const)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    #[doc(alias = "UFFD_FEATURE")]
    pub struct Features: u64 {
        /// Write-protect faults are reported.
        const PAGEFAULT_FLAG_WP = 1 << 0;
        /// A fork is reported, with a descriptor for the child.
        const EVENT_FORK = 1 << 1;
        /// `mremap` of a registered range is reported.
        const EVENT_REMAP = 1 << 2;
        /// `madvise` that drops pages of a registered range is reported.
        const EVENT_REMOVE = 1 << 3;
        /// Missing pages of hugetlbfs.
        const MISSING_HUGETLBFS = 1 << 4;
        /// Missing pages of shared memory.
        const MISSING_SHMEM = 1 << 5;
        /// `munmap` of a registered range is reported.
        const EVENT_UNMAP = 1 << 6;
        /// A missing page is a SIGBUS on the faulting thread, and no event.
        const SIGBUS = 1 << 7;
        /// Events name the faulting thread.
        const THREAD_ID = 1 << 8;
        /// Minor faults on hugetlbfs.
        const MINOR_HUGETLBFS = 1 << 9;
        /// Minor faults on shared memory, and `UFFDIO_CONTINUE`.
        const MINOR_SHMEM = 1 << 10;
        /// Events have the address to the byte, not to the page.
        const EXACT_ADDRESS = 1 << 11;
        /// Write protection on hugetlbfs and shared memory.
        const WP_HUGETLBFS_SHMEM = 1 << 12;
        /// Write protection of pages that are not there.
        const WP_UNPOPULATED = 1 << 13;
        /// `UFFDIO_POISON`.
        const POISON = 1 << 14;
        /// Write-protect faults resolve themselves and are only recorded.
        const WP_ASYNC = 1 << 15;
        /// `UFFDIO_MOVE`.
        const MOVE = 1 << 16;

        const _ = !0;
    }
}

bitflags! {
    /// Requests that a registered range accepts, as registration answers.
    ///
    /// Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct RangeIoctls: u64 {
        /// `UFFDIO_WAKE`.
        const WAKE = 1 << 2;
        /// `UFFDIO_COPY`.
        const COPY = 1 << 3;
        /// `UFFDIO_ZEROPAGE`.
        const ZEROPAGE = 1 << 4;
        /// `UFFDIO_MOVE`. Kernels up to this day say so for shared memory too, and then refuse.
        const MOVE = 1 << 5;
        /// `UFFDIO_WRITEPROTECT`.
        const WRITEPROTECT = 1 << 6;
        /// `UFFDIO_CONTINUE`.
        const CONTINUE = 1 << 7;
        /// `UFFDIO_POISON`.
        const POISON = 1 << 8;

        const _ = !0;
    }
}

bitflags! {
    /// Which faults in a range come to us.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[doc(alias = "UFFDIO_REGISTER_MODE")]
    pub struct RegisterMode: u64 {
        /// The page is not there.
        const MISSING = 1 << 0;
        /// The page is there, and write-protected.
        const WRITE_PROTECT = 1 << 1;
        /// The page is in the page cache and not mapped here.
        const MINOR = 1 << 2;
    }
}
