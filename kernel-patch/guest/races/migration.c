// SPDX-License-Identifier: GPL-2.0
/* Against the replacement of a page by another one. */
#define _GNU_SOURCE
#include "field.h"

static void do_compact(void)
{
	write_file("/proc/sys/vm/compact_memory", "1");
}

static void with_compaction(void)
{
	place_pages(small, NR * PAGE);
	play(do_compact, 2);
	add_up();
}

static int nr_nodes(void)
{
	return access("/sys/devices/system/node/node1", F_OK) ? 1 : 2;
}

static void do_migrate(void)
{
	static int node;
	unsigned long to, from;

	/* All pages of this process, wherever they are */
	from = 1UL << (node & 1);
	to = 1UL << (++node & 1);
	syscall(SYS_migrate_pages, 0, 8 * sizeof(long), &from, &to);
}

static void with_migration(void)
{
	if (nr_nodes() < 2)
		skip("one memory node only");
	place_pages(small, NR * PAGE);
	play(do_migrate, 2);
	add_up();
}

static void with_migration_of_huge(void)
{
	if (nr_nodes() < 2)
		skip("one memory node only");
	/* Pieces and, first, the whole: a migration entry in a PMD */
	play_whole(do_migrate);
	atomic_store(&field.stop, false);
	place_pages(huge, 2 * HUGE);
	play(do_migrate, 2);
	add_up();
}

static void do_soft_offline(void)
{
	static unsigned int turn;
	char *p = turn & 1 ? field.here : field.there;

	/* The page is replaced by another one; few, as each costs a page. */
	if (turn < 40)
		madvise(p + turn * 5 % NR * PAGE, PAGE, MADV_SOFT_OFFLINE);
	turn++;
	sleep_ms(20);
}

static void with_soft_offline(void)
{
	place_pages_no_waiting(small, NR * PAGE);
	play(do_soft_offline, 2);
	add_up();
}

FAMILY(race_migration,
	{ "compaction", with_compaction },
	{ "migration", with_migration },
	{ "migration of huge pages", with_migration_of_huge },
	{ "soft offline", with_soft_offline }
);
