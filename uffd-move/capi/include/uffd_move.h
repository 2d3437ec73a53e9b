/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Moving pages with userfaultfd, from C.
 *
 * Addresses and lengths are in bytes and must be multiples of the page size.
 * Every function returns 0, or the negative of an errno: -EINVAL without a
 * system call if an argument cannot be right (not whole pages, none at all, an
 * unknown flag, a null pointer), else what the kernel said.
 *
 * All functions but uffd_move_probe() and uffd_move_open() may be called in a
 * signal handler; they leave errno changed.
 */
#ifndef UFFD_MOVE_H
#define UFFD_MOVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* uffd_move_open(): faults arrive as SIGBUS on the thread that faulted,
 * instead of as events on the descriptor. */
#define UFFD_MOVE_OPEN_SIGBUS 1u

/* uffd_move_register(): which faults. */
#define UFFD_MOVE_MISSING 1u
#define UFFD_MOVE_WRITE_PROTECT 2u
#define UFFD_MOVE_MINOR 4u

/* Requests: a source page that is not there is skipped (uffd_move_pages()). */
#define UFFD_MOVE_SKIP_HOLES 1u
/* Requests: who waits for the pages is let run by uffd_move_wake() only. */
#define UFFD_MOVE_WAKE_LATER 2u

/* Why the kernel stopped. */
#define UFFD_MOVE_COMPLETE 0 /* everything is done */
#define UFFD_MOVE_AGAIN 1    /* stopped short: ask again for the rest */
#define UFFD_MOVE_PRESENT 2  /* the next page is at its destination already */
#define UFFD_MOVE_HOLE 3     /* the next source page is not there */
#define UFFD_MOVE_BUSY 4     /* the next page is shared or pinned: copy it */

struct uffd_move_outcome {
	/* Pages done, from the start of the range; also after an error. */
	uint64_t pages;
	/* UFFD_MOVE_COMPLETE and so on; meaningless after an error. */
	int32_t stop;
	/* The errno that the function returned the negative of, or 0. */
	int32_t error;
};

/* Whether this kernel can move pages here: 1 or 0. If 0 and `reason` is not
 * null, why not, cut to `size` bytes with the 0 at the end. */
int uffd_move_probe(char *reason, size_t size);

/* Opens a userfaultfd that can move pages, by the widest door that is open to
 * the caller; the descriptor, to be closed by close(2). */
int uffd_move_open(uint32_t flags);

/* From now on the faults of `modes` in the range come to `fd`. */
int uffd_move_register(int fd, void *start, size_t len, uint32_t modes);

/* From now on they are the kernel's again. Who waits there is let run. */
int uffd_move_unregister(int fd, void *start, size_t len);

/* Moves the pages at `src` to `dst`, which is registered and has none. */
int uffd_move_pages(int fd, void *dst, void *src, size_t len, uint32_t flags,
		    struct uffd_move_outcome *outcome);

/* Fills missing pages with copies. */
int uffd_move_copy(int fd, void *dst, const void *src, size_t len,
		   uint32_t flags, struct uffd_move_outcome *outcome);

/* Maps what the page cache has there. */
int uffd_move_continue(int fd, void *dst, size_t len, uint32_t flags,
		       struct uffd_move_outcome *outcome);

/* Fills missing pages with zeros. */
int uffd_move_zero(int fd, void *dst, size_t len, uint32_t flags,
		   struct uffd_move_outcome *outcome);

/* Lets the threads run that wait for a page of the range. */
int uffd_move_wake(int fd, void *start, size_t len);

#ifdef __cplusplus
}
#endif

#endif
