// SPDX-License-Identifier: GPL-2.0
/*
 * What UFFDIO_MOVE answers, and what memory looks like afterwards. Each line
 * "answer: ..." must read the same on every kernel that has the ioctl; where
 * the reference kernel has a known bug, the test says which ("row N" of
 * UPSTREAM.md) and claims something else there.
 */
#define _GNU_SOURCE
#include "pin.h"

/* ---- the interface ---- */

static void handshake(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_MOVE };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	char *p = small(HUGE), *h, *s;

	check(sizeof(struct move_request) == 40, "size of the request");
	check(_IOWR(0xAA, 0x05, struct move_request) == REQ_MOVE, "number");
	need(!ioctl(fd, UFFDIO_API, &api), "asking for the feature: %s",
	     strerror(errno));
	check(api.features & FEATURE_MOVE, "features %llx",
	      (unsigned long long)api.features);
	check(arm(fd, p, HUGE) & (1 << BIT_MOVE), "not for anonymous memory");
	s = mmap(NULL, HUGE, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	say("answer: shmem ioctls have move: %d",
	    !!(arm(fd, s, HUGE) & (1 << BIT_MOVE)));
	write_file("/proc/sys/vm/nr_hugepages", "2");
	h = mmap(NULL, HUGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (h != MAP_FAILED)
		check(!(arm(fd, h, HUGE) & (1 << BIT_MOVE)), "for hugetlb");
	else
		say("no huge pages to try with");
	/* The ioctl does not depend on the feature having been asked for. */
	fd = new_uffd(0);
	p = small(HUGE);
	s = small(HUGE);
	stamp(s, 1);
	arm(fd, p, HUGE);
	expect("feature not asked for", move_settled(fd, p, s, PAGE, 0), 0, PAGE);
	write_file("/proc/sys/vm/nr_hugepages", "0");
}

static void bad_arguments(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	char *top = (char *)~0xfffUL;

	arm(fd, d, HUGE);
	stamp(s, 1);
	expect("dst not aligned", move_settled(fd, d + 1, s, PAGE, 0), EINVAL, UNTOUCHED);
	expect("src not aligned", move_settled(fd, d, s + 1, PAGE, 0), EINVAL, UNTOUCHED);
	expect("len not aligned", move_settled(fd, d, s, 100, 0), EINVAL, UNTOUCHED);
	expect("len zero", move_settled(fd, d, s, 0, 0), EINVAL, UNTOUCHED);
	expect("len wraps", move_settled(fd, d, s, ~0xfffUL, 0), EINVAL, UNTOUCHED);
	expect("dst beyond user space", move_settled(fd, top, s, PAGE, 0), EINVAL, UNTOUCHED);
	expect("src beyond user space", move_settled(fd, d, top, PAGE, 0), EINVAL, UNTOUCHED);
	for (int bit = 2; bit < 64; bit++) {
		struct answer a = move_settled(fd, d, s, PAGE, 1ULL << bit);

		check(a.err == EINVAL && a.move == UNTOUCHED, "mode bit %d: %s",
		      bit, errno_name(a.err));
	}
	check(stamped(s, 1) && !there(d), "something moved");
}

static void bad_request_address(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	char *two = mmap(NULL, 2 * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct move_request *r = (void *)(two + PAGE - 32);

	arm(fd, d, HUGE);
	stamp(s, 1);
	errno = 0;
	check(ioctl(fd, REQ_MOVE, 8) == -1 && errno == EFAULT, "address 8: %s",
	      errno_name(errno));
	/* Only the output field is out of reach: moved, and nobody told. */
	*r = (struct move_request){ (uintptr_t)d, (uintptr_t)s, PAGE, 0, 0 };
	mprotect(two + PAGE, PAGE, PROT_NONE);
	errno = 0;
	check(ioctl(fd, REQ_MOVE, r) == -1 && errno == EFAULT, "output: %s",
	      errno_name(errno));
	check(there(d) && !there(s) && stamped(d, 1), "not moved");
}

static void other_process(void)
{
	int fd = new_uffd(0), status;
	char *d = small(HUGE), *s = small(HUGE);

	arm(fd, d, HUGE);
	stamp(s, 1);
	if (!fork()) {
		expect("mm of somebody else", move_settled(fd, d, s, PAGE, 0),
		       EINVAL, UNTOUCHED);
		_exit(test_result);
	}
	wait(&status);
	check(!status, "in the child");
}

/* ---- mappings ---- */

static void mappings(void)
{
	int fd = new_uffd(0), other = new_uffd(0), file;
	char *d = small(2 * HUGE), *s = small(2 * HUGE), *x, *nowhere;

	arm(fd, d, HUGE);
	stamp_range(s, 16 * PAGE, 1);
	nowhere = reserve_at_huge(HUGE, 3);
	munmap(nowhere, HUGE);

	expect("src unmapped", move_settled(fd, d, nowhere, PAGE, 0), ENOENT, -ENOENT);
	expect("dst unmapped", move_settled(fd, nowhere, s, PAGE, 0), ENOENT, -ENOENT);
	expect("both unmapped", move_settled(fd, nowhere, nowhere, PAGE, 0), ENOENT, -ENOENT);
	expect("dst leaves its vma", move_settled(fd, d + HUGE - PAGE, s, 2 * PAGE, 0), EINVAL, -EINVAL);
	expect("src leaves its vma", move_settled(fd, d, s + 2 * HUGE - PAGE, 2 * PAGE, 0), EINVAL, -EINVAL);
	expect("dst leaves, src unmapped", move_settled(fd, d + HUGE - PAGE, nowhere, 2 * PAGE, 0), ENOENT, -ENOENT);
	expect("dst unmapped, src leaves", move_settled(fd, nowhere, s + 2 * HUGE - PAGE, 2 * PAGE, 0), ENOENT, -ENOENT);
	expect("dst not registered", move_settled(fd, d + HUGE, s, PAGE, 0), EINVAL, -EINVAL);
	arm(other, d + HUGE, HUGE);
	expect("dst of another uffd", move_settled(fd, d + HUGE, s, PAGE, 0), EINVAL, -EINVAL);
	expect("dst of that uffd", move_settled(other, d + HUGE, s, PAGE, 0), 0, PAGE);
	expect("src of another uffd", move_settled(fd, d, d + HUGE, PAGE, 0), 0, PAGE);
	expect("src and dst in one vma", move_settled(fd, d + PAGE, d, PAGE, 0), 0, PAGE);
	check(stamped(d + PAGE, 1), "contents");

	x = mmap(NULL, HUGE, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	x[0] = 1;
	expect("src shared", move_settled(fd, d, x, PAGE, 0), EINVAL, -EINVAL);
	arm(fd, x, HUGE);
	expect("dst shared", move_settled(fd, x + PAGE, s + PAGE, PAGE, 0), EINVAL, -EINVAL);
	file = memfd_create("file", 0);
	need(!ftruncate(file, HUGE), "memfd");
	x = mmap(NULL, HUGE, 3, MAP_PRIVATE, file, 0);
	x[0] = 1;
	expect("src a private file", move_settled(fd, d, x, PAGE, 0), EINVAL, -EINVAL);
	x = small(HUGE);
	stamp(x, 7);
	mprotect(x, HUGE, PROT_READ);
	expect("src read only", move_settled(fd, d, x, PAGE, 0), EINVAL, -EINVAL);
	mprotect(x, HUGE, PROT_READ | PROT_WRITE | PROT_EXEC);
	expect("src executable", move_settled(fd, d, x, PAGE, 0), EINVAL, -EINVAL);
	mprotect(x, HUGE, PROT_NONE);
	expect("src without access", move_settled(fd, d, x, PAGE, 0), EINVAL, -EINVAL);
	mprotect(x, HUGE, PROT_READ | PROT_WRITE);
	mlock(x, HUGE);
	expect("src locked", move_settled(fd, d, x, PAGE, 0), EINVAL, -EINVAL);
	munlock(x, HUGE);
	expect("src unlocked again", move_settled(fd, d, x, PAGE, 0), 0, PAGE);

	x = mmap(NULL, HUGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	arm(fd, x, HUGE);
	syscall(SYS_mlock2, x, HUGE, MLOCK_ONFAULT);
	expect("dst locked", move_settled(fd, x, s + 2 * PAGE, PAGE, 0), EINVAL, -EINVAL);
	syscall(SYS_mlock2, s, HUGE, MLOCK_ONFAULT);
	expect("both locked", move_settled(fd, x, s + 2 * PAGE, PAGE, 0), 0, PAGE);
	check(stamped(x, 3), "contents");
	munlock(s, HUGE);
	munlock(x, HUGE);

	/* Read-only on both sides: the same rights, but none to take away. */
	x = small(HUGE);
	arm(fd, x, HUGE);
	mprotect(x, HUGE, PROT_READ);
	mprotect(s, HUGE, PROT_READ);
	expect("both read only", move_settled(fd, x, s + 4 * PAGE, PAGE, 0), EINVAL, -EINVAL);
}

static void protection_keys(void)
{
	int fd = new_uffd(0), key = pkey_alloc(0, 0);
	char *d = small(HUGE), *s = small(HUGE);

	if (key < 0)
		skip("no protection keys: %s", strerror(errno));
	arm(fd, d, HUGE);
	stamp(s, 1);
	pkey_mprotect(s, HUGE, 3, key);
	expect("another key", move_settled(fd, d, s, PAGE, 0), EINVAL, -EINVAL);
	pkey_mprotect(d, HUGE, 3, key);
	expect("the same key", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
}

static void huge_tlb(void)
{
	int fd = new_uffd(0);
	char *h, *d = small(HUGE), *s = small(HUGE);

	write_file("/proc/sys/vm/nr_hugepages", "2");
	h = mmap(NULL, HUGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (h == MAP_FAILED)
		skip("no hugetlb pages");
	arm(fd, d, HUGE);
	stamp(s, 1);
	h[0] = 1;
	expect("src hugetlb", move_settled(fd, d, h, PAGE, 0), EINVAL, -EINVAL);
	expect("src hugetlb, whole", move_settled(fd, d, h, HUGE, 0), EINVAL, -EINVAL);
	madvise(h, HUGE, MADV_DONTNEED);
	arm(fd, h, HUGE);
	expect("dst hugetlb", move_settled(fd, h, s, PAGE, 0), EINVAL, -EINVAL);
	munmap(h, HUGE);
	write_file("/proc/sys/vm/nr_hugepages", "0");
}

/* ---- what is in the way ---- */

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

/* ---- pages that are not ours alone ---- */

static void shared_by_fork(void)
{
	int fd = new_uffd(0), go[2];
	char *d = small(HUGE), *s = small(HUGE), c;
	pid_t pid;

	arm(fd, d, HUGE);
	stamp_range(s, 8 * PAGE, 1);
	need(!pipe(go), "pipe");
	pid = fork();
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1))
			_exit(1);
		_exit(!range_stamped(s, 8 * PAGE, 1));
	}
	close(go[0]);
	expect("shared with a child", move_settled(fd, d, s, PAGE, 0), EBUSY, -EBUSY);
	stamp(s, 1);
	expect("written: own copy", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	expect("the next is shared", move_settled(fd, d + PAGE, s + PAGE, 2 * PAGE, 0), EBUSY, -EBUSY);
	stamp(s + 2 * PAGE, 3);
	stamp(s + 3 * PAGE, 4);
	expect("own, then shared", move_settled(fd, d + 2 * PAGE, s + 2 * PAGE, 4 * PAGE, 0), EAGAIN, 2 * PAGE);
	close(go[1]);
	int status;
	waitpid(pid, &status, 0);
	check(!status, "the child saw something else");
	expect("after the child", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EBUSY, -EBUSY);
	stamp(s + PAGE, 2);
	expect("written after the child", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), 0, PAGE);
	check(range_stamped(d, 4 * PAGE, 1), "contents");
}

static void shared_huge(void)
{
	int fd = new_uffd(0), go[2], status;
	char *d = small(2 * HUGE), *s = huge(HUGE), c;
	pid_t pid;

	arm(fd, d, 2 * HUGE);
	stamp_range(s, HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	need(!pipe(go), "pipe");
	pid = fork();
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1))
			_exit(1);
		_exit(0);
	}
	close(go[0]);
	expect("huge, shared", move_settled(fd, d, s, HUGE, 0), EBUSY, -EBUSY);
	expect("part of huge, shared", move_settled(fd, d, s + PAGE, PAGE, 0), EBUSY, -EBUSY);
	check(mapped_huge(s), "split for nothing");
	close(go[1]);
	waitpid(pid, &status, 0);
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
		merged = is_merged(s) && is_merged(s + PAGE);
	}
	need(merged, "not merged");
	expect("merged page", move_settled(fd, d, s, PAGE, 0), EBUSY, -EBUSY);
	stamp(s, 5);
	write_file("/sys/kernel/mm/ksm/run", "2");
	stamp(s, 6);
	expect("unmerged by a write", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(stamped(d, 6) && stamped(s + PAGE, 5), "contents");
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

/* ---- moving ---- */

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

static void zero_pages(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	volatile char *v = s;

	arm(fd, d, HUGE);
	for (int i = 0; i < 20; i++)
		(void)v[i * PAGE];
	stamp(s + 5 * PAGE, 5);
	expect("zero pages and one other", move_settled(fd, d, s, 20 * PAGE, 0), 0, 20 * PAGE);
	for (int i = 0; i < 20; i++)
		check(there(d + i * PAGE) && !there(s + i * PAGE) &&
		      (i == 5 ? stamped(d + i * PAGE, 5) : d[i * PAGE] == 0),
		      "page %d", i);
	stamp(d, 1);
	check(stamped(d, 1) && d[PAGE] == 0, "writing to one");
	say("answer: zero page soft-dirty: %d", !!(pagemap(d + PAGE) & PM_SOFT_DIRTY));
}

static void huge_zero_page(void)
{
	int fd = new_uffd(0);
	char *d = huge(4 * HUGE), *s = huge(2 * HUGE);
	volatile char *v = s;

	write_file("/sys/kernel/mm/transparent_hugepage/use_zero_page", "1");
	arm(fd, d, 4 * HUGE);
	(void)v[0];
	(void)v[HUGE];
	expect("huge zero page", move_settled(fd, d, s, HUGE, 0), 0, HUGE);
	check(there(d) && there(d + HUGE - PAGE) && !there(s), "where it is");
	check(d[0] == 0 && d[HUGE - 1] == 0, "contents");
	stamp(d + 5 * PAGE, 5);
	check(stamped(d + 5 * PAGE, 5) && d[4 * PAGE] == 0, "writing to it");
	expect("piece of a huge zero page", move_settled(fd, d + 2 * HUGE, s + HUGE + PAGE, PAGE, 0), 0, PAGE);
	check(d[2 * HUGE] == 0 && !there(s + HUGE + PAGE) && there(s + HUGE), "the piece");
	stamp(d + 2 * HUGE, 3);
	check(stamped(d + 2 * HUGE, 3), "writing to the piece");
}

static void huge_page_whole(void)
{
	int fd = new_uffd(0);
	char *d = small(4 * HUGE), *s = huge(3 * HUGE);

	arm(fd, d, 4 * HUGE);
	stamp_range(s, 3 * HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	expect("three huge pages", move_settled(fd, d + HUGE, s, 3 * HUGE, 0), 0, 3 * HUGE);
	check(mapped_huge(d + HUGE), "not huge any more");
	check(range_stamped(d + HUGE, 3 * HUGE, 1), "contents");
	check(!there(s) && !there(s + 3 * HUGE - PAGE), "something remains");
	stamp_range(d + HUGE, HUGE, 9);
	check(range_stamped(d + HUGE, HUGE, 9), "writing");
	/* Sliding by whole huge pages, down and, in one piece, up */
	expect("huge slide down", move_settled(fd, d, d + HUGE, 3 * HUGE, 0), 0, 3 * HUGE);
	check(mapped_huge(d) && range_stamped(d, HUGE, 9), "after the slide");
	expect("huge slide up", move_settled(fd, d + HUGE, d, 3 * HUGE, 0), EEXIST, -EEXIST);
	/* The page table that came along serves when the page is split. */
	madvise(d + PAGE, PAGE, MADV_DONTNEED);
	check(stamped(d, 9) && stamped(d + 2 * PAGE, 11) && !there(d + PAGE), "split");
}

static void huge_page_split(void)
{
	int fd = new_uffd(0);
	char *d = small(6 * HUGE), *s = huge(4 * HUGE);

	arm(fd, d, 6 * HUGE);
	stamp_range(s, 4 * HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	expect("a page out of the middle", move_settled(fd, d + 5 * PAGE, s + 5 * PAGE, PAGE, 0), 0, PAGE);
	check(stamped(d + 5 * PAGE, 6) && stamped(s + 4 * PAGE, 5) &&
	      stamped(s + 6 * PAGE, 7) && !there(s + 5 * PAGE), "contents");
	/* dst has a page table already, so the second does not go whole. */
	stamp_range(s, 5 * PAGE, 1);
	expect("into a table", move_settled(fd, d + HUGE - PAGE, s + HUGE - PAGE, HUGE + PAGE, 0), 0, HUGE + PAGE);
	check(range_stamped(d + HUGE - PAGE, HUGE + PAGE, HUGE / PAGE), "contents");
	/* Not in phase */
	expect("not in phase", move_settled(fd, d + 3 * HUGE + PAGE, s + 2 * HUGE, 2 * HUGE, 0), 0, 2 * HUGE);
	check(range_stamped(d + 3 * HUGE + PAGE, 2 * HUGE, 1 + 2 * HUGE / PAGE), "contents");
}

/* ---- waiters ---- */

struct waiter {
	pthread_t thread;
	char *page;
	volatile bool done;
	uint64_t value;
};

static void *wait_for_page(void *arg)
{
	struct waiter *w = arg;

	w->value = *(volatile uint64_t *)w->page;
	w->done = true;
	return NULL;
}

static void await_fault(int fd, char *page)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	need(poll(&p, 1, 20000) == 1, "no fault");
	need(read(fd, &msg, sizeof(msg)) == sizeof(msg) &&
	     msg.event == UFFD_EVENT_PAGEFAULT &&
	     (msg.arg.pagefault.address & ~(PAGE - 1)) == (uintptr_t)page,
	     "another event");
}

static void start_waiter(struct waiter *w, int fd, char *page)
{
	w->page = page;
	w->done = false;
	pthread_create(&w->thread, NULL, wait_for_page, w);
	await_fault(fd, page);
}

static bool woken(struct waiter *w)
{
	for (int i = 0; i < 500 && !w->done; i++)
		sleep_ms(10);
	return w->done;
}

static void wakes_waiters(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	struct waiter a, b;
	struct uffdio_range r;

	arm(fd, d, HUGE);
	stamp_range(s, 16 * PAGE, 1);
	start_waiter(&a, fd, d);
	expect("somebody waits", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(woken(&a) && a.value == 1, "not woken");

	start_waiter(&a, fd, d + PAGE);
	expect("do not wake", move_settled(fd, d + PAGE, s + PAGE, PAGE, DONTWAKE), 0, PAGE);
	sleep_ms(200);
	check(!a.done, "woken all the same");
	r = (struct uffdio_range){ (uintptr_t)d + PAGE, PAGE };
	ioctl(fd, UFFDIO_WAKE, &r);
	check(woken(&a) && a.value == 2, "not woken by WAKE");

	/* Partial: those whose page has come, and only those */
	start_waiter(&a, fd, d + 4 * PAGE);
	start_waiter(&b, fd, d + 6 * PAGE);
	madvise(s + 6 * PAGE, PAGE, MADV_DONTNEED);
	expect("partial", move_settled(fd, d + 4 * PAGE, s + 4 * PAGE, 4 * PAGE, 0), EAGAIN, 2 * PAGE);
	check(woken(&a) && a.value == 5, "not woken by a partial move");
	sleep_ms(200);
	check(!b.done, "woken without a page");

	/* Nothing moved: nobody is woken. */
	expect("nothing moved", move_settled(fd, d + 6 * PAGE, s + 6 * PAGE, PAGE, 0), ENOENT, -ENOENT);
	sleep_ms(200);
	check(!b.done, "woken by an error");
	expect("its page", move_settled(fd, d + 6 * PAGE, s + 7 * PAGE, PAGE, 0), 0, PAGE);
	check(woken(&b) && b.value == 8, "not woken");

	/* A hole counts as moved and wakes, the waiter faults again. */
	start_waiter(&a, fd, d + 9 * PAGE);
	madvise(s + 9 * PAGE, PAGE, MADV_DONTNEED);
	expect("a hole wakes", move_settled(fd, d + 9 * PAGE, s + 9 * PAGE, PAGE, HOLES), 0, PAGE);
	await_fault(fd, d + 9 * PAGE);
	expect("then its page", move_settled(fd, d + 9 * PAGE, s + 10 * PAGE, PAGE, 0), 0, PAGE);
	check(woken(&a) && a.value == 11, "not woken");
}

static void *drop_page(void *arg)
{
	madvise(arg, PAGE, MADV_DONTNEED);
	return NULL;
}

static void while_mappings_change(void)
{
	int fd = new_uffd(UFFD_FEATURE_EVENT_REMOVE);
	char *d = small(HUGE), *s = small(HUGE);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct uffdio_copy copy;
	struct uffd_msg msg;
	pthread_t thread;

	arm(fd, d, HUGE);
	stamp_range(s, 4 * PAGE, 1);
	expect("setup", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	pthread_create(&thread, NULL, drop_page, d);
	need(poll(&p, 1, 20000) == 1, "no event");
	expect("an event is pending", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EAGAIN, -EAGAIN);
	/* Before anything else is looked at */
	expect("an event is pending, bad mode", move_settled(fd, d + 1, s, 0, 99), EAGAIN, -EAGAIN);
	copy = (struct uffdio_copy){
		(uintptr_t)d + 2 * PAGE, (uintptr_t)s + PAGE, PAGE, 0, 77
	};
	check(ioctl(fd, UFFDIO_COPY, &copy) && errno == EAGAIN, "copy: %s", errno_name(errno));
	say("copy writes its field on EAGAIN: %s", copy.copy == -EAGAIN ? "yes" : "no");
	need(read(fd, &msg, sizeof(msg)) == sizeof(msg) &&
	     msg.event == UFFD_EVENT_REMOVE, "another event");
	pthread_join(thread, NULL);
	for (int i = 0; i < 100; i++) {
		struct answer a = move_settled(fd, d + PAGE, s + PAGE, PAGE, 0);

		if (a.err == EAGAIN)
			continue;
		expect("the event is over", a, 0, PAGE);
		return;
	}
	check(false, "EAGAIN for ever");
}

/* ---- attributes ---- */

/* Start to track, or skip: without the option the file takes the request too. */
static void track_soft_dirty(void)
{
	char *p = small(PAGE);

	stamp(p, 1);
	if (!write_file("/proc/self/clear_refs", "4") ||
	    (pagemap(p) & PM_SOFT_DIRTY))
		skip("soft-dirty is not tracked");
	stamp(p, 2);
	if (!(pagemap(p) & PM_SOFT_DIRTY))
		skip("soft-dirty is not tracked");
}

static void soft_dirty(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	volatile char *v = s;

	arm(fd, d, HUGE);
	stamp(s, 1);
	(void)v[2 * PAGE];
	/* Mappings are soft-dirty as a whole until the first clearing. */
	track_soft_dirty();
	expect("clean page", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(pagemap(d) & PM_SOFT_DIRTY, "not soft-dirty at its new address");
	check(stamped(d, 1), "contents");
}

static void write_protection(void)
{
	const uint64_t both = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
	int fd = new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *d = small(HUGE), *plain = small(HUGE), *s = small(HUGE);
	struct uffdio_writeprotect wp;
	bool kept;

	register_range(fd, d, HUGE, both);
	arm(fd, plain, HUGE);
	stamp_range(s, 4 * PAGE, 1);
	register_range(fd, s, HUGE, both);
	wp = (struct uffdio_writeprotect){
		{ (uintptr_t)s, 4 * PAGE }, UFFDIO_WRITEPROTECT_MODE_WP
	};
	need(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp), "protect: %s", strerror(errno));
	need(pagemap(s) & PM_UFFD_WP, "not protected");

	expect("protected, to where that means something", move_settled(fd, d, s, 2 * PAGE, 0), 0, 2 * PAGE);
	kept = pagemap(d) & PM_UFFD_WP;
	if (on_reference)
		say("row 17: write protection kept: %d", kept);
	else
		check(kept, "row 17: write protection was lost");
	check(range_stamped(d, 2 * PAGE, 1), "contents");
	if (kept) {
		wp = (struct uffdio_writeprotect){ { (uintptr_t)d, 2 * PAGE }, 0 };
		need(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp), "unprotect");
	}
	stamp(d, 8);
	check(stamped(d, 8), "writing after the protection");

	expect("protected, to where it means nothing", move_settled(fd, plain, s + 2 * PAGE, 2 * PAGE, 0), 0, 2 * PAGE);
	check(!(pagemap(plain) & PM_UFFD_WP), "still protected");
	stamp(plain, 9);
	check(stamped(plain, 9), "writing");
}

static void write_protection_huge(void)
{
	const uint64_t both = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
	int fd = new_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *d = small(HUGE), *plain = small(HUGE), *s = huge(2 * HUGE);
	struct uffdio_writeprotect wp;
	bool kept;

	stamp_range(s, 2 * HUGE, 1);
	if (!mapped_huge(s))
		skip("no huge page");
	register_range(fd, d, HUGE, both);
	arm(fd, plain, HUGE);
	register_range(fd, s, 2 * HUGE, both);
	wp = (struct uffdio_writeprotect){
		{ (uintptr_t)s, 2 * HUGE }, UFFDIO_WRITEPROTECT_MODE_WP
	};
	need(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp), "protect: %s", strerror(errno));
	expect("protected huge page, to where that means something", move_settled(fd, d, s, HUGE, 0), 0, HUGE);
	kept = pagemap(d) & PM_UFFD_WP;
	if (on_reference)
		say("row 17: write protection of a huge page kept: %d", kept);
	else
		check(kept && mapped_huge(d), "row 17: write protection was lost");
	if (kept) {
		wp = (struct uffdio_writeprotect){ { (uintptr_t)d, HUGE }, 0 };
		need(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp), "unprotect");
	}
	check(range_stamped(d, HUGE, 1), "contents");
	stamp(d, 8);
	check(stamped(d, 8), "writing after the protection");

	expect("protected huge page, to where it means nothing", move_settled(fd, plain, s + HUGE, HUGE, 0), 0, HUGE);
	check(!(pagemap(plain) & PM_UFFD_WP), "still protected");
	stamp(plain, 9);
	check(stamped(plain, 9), "writing");
}

static void lazily_freed(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);

	arm(fd, d, HUGE);
	stamp_range(s, 4 * PAGE, 1);
	need(!madvise(s, 4 * PAGE, MADV_FREE), "MADV_FREE");
	stamp(s + PAGE, 22);		/* wanted again */
	expect("lazily freed", move_settled(fd, d, s, 4 * PAGE, 0), 0, 4 * PAGE);
	/* Clean lazily freed pages may go when memory is wanted. */
	madvise(d, 4 * PAGE, MADV_PAGEOUT);
	/* A page that was written to may not. */
	check(there(d + PAGE) && stamped(d + PAGE, 22), "a written page was lost");
	/* Whether reclaim has got to them is a matter of luck. */
	say("clean lazily freed pages after reclaim: %d",
	    !!there(d) + !!there(d + 2 * PAGE));
}

/* ---- swap ---- */

static void swapped(const char *(*swap_on)(void), bool cached)
{
	const size_t n = 300;
	int fd = new_uffd(0), err;
	char *d = small(2 * HUGE), *s = small(2 * HUGE);
	const char *dev = swap_on();
	size_t out;
	long rss, swap;

	arm(fd, d, 2 * HUGE);
	stamp_range(s, n * PAGE, 1);
	out = page_out(s, n * PAGE);
	need(out > n / 2, "only %zu swapped out", out);
	say("%zu of %zu out, swap cache %ld kB", out, n, status_kb("SwapCached"));
	if (cached)
		check(status_kb("SwapCached") > 0, "nothing is in the swap cache");
	rss = status_kb("VmRSS");
	swap = status_kb("VmSwap");

	check(move_all(fd, d + 5 * PAGE, s, n * PAGE, 0, &err) == n * PAGE, "%s",
	      errno_name(err));
	check(!there(s) && there(d + 5 * PAGE), "where they are");
	/* The counters lag by some pages per thread. */
	check(labs(status_kb("VmRSS") - rss) <= 512 &&
	      labs(status_kb("VmSwap") - swap) <= 512,
	      "RSS %ld to %ld, swap %ld to %ld", rss, status_kb("VmRSS"), swap,
	      status_kb("VmSwap"));
	size_t still = 0;
	for (size_t i = 0; i < n; i++)
		still += !!(pagemap(d + (5 + i) * PAGE) & PM_SWAPPED);
	check(still >= out - 8, "%zu out before, %zu after", out, still);
	check(range_stamped(d + 5 * PAGE, n * PAGE, 1), "contents");

	/* And out and in again where they are now: the rmap must find them. */
	out = page_out(d + 5 * PAGE, n * PAGE);
	check(out > n / 2, "only %zu swapped out again", out);
	check(range_stamped(d + 5 * PAGE, n * PAGE, 1), "contents, second time");
	/* Swapped out, moved, dropped */
	page_out(d + 5 * PAGE, n * PAGE);
	arm(fd, s, 2 * HUGE);
	check(move_all(fd, s, d + 5 * PAGE, n * PAGE, 0, &err) == n * PAGE, "%s",
	      errno_name(err));
	madvise(s, 2 * HUGE, MADV_DONTNEED);
	check(status_kb("VmSwap") <= 512, "swap not given back: %ld kB",
	      status_kb("VmSwap"));
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

static void swapped_to_zram(void)
{
	swapped(swap_on_zram, false);
}

static void swapped_with_cache(void)
{
	swapped(swap_on_loop, true);
}

static void swapped_rest(void)
{
	int fd = new_uffd(0), go[2], status;
	char *d = small(HUGE), *s = small(HUGE), c;
	const char *dev = swap_on_zram();
	pid_t pid;

	arm(fd, d, HUGE);
	stamp_range(s, 16 * PAGE, 1);
	track_soft_dirty();
	need(page_out(s, 16 * PAGE) == 16, "not swapped out");
	expect("dst swapped out: setup", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(pagemap(d) & PM_SWAPPED, "it came in");
	check(pagemap(d) & PM_SOFT_DIRTY, "row 11: not soft-dirty");
	expect("dst swapped out", move_settled(fd, d, s + PAGE, PAGE, 0), EEXIST, -EEXIST);
	need(!pipe(go), "pipe");
	pid = fork();
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1))
			_exit(1);
		_exit(!range_stamped(s + PAGE, 15 * PAGE, 2));
	}
	close(go[0]);
	expect("swapped out and shared", move_settled(fd, d + PAGE, s + PAGE, PAGE, 0), EBUSY, -EBUSY);
	close(go[1]);
	waitpid(pid, &status, 0);
	check(!status, "the child saw something else");
	check(range_stamped(s + PAGE, 15 * PAGE, 2) && stamped(d, 1), "contents");
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
}

