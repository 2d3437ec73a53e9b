// SPDX-License-Identifier: GPL-2.0
/* Against huge pages that come and go. */
#define _GNU_SOURCE
#include "field.h"

static void do_collapse(void)
{
	madvise(field.here, field.len, MADV_COLLAPSE);
	madvise(field.there, field.len, MADV_COLLAPSE);
}

static void hurry_khugepaged(bool hurry)
{
	write_file(KHUGEPAGED "scan_sleep_millisecs", hurry ? "1" : "10000");
	write_file(KHUGEPAGED "alloc_sleep_millisecs", hurry ? "1" : "60000");
	write_file(KHUGEPAGED "max_ptes_none", hurry ? "511" : "0");
}

static void with_collapse(void)
{
	place_pages(huge, 2 * HUGE);
	hurry_khugepaged(true);
	play(do_collapse, 2);
	hurry_khugepaged(false);
	add_up();
}

/* The same in two mappings out of phase, so that every page goes alone */
static void with_collapse_out_of_phase(void)
{
	place_pages(huge, 2 * HUGE);
	char *wide = huge(3 * HUGE);
	arm(field.fd, wide, 3 * HUGE);
	field.there = wide + 3 * PAGE;
	hurry_khugepaged(true);
	play(do_collapse, 2);
	hurry_khugepaged(false);
	add_up();
}

static void do_drop_huge(void)
{
	static unsigned int turn;

	madvise(field.here + turn % 2 * HUGE, HUGE, MADV_DONTNEED);
	sleep_ms(1);
	/* New ones in the place; waits for nobody, as it is not armed */
	struct uffdio_range r = { (uintptr_t)field.here, field.len };

	ioctl(field.fd, UFFDIO_UNREGISTER, &r);
	for (size_t h = 0; h < field.len; h += HUGE)
		if (!there(field.there + h) && !there(field.here + h))
			stamp_range(field.here + h, HUGE, 1 + h / PAGE);
	struct uffdio_register again = {
		.range = r, .mode = UFFDIO_REGISTER_MODE_MISSING
	};
	ioctl(field.fd, UFFDIO_REGISTER, &again);
	turn++;
}

static void with_dontneed_huge(void)
{
	place_pages(huge, 2 * HUGE);
	field.may_lose = true;
	play(do_drop_huge, 1);
	/* The mover does not wait until all of a new page has been stamped. */
	for (size_t o = 0; o < field.len; o += PAGE)
		for (int side = 0; side < 2; side++) {
			char *p = (side ? field.there : field.here) + o;

			if (there(p))
				check(stamped_or_zero(p, 1 + o / PAGE), "page %zu", o / PAGE);
		}
	check(atomic_load(&field.moved) > 0, "nothing was ever moved");
}

FAMILY(race_collapse,
	{ "collapse", with_collapse },
	{ "collapse, out of phase", with_collapse_out_of_phase },
	{ "DONTNEED of huge pages", with_dontneed_huge }
);
