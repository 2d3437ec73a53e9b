// SPDX-License-Identifier: GPL-2.0
/* Against those who hold pages from outside the page tables. */
#define _GNU_SOURCE
#include "field.h"
#include "../pin.h"

static void do_pin(void)
{
	static unsigned int turn;
	size_t o = turn++ * 11 % (NR - 4) * PAGE;
	int ring;

	for (int side = 0; side < 2; side++) {
		char *p = (side ? field.there : field.here) + o;

		if (!there(p))
			continue;
		ring = pin_by_ring(p, PAGE);
		if (ring < 0)
			continue;	/* it went away just now */
		/* A pinned page does not move: it is there, now and later. */
		if (check(there(p), "a pinned page moved")) {
			sleep_ms(1);
			check(there(p), "a pinned page moved later");
		}
		unpin_ring(ring);
	}
}

static void with_pins(void)
{
	place_pages_no_waiting(small, NR * PAGE);
	play(do_pin, 2);
	add_up();
}

/* The kernel's own test of GUP: pins as many pages as asked, and lets go. */
struct gup_test {
	uint64_t get_usec, put_usec, addr, size;
	uint32_t nr_pages_per_call, gup_flags, test_flags, which_pages[8];
};
#define PIN_FAST_BENCHMARK _IOWR('g', 2, struct gup_test)

static int gup_fd;

static void do_pin_fast(void)
{
	static unsigned int turn;
	size_t o = turn++ * 16 % NR * PAGE;

	for (int side = 0; side < 2; side++) {
		struct gup_test g = {
			.addr = (uintptr_t)(side ? field.there : field.here) + o,
			.size = 16 * PAGE,
			.nr_pages_per_call = 1 + turn % 16,
			.gup_flags = 1,		/* FOLL_WRITE */
		};

		ioctl(gup_fd, PIN_FAST_BENCHMARK, &g);
	}
}

static void with_fast_pins(void)
{
	gup_fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (gup_fd < 0)
		skip("no gup_test");
	place_pages_no_waiting(small, NR * PAGE);
	play(do_pin_fast, 2);
	add_up();
}

static void with_fast_pins_on_huge(void)
{
	gup_fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (gup_fd < 0)
		skip("no gup_test");
	play_whole(do_pin_fast);
}

static void do_pipe(void)
{
	static unsigned int turn;
	size_t o = turn++ * 13 % NR;
	char buf[PAGE];
	int pipes[2];

	for (int side = 0; side < 2; side++) {
		char *p = (side ? field.there : field.here) + o * PAGE;
		struct iovec iov = { p, PAGE };

		if (!there(p) || pipe(pipes))
			continue;
		if (vmsplice(pipes[1], &iov, 1, SPLICE_F_NONBLOCK) == (ssize_t)PAGE)
			check(read(pipes[0], buf, PAGE) == (ssize_t)PAGE &&
			      stamped(buf, 1 + o), "something else in the pipe");
		close(pipes[0]);
		close(pipes[1]);
	}
}

static void with_pipes(void)
{
	place_pages_no_waiting(small, NR * PAGE);
	play(do_pipe, 2);
	add_up();
}

FAMILY(race_pins,
	{ "pins", with_pins },
	{ "pins by GUP-fast", with_fast_pins },
	{ "pins by GUP-fast, huge page", with_fast_pins_on_huge },
	{ "pipes", with_pipes }
);
