// SPDX-License-Identifier: GPL-2.0
/* The ioctl against itself: more than one mover, one destination, one huge page. */
#define _GNU_SOURCE
#include "field.h"

static void with_two_movers(void)
{
	place_pages(small, NR * PAGE);
	play(NULL, 2);
	add_up();
}

static void with_six_movers_on_huge(void)
{
	place_pages(huge, 2 * HUGE);
	play(NULL, 6);
	add_up();
}

/* Many threads want parts of one huge page, each its own. */
static struct {
	char *dst, *src;
	int fd, nr;
	/* Making a thread takes the mmap_lock: all must be there before one moves. */
	pthread_barrier_t start;
} parts;

static void *take_part(void *arg)
{
	size_t share = HUGE / parts.nr / PAGE * PAGE, o = (uintptr_t)arg * share;
	int err;

	pthread_barrier_wait(&parts.start);
	move_all(parts.fd, parts.dst + o, parts.src + o, share, 0, &err);
	return (void *)(uintptr_t)err;
}

static void many_threads_one_huge_page(void)
{
	double end = now() + seconds;
	int rounds = 0;

	parts.fd = new_uffd(0);
	parts.nr = 8;
	pthread_barrier_init(&parts.start, NULL, parts.nr);
	parts.dst = small(HUGE);
	parts.src = huge(HUGE);
	arm(parts.fd, parts.dst, HUGE);
	do {
		pthread_t t[8];

		stamp_range(parts.src, HUGE, rounds);
		for (uintptr_t i = 0; i < 8; i++)
			pthread_create(&t[i], NULL, take_part, (void *)i);
		for (int i = 0; i < 8; i++) {
			void *err;

			pthread_join(t[i], &err);
			check(!err, "part %d: %s", i, errno_name((uintptr_t)err));
		}
		/* Reading what did not arrive would wait for ever. */
		if (test_result)
			break;
		check(range_stamped(parts.dst, HUGE, rounds), "contents");
		madvise(parts.dst, HUGE, MADV_DONTNEED);
		madvise(parts.src, HUGE, MADV_DONTNEED);
		rounds++;
	} while (now() < end && !test_result);
	say("%d rounds", rounds);
}

/* Only one of several sources can get to a destination. */
static struct {
	char *dst, *src[3];
	int fd;
	atomic_int won[3];
} goal;

static void *shoot(void *arg)
{
	uintptr_t me = (uintptr_t)arg;

	for (size_t o = 0; o < NR * PAGE; o += PAGE) {
		struct answer a;

		do {
			a = move_once(goal.fd, goal.dst + o, goal.src[me] + o, PAGE, 0);
		} while (a.err == EAGAIN);
		if (!a.err)
			atomic_fetch_add(&goal.won[me], 1);
		else
			check(a.err == EEXIST, "%s", errno_name(a.err));
	}
	return NULL;
}

static void same_destination(void)
{
	double end = now() + seconds;

	goal.fd = new_uffd(0);
	goal.dst = small(NR * PAGE);
	arm(goal.fd, goal.dst, NR * PAGE);
	for (int i = 0; i < 3; i++)
		goal.src[i] = small(NR * PAGE);
	do {
		pthread_t t[3];
		int sum = 0;

		for (uintptr_t i = 0; i < 3; i++) {
			stamp_range(goal.src[i], NR * PAGE, 1000 * i);
			atomic_store(&goal.won[i], 0);
			pthread_create(&t[i], NULL, shoot, (void *)i);
		}
		for (int i = 0; i < 3; i++) {
			pthread_join(t[i], NULL);
			sum += atomic_load(&goal.won[i]);
		}
		check(sum == NR, "%d arrived at %d places", sum, NR);
		for (size_t p = 0; p < NR; p++) {
			int from = 0;

			for (int i = 0; i < 3; i++)
				if (!there(goal.src[i] + p * PAGE))
					from += 1 + i;
			check(from >= 1 && from <= 3 &&
			      stamped(goal.dst + p * PAGE, 1000 * (from - 1) + p),
			      "page %zu", p);
		}
		madvise(goal.dst, NR * PAGE, MADV_DONTNEED);
	} while (now() < end && !test_result);
}

FAMILY(race_movers,
	{ "two movers", with_two_movers },
	{ "six movers on huge pages", with_six_movers_on_huge },
	{ "many threads, one huge page", many_threads_one_huge_page },
	{ "the same destination", same_destination }
);
