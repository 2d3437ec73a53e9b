// SPDX-License-Identifier: GPL-2.0
/* What a page takes along: soft-dirty, write protection, dirty. */
#define _GNU_SOURCE
#include "../machine.h"

static void soft_dirty(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);

	arm(fd, d, HUGE);
	stamp(s, 1);
	/* Mappings are soft-dirty as a whole until the first clearing. */
	track_soft_dirty();
	expect("clean page", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(pagemap(d) & PM_SOFT_DIRTY, "not soft-dirty at its new address");
	check(stamped(d, 1), "contents");
}

/*
 * x86 makes a page soft-dirty whenever it makes it dirty. So only one that the
 * CPU has never seen dirty tells whether this has been thought of.
 */
static void soft_dirty_zero(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	volatile char *v = s;

	arm(fd, d, HUGE);
	(void)v[0];
	track_soft_dirty();
	expect("clean zero page", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	if (on_reference)
		say("row 11: a zero page is soft-dirty: %d", !!(pagemap(d) & PM_SOFT_DIRTY));
	else
		check(pagemap(d) & PM_SOFT_DIRTY, "row 11: not soft-dirty at its new address");
}

/*
 * One unit of memory goes to where write protection means something, the next
 * one to where it does not.
 */
static void protected_moves(const char *what, char *s, size_t unit)
{
	const uint64_t both = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
	int fd = new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *d = small(HUGE), *plain = small(HUGE), label[80];
	struct uffdio_writeprotect wp;
	bool kept;

	register_range(fd, d, HUGE, both);
	arm(fd, plain, HUGE);
	register_range(fd, s, 2 * HUGE, both);
	wp = (struct uffdio_writeprotect){
		{ (uintptr_t)s, 2 * unit }, UFFDIO_WRITEPROTECT_MODE_WP
	};
	need(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp), "protect: %s", strerror(errno));
	need(pagemap(s) & PM_UFFD_WP, "not protected");

	snprintf(label, sizeof(label), "%s, to where that means something", what);
	expect(label, move_settled(fd, d, s, unit, 0), 0, (long long)unit);
	kept = pagemap(d) & PM_UFFD_WP;
	if (on_reference)
		say("row 17: %s: kept: %d", what, kept);
	else
		check(kept, "row 17: write protection was lost");
	if (unit == HUGE && !on_reference)
		check(mapped_huge(d), "not huge any more");
	check(range_stamped(d, unit, 1), "contents");
	if (kept) {
		wp = (struct uffdio_writeprotect){ { (uintptr_t)d, unit }, 0 };
		need(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp), "unprotect");
	}
	stamp(d, 8);
	check(stamped(d, 8), "writing after the protection");

	snprintf(label, sizeof(label), "%s, to where it means nothing", what);
	expect(label, move_settled(fd, plain, s + unit, unit, 0), 0, (long long)unit);
	check(!(pagemap(plain) & PM_UFFD_WP), "still protected");
	stamp(plain, 9);
	check(stamped(plain, 9), "writing");
}

static void write_protection(void)
{
	char *s = small(2 * HUGE);

	stamp_range(s, 2 * PAGE, 1);
	protected_moves("protected", s, PAGE);
}

static void write_protection_huge(void)
{
	char *s = huge(2 * HUGE);

	stamp_range(s, 2 * HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	protected_moves("protected huge page", s, HUGE);
}

static void lazily_freed(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);

	arm(fd, d, HUGE);
	stamp_range(s, 4 * PAGE, 1);
	need(!madvise(s, 4 * PAGE, MADV_FREE), "MADV_FREE");
	stamp(s + PAGE, 22);		/* wanted again */
	expect("lazily freed", move_settled(fd, d, s, 4 * PAGE, 0), 0, 4 * PAGE);
	/* Clean lazily freed pages may go when memory is wanted. */
	madvise(d, 4 * PAGE, MADV_PAGEOUT);
	/* A page that was written to may not. */
	check(there(d + PAGE) && stamped(d + PAGE, 22), "a written page was lost");
	/* Whether reclaim has got to them is a matter of luck. */
	say("clean lazily freed pages after reclaim: %d",
	    !!there(d) + !!there(d + 2 * PAGE));
}

FAMILY(answers_attributes,
	{ "moved page is soft-dirty", soft_dirty },
	{ "moved zero page is soft-dirty", soft_dirty_zero },
	{ "write protection", write_protection },
	{ "write protection of a huge page", write_protection_huge },
	{ "lazily freed page", lazily_freed }
);
