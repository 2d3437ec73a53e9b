// SPDX-License-Identifier: GPL-2.0
/* Threads that use their pages while these move away under them. */
#define _GNU_SOURCE
#include <sched.h>

#include "field.h"

/* Threads that read and write their pages while these slide away under them */
static void *worker(void *arg)
{
	(void)arg;
	while (!atomic_load(&field.stop))
		for (size_t o = 0; o < field.len && !atomic_load(&field.stop); o += PAGE)
			for (int side = 0; side < 2; side++) {
				uint64_t value = 1 + o / PAGE, got[2] = { value, value };
				char *p = (side ? field.there : field.here) + o;
				struct iovec l = { got, 8 }, r = { p, 8 };

				if (process_vm_readv(getpid(), &l, 1, &r, 1, 0) == 8)
					check(got[0] == value, "page %zu has %llx", o / PAGE,
					      (unsigned long long)got[0]);
				l.iov_base = &value;
				process_vm_writev(getpid(), &l, 1, &r, 1, 0);
			}
	return NULL;
}

static void with_readers_and_writers(void)
{
	pthread_t t[2];

	place_pages_no_waiting(small, NR * PAGE);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, worker, NULL);
	play(NULL, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	add_up();
}

/*
 * One address, always another page: whoever reads there while nothing is being
 * moved must see the present one, not the one that its CPU remembers.
 */
static struct {
	char *slot, *aside[2];
	int fd;
	atomic_ulong turn;	/* odd while it is changing */
} stage;

/* Spectators have a CPU of their own, which remembers, and does not starve us. */
static void use_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *spectator(void *arg)
{
	atomic_ulong *seen = arg;

	use_cpu(1);

	while (!atomic_load(&field.stop)) {
		unsigned long before = atomic_load(&stage.turn), after;
		uint64_t value;

		if (before & 1)
			continue;
		/* May wait for the next page: its arrival wakes. */
		value = *(volatile uint64_t *)stage.slot;
		after = atomic_load(&stage.turn);
		if (before != after)
			continue;
		atomic_fetch_add(seen, 1);
		if (!check(value == before / 2, "turn %lu: %llu", before / 2,
			   (unsigned long long)value))
			break;
	}
	return NULL;
}

static bool enough_seen(unsigned long turns, atomic_ulong seen[2])
{
	return turns >= 20 &&
	       atomic_load(&seen[0]) + atomic_load(&seen[1]) >= turns / 4;
}

static void stale_translations(void)
{
	double end = now() + seconds;
	static atomic_ulong seen[2];
	unsigned long n = 0;
	pthread_t t[2];

	use_cpu(0);
	stage.fd = new_uffd(0);
	stage.slot = small(HUGE);
	arm(stage.fd, stage.slot, HUGE);
	for (int i = 0; i < 2; i++) {
		stage.aside[i] = small(HUGE);
		stamp(stage.aside[i], 0);
		arm(stage.fd, stage.aside[i], HUGE);
	}
	need(!move_once(stage.fd, stage.slot, stage.aside[0], PAGE, 0).err, "setup");
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, spectator, &seen[i]);
	/* Long enough to have seen some of it, however slow the machine */
	while (!test_result &&
	       (now() < end || (!enough_seen(n, seen) && now() < end + 60))) {
		char *out = stage.aside[n & 1], *in = stage.aside[~n & 1];
		struct answer a, b;

		n++;
		stamp(in, n);
		atomic_store(&stage.turn, 2 * n - 1);
		a = move_settled(stage.fd, out, stage.slot, PAGE, 0);
		b = move_settled(stage.fd, stage.slot, in, PAGE, 0);
		need(!a.err && !b.err, "%s, %s", errno_name(a.err), errno_name(b.err));
		atomic_store(&stage.turn, 2 * n);
		/* Let it be seen, if that does not take too long */
		double limit = now() + 0.02;
		unsigned long was = seen[0] + seen[1];
		while (seen[0] + seen[1] < was + 2 && now() < limit)
			;
	}
	atomic_store(&field.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	say("%lu turns, looked at %lu and %lu times", n, atomic_load(&seen[0]),
	    atomic_load(&seen[1]));
	check(enough_seen(n, seen), "hardly anything was seen");
}

FAMILY(race_translations,
	{ "readers and writers", with_readers_and_writers },
	{ "stale translations", stale_translations }
);
