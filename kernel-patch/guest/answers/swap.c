// SPDX-License-Identifier: GPL-2.0
/* Pages that are swapped out. */
#define _GNU_SOURCE
#include "../machine.h"
#include "../pin.h"

static void swapped(const char *(*swap_on)(void), bool cached)
{
	const size_t n = 300;
	int fd = new_uffd(0), err;
	char *d = small(2 * HUGE), *s = small(2 * HUGE);
	const char *dev = swap_on();
	size_t out;
	long rss, swap;

	arm(fd, d, 2 * HUGE);
	stamp_range(s, n * PAGE, 1);
	out = page_out(s, n * PAGE);
	need(out > n / 2, "only %zu swapped out", out);
	say("%zu of %zu out, swap cache %ld kB", out, n, status_kb("SwapCached"));
	if (cached)
		check(status_kb("SwapCached") > 0, "nothing is in the swap cache");
	rss = status_kb("VmRSS");
	swap = status_kb("VmSwap");

	check(move_all(fd, d + 5 * PAGE, s, n * PAGE, 0, &err) == n * PAGE, "%s",
	      errno_name(err));
	check(!there(s) && there(d + 5 * PAGE), "where they are");
	/* The counters lag by some pages per thread. */
	check(labs(status_kb("VmRSS") - rss) <= 512 &&
	      labs(status_kb("VmSwap") - swap) <= 512,
	      "RSS %ld to %ld, swap %ld to %ld", rss, status_kb("VmRSS"), swap,
	      status_kb("VmSwap"));
	size_t still = 0;
	for (size_t i = 0; i < n; i++)
		still += !!(pagemap(d + (5 + i) * PAGE) & PM_SWAPPED);
	check(still >= out - 8, "%zu out before, %zu after", out, still);
	check(range_stamped(d + 5 * PAGE, n * PAGE, 1), "contents");

	/* And out and in again where they are now: the rmap must find them. */
	out = page_out(d + 5 * PAGE, n * PAGE);
	check(out > n / 2, "only %zu swapped out again", out);
	check(range_stamped(d + 5 * PAGE, n * PAGE, 1), "contents, second time");
	/* Swapped out, moved, dropped */
	page_out(d + 5 * PAGE, n * PAGE);
	arm(fd, s, 2 * HUGE);
	check(move_all(fd, s, d + 5 * PAGE, n * PAGE, 0, &err) == n * PAGE, "%s",
	      errno_name(err));
	madvise(s, 2 * HUGE, MADV_DONTNEED);
	check(status_kb("VmSwap") <= 512, "swap not given back: %ld kB",
	      status_kb("VmSwap"));
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

static void swapped_to_zram(void)
{
	swapped(swap_on_zram, false);
}

static void swapped_with_cache(void)
{
	swapped(swap_on_loop, true);
}

/*
 * A page in the swap cache that does not know its new address would be copied
 * when it comes in. A pipe keeps it in the cache, and the page from being used
 * for anything else.
 */
static void same_page_comes_back(void)
{
	int fd = new_uffd(0), pipes[2];
	char *d = small(HUGE), *s = small(HUGE);
	const char *dev = swap_on_loop();
	uint64_t before;

	arm(fd, d, HUGE);
	stamp(s, 1);
	hold_in_pipe(pipes, s);
	before = pagemap(s) & PM_PFN;
	need(page_out(s, PAGE) == 1, "it does not want to leave");
	expect("in the swap cache, held", move_settled(fd, d + 7 * PAGE, s, PAGE, 0), 0, PAGE);
	check(pagemap(d + 7 * PAGE) & PM_SWAPPED, "it came in");
	check(stamped(d + 7 * PAGE, 1), "contents");
	check((pagemap(d + 7 * PAGE) & PM_PFN) == before, "row 7: it is a copy");
	close(pipes[0]);
	close(pipes[1]);
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

static void swapped_rest(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	const char *dev;
	struct sharer child;

	arm(fd, d, HUGE);
	stamp_range(s, 16 * PAGE, 1);
	/* Not dirty in this sense when they go out; and before there is swap, as it may skip */
	track_soft_dirty();
	dev = swap_on_zram();
	need(page_out(s, 16 * PAGE) == 16, "not swapped out");
	expect("dst swapped out: setup", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(pagemap(d) & PM_SWAPPED, "it came in");
	check(pagemap(d) & PM_SOFT_DIRTY, "row 11: not soft-dirty");
	expect("dst swapped out", move_settled(fd, d, s + PAGE, PAGE, 0), EEXIST, -EEXIST);
	child = start_sharer(s + PAGE, 15 * PAGE, 2);
	expect("swapped out and shared", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EBUSY, -EBUSY);
	end_sharer(child);
	check(range_stamped(s + PAGE, 15 * PAGE, 2) && stamped(d, 1), "contents");
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

/* Reclaim finds a page by its index: it must be that of the new address. */
static void moved_then_out(void)
{
	const size_t n = 100;
	int fd = new_uffd(0), err;
	char *d = small(HUGE), *s = small(HUGE);
	const char *dev;
	size_t out;

	arm(fd, d, HUGE);
	stamp_range(s, n * PAGE, 1);
	need(move_all(fd, d + 7 * PAGE, s, n * PAGE, 0, &err) == n * PAGE, "%s", errno_name(err));
	dev = swap_on_zram();
	out = page_out(d + 7 * PAGE, n * PAGE);
	check(out > n / 2, "only %zu of %zu swapped out", out, n);
	check(range_stamped(d + 7 * PAGE, n * PAGE, 1), "contents");
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

static void swap_off_after_move(void)
{
	int fd = new_uffd(0), err;
	char *d = small(HUGE), *s = small(HUGE);
	const char *dev = swap_on_loop();

	arm(fd, d, HUGE);
	stamp_range(s, 200 * PAGE, 1);
	page_out(s, 200 * PAGE);
	need(move_all(fd, d, s, 200 * PAGE, 0, &err) == 200 * PAGE, "%s", errno_name(err));
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
	check(range_stamped(d, 200 * PAGE, 1), "contents");
	for (int i = 0; i < 200; i++)
		check(pagemap(d + i * PAGE) & PM_PRESENT, "page %d is not back", i);
}

FAMILY(answers_swap,
	{ "swapped out to zram", swapped_to_zram, 600 },
	{ "swapped out, still in the swap cache", swapped_with_cache, 600 },
	{ "swapped out, the same page comes back", same_page_comes_back },
	{ "swapped out: shared, present, soft-dirty", swapped_rest },
	{ "moved pages swap out", moved_then_out },
	{ "swapoff after a move", swap_off_after_move }
);
