// SPDX-License-Identifier: GPL-2.0
/* Zero pages and huge pages. */
#define _GNU_SOURCE
#include "../machine.h"

static void zero_pages(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	volatile char *v = s;

	arm(fd, d, HUGE);
	for (int i = 0; i < 20; i++)
		(void)v[i * PAGE];
	stamp(s + 5 * PAGE, 5);
	expect("zero pages and one other", move_settled(fd, d, s, 20 * PAGE, 0), 0, 20 * PAGE);
	for (int i = 0; i < 20; i++)
		check(there(d + i * PAGE) && !there(s + i * PAGE) &&
		      (i == 5 ? stamped(d + i * PAGE, 5) : d[i * PAGE] == 0),
		      "page %d", i);
	stamp(d, 1);
	check(stamped(d, 1) && d[PAGE] == 0, "writing to one");
	say("answer: zero page soft-dirty: %d", !!(pagemap(d + PAGE) & PM_SOFT_DIRTY));
}

static void huge_zero_page(void)
{
	int fd = new_uffd(0);
	char *d = huge(4 * HUGE), *s = huge(2 * HUGE);
	volatile char *v = s;

	write_file("/sys/kernel/mm/transparent_hugepage/use_zero_page", "1");
	arm(fd, d, 4 * HUGE);
	(void)v[0];
	(void)v[HUGE];
	expect("huge zero page", move_settled(fd, d, s, HUGE, 0), 0, HUGE);
	check(there(d) && there(d + HUGE - PAGE) && !there(s), "where it is");
	check(d[0] == 0 && d[HUGE - 1] == 0, "contents");
	stamp(d + 5 * PAGE, 5);
	check(stamped(d + 5 * PAGE, 5) && d[4 * PAGE] == 0, "writing to it");
	check(v[HUGE + 5 * PAGE] == 0, "row 15: that went to the huge zero page itself");
	expect("piece of a huge zero page", move_settled(fd, d + 2 * HUGE, s + HUGE + PAGE, PAGE, 0), 0, PAGE);
	check(d[2 * HUGE] == 0 && !there(s + HUGE + PAGE) && there(s + HUGE), "the piece");
	stamp(d + 2 * HUGE, 3);
	check(stamped(d + 2 * HUGE, 3), "writing to the piece");
}

static void huge_page_whole(void)
{
	int fd = new_uffd(0);
	char *d = small(4 * HUGE), *s = huge(3 * HUGE);

	arm(fd, d, 4 * HUGE);
	stamp_range(s, 3 * HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	expect("three huge pages", move_settled(fd, d + HUGE, s, 3 * HUGE, 0), 0, 3 * HUGE);
	check(mapped_huge(d + HUGE), "not huge any more");
	check(range_stamped(d + HUGE, 3 * HUGE, 1), "contents");
	check(!there(s) && !there(s + 3 * HUGE - PAGE), "something remains");
	stamp_range(d + HUGE, HUGE, 9);
	check(range_stamped(d + HUGE, HUGE, 9), "writing");
	/* Sliding by whole huge pages, down and, in one piece, up */
	expect("huge slide down", move_settled(fd, d, d + HUGE, 3 * HUGE, 0), 0, 3 * HUGE);
	check(mapped_huge(d) && range_stamped(d, HUGE, 9), "after the slide");
	expect("huge slide up", move_settled(fd, d + HUGE, d, 3 * HUGE, 0), EEXIST, -EEXIST);
	/* The page table that came along serves when the page is split. */
	madvise(d + PAGE, PAGE, MADV_DONTNEED);
	check(stamped(d, 9) && stamped(d + 2 * PAGE, 11) && !there(d + PAGE), "split");
}

static void huge_page_split(void)
{
	int fd = new_uffd(0);
	char *d = small(6 * HUGE), *s = huge(4 * HUGE);

	arm(fd, d, 6 * HUGE);
	stamp_range(s, 4 * HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	expect("a page out of the middle", move_settled(fd, d + 5 * PAGE, s + 5 * PAGE, PAGE, 0), 0, PAGE);
	check(stamped(d + 5 * PAGE, 6) && stamped(s + 4 * PAGE, 5) &&
	      stamped(s + 6 * PAGE, 7) && !there(s + 5 * PAGE), "contents");
	/* dst has a page table already, so the second does not go whole. */
	stamp_range(s, 5 * PAGE, 1);
	expect("into a table", move_settled(fd, d + HUGE - PAGE, s + HUGE - PAGE, HUGE + PAGE, 0), 0, HUGE + PAGE);
	check(range_stamped(d + HUGE - PAGE, HUGE + PAGE, HUGE / PAGE), "contents");
	/* Not in phase */
	expect("not in phase", move_settled(fd, d + 3 * HUGE + PAGE, s + 2 * HUGE, 2 * HUGE, 0), 0, 2 * HUGE);
	check(range_stamped(d + 3 * HUGE + PAGE, 2 * HUGE, 1 + 2 * HUGE / PAGE), "contents");
}

FAMILY(answers_huge,
	{ "zero pages", zero_pages },
	{ "huge zero page", huge_zero_page },
	{ "huge page moves whole", huge_page_whole },
	{ "huge page is split", huge_page_split }
);
