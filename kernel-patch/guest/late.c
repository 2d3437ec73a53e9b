// SPDX-License-Identifier: GPL-2.0
/*
 * What happens within a few instructions, and what only a kernel with
 * mutants/switches.patch can have to order.
 *
 * uffd_move_late=1: pins that come between the look at a page and its being
 * taken, of the last of 64 pages, and of each huge page, until the ioctl returns.
 *
 * uffd_move_slow=N: reclaim that waits before it flushes the TLB, migration that
 * waits before it copies, swapoff that waits between looking at an entry and
 * decoding it.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>

#include "machine.h"
#include "pin.h"

/* Reading a page of the destination that is not there would wait for ever. */
static bool arrived(const char *p, size_t len, uint64_t first)
{
	for (size_t i = 0; i < len / PAGE; i++)
		if (!there(p + i * PAGE) || !stamped(p + i * PAGE, first + i))
			return false;
	return true;
}

static void small_page(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);

	arm(fd, d, HUGE);
	stamp_range(s, 120 * PAGE, 1);
	expect("up to the pinned", move_settled(fd, d, s, 120 * PAGE, 0), EAGAIN,
	       63 * PAGE);
	check(arrived(d, 63 * PAGE, 1), "what was moved");
	for (size_t i = 63; i < 120 && !test_result; i++)
		check(there(s + i * PAGE) && !there(d + i * PAGE), "page %zu", i);
	/* Where a page is gone, reading it gives zeros. */
	check(range_stamped(s + 63 * PAGE, 57 * PAGE, 64), "what was put back");
	expect("the pinned", move_settled(fd, d + 63 * PAGE, s + 63 * PAGE, PAGE, 0),
	       EBUSY, -EBUSY);
	check(stamped(s + 63 * PAGE, 64), "the pinned one");
	stamp(s + 63 * PAGE, 7);
	check(stamped(s + 63 * PAGE, 7), "writing to the pinned one");
	expect("the others", move_settled(fd, d + 64 * PAGE, s + 64 * PAGE, 56 * PAGE, 0),
	       0, 56 * PAGE);
	check(arrived(d + 64 * PAGE, 56 * PAGE, 65), "the others");
}

static void huge_page(void)
{
	int fd = new_uffd(0);
	char *d = huge(HUGE), *s = huge(HUGE);

	arm(fd, d, HUGE);
	stamp_range(s, HUGE, 1);
	need(mapped_huge(s), "no huge page");
	expect("the whole", move_settled(fd, d, s, HUGE, 0), EBUSY, -EBUSY);
	check(mapped_huge(s) && !there(d), "it did not stay");
	check(range_stamped(s, HUGE, 1), "contents");
	stamp(s, 7);
	check(stamped(s, 7), "writing to it");
}

/*
 * Reclaim has unmapped a page, keeps it because somebody holds it, and owes the
 * flush. A CPU that still has the translation must not see what is written to
 * the page at its new address.
 */
#define AT_NEW (1ULL << 63)

static struct {
	char *old;
	atomic_bool stop, look, reclaim, stale;
} owed;

static void use_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *reader(void *arg)
{
	use_cpu(1);
	while (!atomic_load(&owed.stop))
		if (atomic_load(&owed.look) &&
		    *(volatile uint64_t *)owed.old & AT_NEW)
			atomic_store(&owed.stale, true);
	return arg;
}

static void *reclaimer(void *arg)
{
	use_cpu(0);
	while (!atomic_load(&owed.stop)) {
		if (atomic_load(&owed.reclaim))
			madvise(owed.old, PAGE, MADV_PAGEOUT);
		sched_yield();
	}
	return arg;
}

/* True if the page was moved while it was unmapped */
static bool move_unmapped(int fd, char *d)
{
	double limit = now() + 0.5;
	bool moved = false;

	atomic_store(&owed.reclaim, true);
	while (!moved && now() < limit)
		if (pagemap(owed.old) & PM_SWAPPED)
			moved = !move_once(fd, d, owed.old, PAGE, 0).err;
	if (moved)
		*(volatile uint64_t *)d |= AT_NEW;
	atomic_store(&owed.reclaim, false);
	return moved;
}

