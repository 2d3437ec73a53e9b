// SPDX-License-Identifier: GPL-2.0
/* Against reclaim, swap and the end of swap. */
#define _GNU_SOURCE
#include "field.h"

/* Fault pages in again, wherever they are just now */
static void do_page_in_and_out(void)
{
	static unsigned int turn;
	uint64_t buf[1];

	do_page_out();
	for (size_t o = turn++ % 3 * PAGE; o < field.len; o += 3 * PAGE)
		for (int side = 0; side < 2; side++) {
			char *p = (side ? field.there : field.here) + o;
			struct iovec local = { buf, 8 }, remote = { p, 8 };

			if (there(p))
				process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		}
}

static void with_swap(const char *(*swap_on)(void))
{
	const char *dev = swap_on();

	place_pages_no_waiting(small, NR * PAGE);
	play(do_page_in_and_out, 2);
	add_up();
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

static void with_zram(void)
{
	with_swap(swap_on_zram);
}

static void with_swap_cache(void)
{
	with_swap(swap_on_loop);
}

static const char *swap_device;

static void do_swapoff(void)
{
	do_page_out();
	check(!swapoff(swap_device), "swapoff: %s", strerror(errno));
	check(!swapon(swap_device, 0), "swapon: %s", strerror(errno));
}

static void with_swapoff(void)
{
	swap_device = swap_on_zram();
	place_pages(small, NR * PAGE);
	play(do_swapoff, 1);
	add_up();
	need(!swapoff(swap_device), "swapoff: %s", strerror(errno));
}

FAMILY(race_swap,
	{ "swap, zram", with_zram },
	{ "swap, swap cache", with_swap_cache },
	{ "swapoff", with_swapoff }
);
