// SPDX-License-Identifier: GPL-2.0
/* What is in the way, and what is missing. */
#define _GNU_SOURCE
#include "../machine.h"

static void destination_present(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(4 * HUGE), *e = huge(HUGE);
	struct uffdio_zeropage z;

	arm(fd, d, HUGE);
	stamp_range(s, 4 * PAGE, 1);
	expect("move", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	expect("dst present", move_settled(fd, d, s + PAGE, PAGE, 0), EEXIST, -EEXIST);
	expect("dst present, src hole", move_settled(fd, d, s, PAGE, 0), EEXIST, -EEXIST);
	expect("dst present, src hole allowed", move_settled(fd, d, s, PAGE, HOLES), EEXIST, -EEXIST);
	expect("dst present, src table missing", move_settled(fd, d, s + HUGE, PAGE, 0), ENOENT, -ENOENT);
	expect("dst present, src table missing, allowed", move_settled(fd, d, s + HUGE, PAGE, HOLES), EEXIST, -EEXIST);
	expect("src is dst, present", move_settled(fd, d, d, PAGE, 0), EEXIST, -EEXIST);
	expect("src is dst, hole", move_settled(fd, d + PAGE, d + PAGE, PAGE, 0), ENOENT, -ENOENT);
	expect("src is dst, hole allowed", move_settled(fd, d + PAGE, d + PAGE, PAGE, HOLES), 0, PAGE);
	z = (struct uffdio_zeropage){ .range = { (uintptr_t)d + PAGE, PAGE } };
	ioctl(fd, UFFDIO_ZEROPAGE, &z);
	expect("dst zero page", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EEXIST, -EEXIST);
	expect("second page present", move_settled(fd, d + 2 * PAGE, s + PAGE, PAGE, 0), 0, PAGE);
	expect("stops in the middle", move_settled(fd, d + PAGE, s + 2 * PAGE, PAGE, 0), EEXIST, -EEXIST);

	e[0] = 1;
	arm(fd, e, HUGE);
	if (mapped_huge(e)) {
		expect("dst huge", move_settled(fd, e, s + 2 * PAGE, PAGE, 0), EEXIST, -EEXIST);
		expect("dst huge, src table missing", move_settled(fd, e, s + HUGE, PAGE, 0), EEXIST, -EEXIST);
		expect("dst huge, src table missing, allowed", move_settled(fd, e, s + HUGE, HUGE, HOLES), EEXIST, -EEXIST);
		expect("dst huge, src hole", move_settled(fd, e, s, PAGE, 0), EEXIST, -EEXIST);
	} else {
		skip("no huge page");
	}
}

static void partial_stops_at_obstacle(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE), *q = small(HUGE);

	arm(fd, d, HUGE);
	stamp_range(s, 64 * PAGE, 1);
	stamp(q, 99);
	expect("one page in the way", move_settled(fd, d + 40 * PAGE, q, PAGE, 0), 0, PAGE);
	expect("obstacle after 40", move_settled(fd, d, s, 64 * PAGE, 0), EAGAIN, 40 * PAGE);
	expect("at the obstacle", move_settled(fd, d + 40 * PAGE, s + 40 * PAGE, 24 * PAGE, 0), EEXIST, -EEXIST);
	expect("after the obstacle", move_settled(fd, d + 41 * PAGE, s + 41 * PAGE, 23 * PAGE, 0), 0, 23 * PAGE);
	check(range_stamped(d, 40 * PAGE, 1) && stamped(d + 40 * PAGE, 99) &&
	      range_stamped(d + 41 * PAGE, 23 * PAGE, 42), "contents");
	check(stamped(s + 40 * PAGE, 41), "the page that stayed");
}

static void source_holes(void)
{
	int fd = new_uffd(0);
	char *d = small(64 * HUGE), *s = small(64 * HUGE);

	arm(fd, d, 64 * HUGE);
	stamp(s, 1);
	stamp(s + 3 * PAGE, 4);
	expect("hole at once", move_settled(fd, d, s + PAGE, PAGE, 0), ENOENT, -ENOENT);
	expect("hole after one", move_settled(fd, d, s, 4 * PAGE, 0), EAGAIN, PAGE);
	expect("hole counted", move_settled(fd, d + PAGE, s + PAGE, 3 * PAGE, HOLES), 0, 3 * PAGE);
	check(!there(d + PAGE) && !there(d + 2 * PAGE), "a hole arrived");
	check(stamped(d, 1) && stamped(d + 3 * PAGE, 4), "contents");
	expect("table missing", move_settled(fd, d, s + HUGE, HUGE, 0), ENOENT, -ENOENT);
	expect("table missing, allowed", move_settled(fd, d + HUGE, s + HUGE, HUGE, HOLES), 0, HUGE);
	expect("dst present after holes", move_settled(fd, d + HUGE - 8 * PAGE, s + 2 * HUGE - 8 * PAGE, 8 * PAGE, HOLES), 0, 8 * PAGE);
	expect("dst in the way of holes", move_settled(fd, d, s + 2 * HUGE, HUGE, HOLES), EEXIST, -EEXIST);
	expect("later in the way of holes", move_settled(fd, d + 2 * PAGE, s + 2 * HUGE, HUGE, HOLES), EAGAIN, PAGE);

	/* A page here and there in 120 MiB of nothing, not in phase */
	for (int i = 0; i < 60; i++)
		stamp(s + 2 * HUGE + i * (HUGE + 5 * PAGE), 1000 + i);
	expect("sparse", move_settled(fd, d + 2 * HUGE + 16 * PAGE, s + 2 * HUGE, 61 * HUGE, HOLES), 0, 61 * HUGE);
	for (int i = 0; i < 60; i++)
		check(stamped(d + 2 * HUGE + 16 * PAGE + i * (HUGE + 5 * PAGE), 1000 + i),
		      "page %d", i);
}

FAMILY(answers_obstacles,
	{ "destination present", destination_present },
	{ "partial move stops at an obstacle", partial_stops_at_obstacle },
	{ "source holes", source_holes }
);
