// SPDX-License-Identifier: GPL-2.0
/* Pages that are not ours alone, or not usable. */
#define _GNU_SOURCE
#include "../machine.h"
#include "../pin.h"

static void shared_by_fork(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	struct sharer child;

	arm(fd, d, HUGE);
	stamp_range(s, 8 * PAGE, 1);
	child = start_sharer(s, 8 * PAGE, 1);
	expect("shared with a child", move_settled(fd, d, s, PAGE, 0), EBUSY, -EBUSY);
	stamp(s, 1);
	expect("written: own copy", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	expect("the next is shared", move_settled(fd, d + PAGE, s + PAGE, 2 * PAGE, 0), EBUSY, -EBUSY);
	stamp(s + 2 * PAGE, 3);
	stamp(s + 3 * PAGE, 4);
	expect("own, then shared", move_settled(fd, d + 2 * PAGE, s + 2 * PAGE, 4 * PAGE, 0), EAGAIN, 2 * PAGE);
	end_sharer(child);
	expect("after the child", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EBUSY, -EBUSY);
	stamp(s + PAGE, 2);
	expect("written after the child", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), 0, PAGE);
	check(range_stamped(d, 4 * PAGE, 1), "contents");
}

static void shared_huge(void)
{
	int fd = new_uffd(0);
	char *d = small(2 * HUGE), *s = huge(HUGE);
	struct sharer child;

	arm(fd, d, 2 * HUGE);
	stamp_range(s, HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	child = start_sharer(s, HUGE, 1);
	expect("huge, shared", move_settled(fd, d, s, HUGE, 0), EBUSY, -EBUSY);
	expect("part of huge, shared", move_settled(fd, d, s + PAGE, PAGE, 0), EBUSY, -EBUSY);
	check(mapped_huge(s), "split for nothing");
	end_sharer(child);
	check(range_stamped(s, HUGE, 1), "contents");
}

static void merged_by_ksm(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(16 * PAGE);
	bool merged = false;

	arm(fd, d, HUGE);
	for (int i = 0; i < 16; i++)
		stamp(s + i * PAGE, 5);
	if (madvise(s, 16 * PAGE, MADV_MERGEABLE))
		skip("no KSM");
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "5");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 400 && !merged; i++) {
		sleep_ms(25);
		merged = are_merged(s, s + PAGE);
	}
	need(merged, "not merged");
	expect("merged page", move_settled(fd, d, s, PAGE, 0), EBUSY, -EBUSY);
	stamp(s, 5);
	write_file("/sys/kernel/mm/ksm/run", "2");
	stamp(s, 6);
	expect("unmerged by a write", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(stamped(d, 6) && stamped(s + PAGE, 5), "contents");
	write_file("/sys/kernel/mm/ksm/run", "0");
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "100");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "20");
}

static void pinned(void)
{
	int fd = new_uffd(0), ring;
	char *d = small(HUGE), *s = small(HUGE);
	struct answer a;

	arm(fd, d, HUGE);
	stamp_range(s, 8 * PAGE, 1);
	ring = pin_by_ring(s + 2 * PAGE, PAGE);
	need(ring >= 0, "fixed buffer: %s", strerror(errno));
	expect("pinned", move_settled(fd, d + 2 * PAGE, s + 2 * PAGE, PAGE, 0), EBUSY, -EBUSY);
	expect("up to the pinned", move_settled(fd, d, s, 8 * PAGE, 0), EAGAIN, 2 * PAGE);
	unpin_ring(ring);
	for (int i = 0; i < 200; i++) {
		a = move_settled(fd, d + 2 * PAGE, s + 2 * PAGE, 6 * PAGE, 0);
		if (a.err != EBUSY)
			break;
		sleep_ms(10);
	}
	expect("let go", a, 0, 6 * PAGE);
	check(range_stamped(d, 8 * PAGE, 1), "contents");
}

static void pinned_huge(void)
{
	int fd = new_uffd(0), ring;
	char *d = small(2 * HUGE), *s = huge(HUGE);

	arm(fd, d, 2 * HUGE);
	stamp_range(s, HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	ring = pin_by_ring(s, PAGE);
	need(ring >= 0, "fixed buffer: %s", strerror(errno));
	expect("huge, pinned", move_settled(fd, d, s, HUGE, 0), EBUSY, -EBUSY);
	/* A reference kernel without the later fixes tries to split for ever. */
	if (on_reference)
		say("row 8: not asked for a part of a pinned huge page");
	else
		check(move_settled(fd, d, s + PAGE, PAGE, 0).err == EBUSY, "a part of it");
	check(range_stamped(s, HUGE, 1), "contents");
	if (on_reference)
		say("the reference splits it first: %d", !mapped_huge(s));
	else
		check(mapped_huge(s), "split for nothing");
	unpin_ring(ring);
}

static void held_in_pipe(void)
{
	int fd = new_uffd(0), pipes[2];
	char *d = small(HUGE), *s = small(HUGE), buf[PAGE];

	arm(fd, d, HUGE);
	stamp(s, 1);
	hold_in_pipe(pipes, s);
	/* A reference is not a pin. */
	expect("in a pipe", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(read(pipes[0], buf, PAGE) == (ssize_t)PAGE && stamped(buf, 1), "the pipe");
	check(stamped(d, 1), "contents");
}

/* Not on the reference: it would try for ever. */
static void held_huge_is_busy(void)
{
	int fd = new_uffd(0), pipes[2];
	char *d = small(2 * HUGE), *s = huge(HUGE), buf[PAGE];
	struct answer a;

	if (on_reference) {
		say("row 8: the reference does not come back from this");
		return;
	}
	arm(fd, d, 2 * HUGE);
	stamp_range(s, HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	hold_in_pipe(pipes, s + PAGE);
	a = move_settled(fd, d, s + 2 * PAGE, PAGE, 0);
	check(a.err == EBUSY && a.move == -EBUSY, "part of a held huge page: %s",
	      errno_name(a.err));
	check(read(pipes[0], buf, PAGE) == (ssize_t)PAGE && stamped(buf, 2), "the pipe");
	a = move_settled(fd, d, s + 2 * PAGE, PAGE, 0);
	check(a.err == 0 && stamped(d, 3), "once it is free: %s", errno_name(a.err));
}

static void on_poison(int sig)
{
	(void)sig;
}

static void poisoned(void)
{
	struct sigaction sa = { .sa_handler = on_poison };
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);

	arm(fd, d, HUGE);
	stamp_range(s, 4 * PAGE, 1);
	/* Some kernels tell the caller at once. */
	sigaction(SIGBUS, &sa, NULL);
	if (madvise(s + PAGE, PAGE, MADV_HWPOISON))
		skip("MADV_HWPOISON: %s", strerror(errno));
	expect("poisoned", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EFAULT, -EFAULT);
	expect("up to the poisoned", move_settled(fd, d, s, 4 * PAGE, 0), EAGAIN, PAGE);
	check(stamped(d, 1) && stamped(s + 2 * PAGE, 3), "contents");
}

FAMILY(answers_sharing,
	{ "page shared by fork is busy", shared_by_fork },
	{ "huge page shared by fork is busy", shared_huge },
	{ "page merged by KSM is busy", merged_by_ksm },
	{ "pinned page is busy", pinned },
	{ "pinned huge page is busy", pinned_huge },
	{ "page held in a pipe moves", held_in_pipe },
	{ "huge page held in a pipe is busy to a split", held_huge_is_busy },
	{ "poisoned page", poisoned }
);
