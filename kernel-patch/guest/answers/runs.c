// SPDX-License-Identifier: GPL-2.0
/* Runs of every length, and ranges that overlap. */
#define _GNU_SOURCE
#include "../machine.h"
#include "../pin.h"

static void run_lengths(void)
{
	static const unsigned int lengths[] = {
		1, 2, 3, 15, 16, 17, 31, 33, 64, 255, 256, 257, 511, 512, 513,
		1000, 1024, 1500
	};
	int fd = new_uffd(0);
	char *d = small(8 * HUGE), *s = small(8 * HUGE);

	arm(fd, d, 8 * HUGE);
	for (unsigned int i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		size_t len = lengths[i] * PAGE, off = (i * 37 % 300) * PAGE;
		struct answer a;

		stamp_range(s + off, len, i * 10000);
		a = move_settled(fd, d + 2 * off, s + off, len, 0);
		check(a.err == 0 && a.move == (long long)len, "%u pages: %s %lld",
		      lengths[i], errno_name(a.err), a.move);
		check(range_stamped(d + 2 * off, len, i * 10000), "%u pages: contents",
		      lengths[i]);
		for (size_t o = 0; o < len; o += PAGE)
			check(!there(s + off + o), "a page remains");
		/* Arrived pages are writable without a fault being needed. */
		stamp_range(d + 2 * off, len, 7);
		madvise(d, 8 * HUGE, MADV_DONTNEED);
	}
}

static void slides(void)
{
	static const int by[] = { 1, 2, 7, 16, 17, 100, 255, 256, 257, 511, 512, 600 };
	int fd = new_uffd(0);
	const size_t len = 700 * PAGE;

	for (unsigned int i = 0; i < sizeof(by) / sizeof(*by); i++) {
		size_t gap = by[i] * PAGE;
		char *p = small(8 * HUGE);
		int err;

		arm(fd, p, 8 * HUGE);
		/* Down: all of it goes, each page once. */
		char *src = small(8 * HUGE);
		stamp_range(src, len, 1);
		need(move_all(fd, p + gap, src, len, 0, &err) == len, "%s", errno_name(err));
		check(move_all(fd, p, p + gap, len, 0, &err) == len, "down by %d: %s",
		      by[i], errno_name(err));
		check(range_stamped(p, len, 1), "down by %d: contents", by[i]);
		check(!there(p + len), "down by %d: the end", by[i]);
		/* Up: in the way of itself, unless it goes beyond its end. */
		struct answer a = move_settled(fd, p + gap, p, len, 0);
		check(a.err == EEXIST && a.move == -EEXIST, "up by %d: %s", by[i],
		      errno_name(a.err));
		check(range_stamped(p, len, 1), "up by %d: contents", by[i]);
		/* Up in pieces, from the end: what a caller has to do */
		for (size_t rest = len; rest;) {
			size_t n = rest < gap ? rest : gap;

			rest -= n;
			need(move_all(fd, p + gap + rest, p + rest, n, 0, &err) == n,
			     "up by %d at %zu: %s", by[i], rest / PAGE, errno_name(err));
		}
		check(range_stamped(p + gap, len, 1), "up by %d in pieces", by[i]);
		munmap(p, 8 * HUGE);
		munmap(src, 8 * HUGE);
	}
}

/* With holes, an upward slide picks up again what it has just put down. */
static void slide_up_over_holes(void)
{
	int fd = new_uffd(0);
	char *p = small(HUGE), *q = small(HUGE);
	unsigned int where = 0;

	arm(fd, p, HUGE);
	arm(fd, q, HUGE);
	stamp_range(q, 0, 0);
	for (int i = 0; i < 2; i++) {
		char *s = small(PAGE);

		stamp(s, i + 1);
		need(!move_settled(fd, p + i * PAGE, s, PAGE, 0).err, "setup");
	}
	expect("up over holes", move_settled(fd, p + 2 * PAGE, p, 4 * PAGE, HOLES), 0, 4 * PAGE);
	for (int i = 0; i < 8; i++)
		where |= !!there(p + i * PAGE) << i;
	say("answer: up over holes: pages at %x", where);
	check(where == 0x30, "pages at %x", where);
	check(stamped(p + 4 * PAGE, 1) && stamped(p + 5 * PAGE, 2), "contents");
}

static void slide_down_over_pinned(void)
{
	int fd = new_uffd(0), ring, err;
	char *p = small(HUGE), *s = small(HUGE);

	arm(fd, p, HUGE);
	stamp_range(s, 40 * PAGE, 1);
	need(move_all(fd, p + PAGE, s, 40 * PAGE, 0, &err) == 40 * PAGE, "setup");
	ring = pin_by_ring(p + 21 * PAGE, PAGE);
	need(ring >= 0, "fixed buffer: %s", strerror(errno));
	expect("down to the pinned", move_settled(fd, p, p + PAGE, 40 * PAGE, 0), EAGAIN, 20 * PAGE);
	check(range_stamped(p, 20 * PAGE, 1) && !there(p + 20 * PAGE) &&
	      range_stamped(p + 21 * PAGE, 20 * PAGE, 21), "contents");
	unpin_ring(ring);
}

FAMILY(answers_runs,
	{ "runs of every length", run_lengths, 600 },
	{ "slides", slides, 600 },
	{ "slide up over holes", slide_up_over_holes },
	{ "slide down over a pinned page", slide_down_over_pinned }
);