static void flush_is_owed(void)
{
	const char *dev = swap_on_loop();
	int fd = new_uffd(0), moved = 0, pipes[2];
	char *d = small(HUGE), buf[PAGE];
	pthread_t r, p;

	use_cpu(0);
	arm(fd, d, HUGE);
	owed.old = small(HUGE);
	stamp(owed.old, 1);
	pthread_create(&r, NULL, reader, NULL);
	pthread_create(&p, NULL, reclaimer, NULL);
	for (int round = 0; round < 30; round++) {
		/*
		 * Clean and in the swap cache: out once and in again, by the CPU
		 * that is to reclaim it, as others do not find it on its way to
		 * the LRU.
		 */
		stamp(owed.old, round);
		need(page_out(owed.old, PAGE) == 1, "it does not want to leave");
		sleep_ms(20);
		check(stamped(owed.old, round), "contents");
		hold_in_pipe(pipes, owed.old);
		atomic_store(&owed.look, true);
		sleep_ms(5);
		moved += move_unmapped(fd, d);
		sleep_ms(10);
		atomic_store(&owed.look, false);
		need(read(pipes[0], buf, PAGE) == (ssize_t)PAGE, "the pipe");
		close(pipes[0]);
		close(pipes[1]);
		sleep_ms(50);
		madvise(d, PAGE, MADV_DONTNEED);
	}
	atomic_store(&owed.stop, true);
	pthread_join(r, NULL);
	pthread_join(p, NULL);
	say("moved while unmapped: %d of 30", moved);
	check(moved >= 3, "hardly ever was the page caught");
	check(!atomic_load(&owed.stale), "seen through an old translation");
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

/* A huge page that is on its way to another memory node is waited for. */
static void *migrate(void *page)
{
	int node = 0, status = -1;

	syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0);
	node = !status;
	syscall(SYS_move_pages, 0, 1, &page, &node, &status, 2 /* MPOL_MF_MOVE */);
	check(status == node, "on node %d, not %d", status, node);
	return NULL;
}

static void huge_page_migrates(void)
{
	int fd = new_uffd(0);
	char *d = huge(HUGE), *s = huge(HUGE);
	double limit = now() + 60;
	pthread_t t;

	arm(fd, d, HUGE);
	stamp_range(s, HUGE, 1);
	need(mapped_huge(s), "no huge page");
	pthread_create(&t, NULL, migrate, s);
	while (!(pagemap(s) & PM_SWAPPED) && now() < limit)
		;
	need(pagemap(s) & PM_SWAPPED, "it was not met while it migrated");
	expect("while it migrates", move_settled(fd, d, s, HUGE, 0), 0, HUGE);
	pthread_join(t, NULL);
	check(mapped_huge(d) && arrived(d, HUGE, 1), "contents");
}

/* swapoff looks at entries without their lock; this is when they go away. */
static atomic_bool swap_ended;

static void *end_swap(void *dev)
{
	check(!swapoff(dev), "swapoff: %s", strerror(errno));
	atomic_store(&swap_ended, true);
	return NULL;
}

static pthread_t swap_out_and_end(char *p, size_t len)
{
	char *dev = (char *)swap_on_zram();
	pthread_t t;

	stamp_range(p, len, 1);
	need(page_out(p, len) == len / PAGE, "they do not want to leave");
	pthread_create(&t, NULL, end_swap, dev);
	return t;
}

static void swapoff_meets_a_move(void)
{
	int fd = new_uffd(0), err, rounds = 0;
	char *here = small(HUGE), *there = small(HUGE), *was;
	size_t len = 64 * PAGE;
	pthread_t t;

	arm(fd, there, HUGE);
	t = swap_out_and_end(here, len);
	arm(fd, here, HUGE);
	for (; !atomic_load(&swap_ended); rounds++) {
		move_all(fd, there, here, len, 0, &err);
		need(!err, "move: %s", errno_name(err));
		was = here;
		here = there;
		there = was;
		sleep_ms(2);
	}
	pthread_join(t, NULL);
	say("moved %d times during swapoff", rounds);
	check(rounds > 1, "swapoff did not take long enough");
	check(arrived(here, len, 1), "contents");
}

static void swapoff_meets_dontneed(void)
{
	char *p = small(HUGE);
	size_t len = 64 * PAGE;
	pthread_t t = swap_out_and_end(p, len);

	sleep_ms(20);
	check(!atomic_load(&swap_ended), "swapoff did not take long enough");
	madvise(p, len, MADV_DONTNEED);
	pthread_join(t, NULL);
	for (size_t i = 0; i < len / PAGE; i++)
		check(!*(volatile uint64_t *)(p + i * PAGE), "page %zu", i);
}

FAMILY(late,
	{ "late pin of a page", small_page },
	{ "late pin of a huge page", huge_page },
	{ "flush of reclaim is owed", flush_is_owed },
	{ "huge page migrates", huge_page_migrates },
	{ "swapoff meets a move", swapoff_meets_a_move },
	{ "swapoff meets DONTNEED", swapoff_meets_dontneed }
);

static const struct family *const families[] = { &late, NULL };

int main(int argc, char **argv)
{
	return run_families(families, argc, argv);
}