static void swap_off_after_move(void)
{
	int fd = new_uffd(0), err;
	char *d = small(HUGE), *s = small(HUGE);
	const char *dev = swap_on_loop();

	arm(fd, d, HUGE);
	stamp_range(s, 200 * PAGE, 1);
	page_out(s, 200 * PAGE);
	need(move_all(fd, d, s, 200 * PAGE, 0, &err) == 200 * PAGE, "%s", errno_name(err));
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
	check(range_stamped(d, 200 * PAGE, 1), "contents");
	for (int i = 0; i < 200; i++)
		check(pagemap(d + i * PAGE) & PM_PRESENT, "page %d is not back", i);
}

/* ---- resources ---- */

static void set_fail_nth(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	write_file("/proc/thread-self/fail-nth", text);
}

/* Whichever allocation fails, the answer is ENOMEM and nothing is lost. */
static void no_memory(void)
{
	const char *knobs = "/sys/kernel/debug/fail_page_alloc/";
	int fd = new_uffd(0), refused = 0;
	char path[128];

	snprintf(path, sizeof(path), "%sverbose", knobs);
	if (!write_file(path, "0"))
		skip("no fault injection");
	snprintf(path, sizeof(path), "%signore-gfp-wait", knobs);
	write_file(path, "N");
	snprintf(path, sizeof(path), "%smin-order", knobs);
	write_file(path, "0");
	for (int n = 1; n < 8; n++) {
		/* An address of its own, for new tables on every level */
		char *d = mmap((void *)(0x100000000000UL + n * 0x8000000000UL), HUGE, 3,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		char *s = small(HUGE);
		struct answer a;

		need(d != MAP_FAILED, "mmap: %s", strerror(errno));
		madvise(d, HUGE, MADV_NOHUGEPAGE);
		arm(fd, d, HUGE);
		stamp(s, n);
		set_fail_nth(n);
		a = move_settled(fd, d, s, PAGE, 0);
		set_fail_nth(0);
		if (a.err) {
			refused++;
			check(a.err == ENOMEM && a.move == -ENOMEM, "allocation %d: %s %lld",
			      n, errno_name(a.err), a.move);
			check(stamped(s, n), "contents after allocation %d", n);
			a = move_settled(fd, d, s, PAGE, 0);
		}
		check(!a.err && stamped(d, n), "then: %s", errno_name(a.err));
	}
	check(refused >= 2, "only %d were refused", refused);
}

static void *bystander(void *arg)
{
	volatile bool *stop = arg;

	/* Wants mmap_lock for writing, again and again */
	while (!*stop)
		munmap(mmap(NULL, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
	return NULL;
}

static void on_tick(int sig)
{
	(void)sig;
}

/* Signals and a contended mmap_lock cut moves short, but lose nothing. */
static void interruptions(void)
{
	const size_t len = 4 * HUGE;
	struct sigaction sa = { .sa_handler = on_tick };
	struct itimerspec often = { { 0, 300000 }, { 0, 300000 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	volatile bool stop = false;
	int fd = new_uffd(0), err;
	char *a = small(len), *b = small(len);
	pthread_t thread;
	timer_t timer;

	stamp_range(a, len, 1);
	arm(fd, b, len);
	arm(fd, a, len);
	sigaction(SIGUSR1, &sa, NULL);
	need(!timer_create(CLOCK_MONOTONIC, &event, &timer), "timer");
	timer_settime(timer, 0, &often, NULL);
	pthread_create(&thread, NULL, bystander, (void *)&stop);
	for (int i = 0; i < 6; i++) {
		char *dst = i & 1 ? a : b, *src = i & 1 ? b : a;

		check(move_all(fd, dst, src, len, 0, &err) == len, "%s", errno_name(err));
	}
	stop = true;
	pthread_join(thread, NULL);
	timer_delete(timer);
	check(range_stamped(a, len, 1), "contents");
}

static const struct test tests[] = {
	{ "handshake", handshake },
	{ "bad arguments leave the output field alone", bad_arguments },
	{ "bad request address", bad_request_address },
	{ "another process cannot use it", other_process },
	{ "mappings that do not match", mappings },
	{ "protection keys", protection_keys },
	{ "hugetlb is refused", huge_tlb },
	{ "destination present", destination_present },
	{ "partial move stops at an obstacle", partial_stops_at_obstacle },
	{ "source holes", source_holes },
	{ "page shared by fork is busy", shared_by_fork },
	{ "huge page shared by fork is busy", shared_huge },
	{ "page merged by KSM is busy", merged_by_ksm },
	{ "pinned page is busy", pinned },
	{ "pinned huge page is busy", pinned_huge },
	{ "page held in a pipe moves", held_in_pipe },
	{ "huge page held in a pipe is busy to a split", held_huge_is_busy },
	{ "poisoned page", poisoned },
	{ "runs of every length", run_lengths, 600 },
	{ "slides", slides, 600 },
	{ "slide up over holes", slide_up_over_holes },
	{ "slide down over a pinned page", slide_down_over_pinned },
	{ "zero pages", zero_pages },
	{ "huge zero page", huge_zero_page },
	{ "huge page moves whole", huge_page_whole },
	{ "huge page is split", huge_page_split },
	{ "waiters are woken", wakes_waiters },
	{ "mappings are changing", while_mappings_change },
	{ "moved page is soft-dirty", soft_dirty },
	{ "write protection", write_protection },
	{ "write protection of a huge page", write_protection_huge },
	{ "lazily freed page", lazily_freed },
	{ "swapped out to zram", swapped_to_zram, 600 },
	{ "swapped out, still in the swap cache", swapped_with_cache, 600 },
	{ "swapped out: shared, present, soft-dirty", swapped_rest },
	{ "swapoff after a move", swap_off_after_move },
	{ "no memory", no_memory },
	{ "interruptions lose nothing", interruptions, 600 },
};

int main(int argc, char **argv)
{
	return run_all(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
