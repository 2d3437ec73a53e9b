// SPDX-License-Identifier: GPL-2.0
/*
 * UFFDIO_MOVE against everything else that changes page tables or folios.
 *
 * A mover sends stamped pages to and fro between two places while another
 * thread does its worst to them for a bounded time. Afterwards each page must
 * be in exactly one of the two places with its own contents, unless the other
 * thread throws pages away, in which case it may be gone, but must not be
 * somebody else's. What went wrong inside the kernel is for the debug kernel
 * to say; it is in the log, which process 1 reads.
 */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdatomic.h>

#include "pin.h"

#define NR 192

static double seconds = 3;

/* The playing field. It is shared by all threads of a test. */
static struct field {
	int fd;
	char *here, *there;
	size_t len;
	uint64_t mode;
	bool may_lose;		/* pages may vanish */
	atomic_bool stop;
	atomic_ulong moved, refused[140];
} field;

typedef void worst(void);

static void note(int err)
{
	atomic_fetch_add(&field.refused[err < 139 ? err : 139], 1);
}

/*
 * Send what can be sent of one place to the other. Pages that do not want to
 * go are left where they are, for the next time.
 */
static void send_all(char *dst, char *src)
{
	size_t o = 0;

	while (o < field.len && !atomic_load(&field.stop)) {
		struct answer a = move_once(field.fd, dst + o, src + o,
					    field.len - o, field.mode);

		if (a.move > 0 && (!a.ret || a.err == EAGAIN)) {
			atomic_fetch_add(&field.moved, a.move / PAGE);
			o += a.move;
			continue;
		}
		note(a.err);
		/* Not this one, or not now: on with the next */
		if (a.err != EAGAIN)
			o += PAGE;
	}
}

static void *mover(void *arg)
{
	(void)arg;
	while (!atomic_load(&field.stop)) {
		send_all(field.there, field.here);
		send_all(field.here, field.there);
	}
	return NULL;
}

/* Runs like the mover, at the same time */
static void *again_and_again(void *arg)
{
	worst *w = (worst *)arg;

	while (!atomic_load(&field.stop))
		w();
	return NULL;
}

static void place_pages(char *(*memory)(size_t), size_t len)
{
	field.fd = new_uffd(0);
	field.len = len;
	field.mode = HOLES;
	field.here = memory(len);
	field.there = memory(len);
	stamp_range(field.here, len, 1);
	arm(field.fd, field.here, len);
	arm(field.fd, field.there, len);
}

static void add_up(void)
{
	size_t lost = 0, wrong = 0, twice = 0;

	for (size_t o = 0; o < field.len; o += PAGE) {
		bool a = there(field.here + o), b = there(field.there + o);

		if (!a && !b) {
			lost++;
			continue;
		}
		if (a && b) {
			/* After a loss, zeros may have been faulted in. */
			twice++;
			continue;
		}
		if (!stamped((a ? field.here : field.there) + o, 1 + o / PAGE))
			wrong++;
	}
	say("%lu pages moved; refused: EBUSY %lu EEXIST %lu EAGAIN %lu EINVAL %lu ENOENT %lu ENOMEM %lu EFAULT %lu; lost %zu",
	    atomic_load(&field.moved), atomic_load(&field.refused[EBUSY]),
	    atomic_load(&field.refused[EEXIST]),
	    atomic_load(&field.refused[EAGAIN]),
	    atomic_load(&field.refused[EINVAL]),
	    atomic_load(&field.refused[ENOENT]),
	    atomic_load(&field.refused[ENOMEM]),
	    atomic_load(&field.refused[EFAULT]), lost);
	check(atomic_load(&field.moved) > 0, "nothing was ever moved");
	check(!wrong, "%zu pages have the contents of another", wrong);
	check(!twice, "%zu pages are in both places", twice);
	check(field.may_lose || !lost, "%zu pages lost", lost);
	check(!atomic_load(&field.refused[EFAULT]), "EFAULT");
	check(!atomic_load(&field.refused[ENOMEM]), "ENOMEM");
}

/* One or two movers against one troublemaker */
static void play(worst *w, int movers)
{
	pthread_t m[8], t;
	double end = now() + seconds;

	for (int i = 0; i < movers; i++)
		pthread_create(&m[i], NULL, mover, NULL);
	if (w)
		pthread_create(&t, NULL, again_and_again, (void *)w);
	/* Long enough to have seen some of it, however slow the machine */
	while (now() < end || (atomic_load(&field.moved) == 0 && now() < end + 60))
		sleep_ms(20);
	atomic_store(&field.stop, true);
	for (int i = 0; i < movers; i++)
		pthread_join(m[i], NULL);
	if (w)
		pthread_join(t, NULL);
}

/* ---- the troublemakers ---- */

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
} parts;

static void *take_part(void *arg)
{
	size_t share = HUGE / parts.nr / PAGE * PAGE, o = (uintptr_t)arg * share;
	int err;

	move_all(parts.fd, parts.dst + o, parts.src + o, share, 0, &err);
	return (void *)(uintptr_t)err;
}

static void many_threads_one_huge_page(void)
{
	double end = now() + seconds;
	int rounds = 0;

	parts.fd = new_uffd(0);
	parts.nr = 8;
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

static void do_fork(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		/* What the child has was copied in one piece: no page twice. */
		for (size_t o = 0; o < field.len; o += PAGE) {
			bool a = there(field.here + o), b = there(field.there + o);

			if (a == b || !stamped((a ? field.here : field.there) + o,
					       1 + o / PAGE))
				_exit(1);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	check(!status, "a child saw something wrong");
	/* Make the pages ours again, wherever they are just now. */
	for (size_t o = 0; o < field.len; o += PAGE) {
		struct iovec local, remote;
		uint64_t value = 1 + o / PAGE;

		local = (struct iovec){ &value, 8 };
		for (int side = 0; side < 2; side++) {
			char *p = (side ? field.there : field.here) + o;

			/* A page that is not there is an error, not a fault. */
			remote = (struct iovec){ p, 8 };
			if (pagemap(p) & PM_PRESENT)
				process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
		}
	}
}

/*
 * The write above may find the page gone and would wait for it. With SIGBUS
 * instead of waiting it gets an error.
 */
static void place_pages_no_waiting(char *(*memory)(size_t), size_t len)
{
	char a = 1, b = 0;
	struct iovec from = { &a, 1 }, to = { &b, 1 };

	need(process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1,
	     "process_vm_readv: %s", strerror(errno));
	place_pages(memory, len);
	close(field.fd);
	field.fd = new_uffd(UFFD_FEATURE_SIGBUS);
	arm(field.fd, field.here, len);
	arm(field.fd, field.there, len);
}

static void with_fork(void)
{
	place_pages_no_waiting(small, NR * PAGE);
	play(do_fork, 1);
	add_up();
}

static void do_ksm(void)
{
	sleep_ms(50);
	/* Unmerge all, and start again */
	write_file("/sys/kernel/mm/ksm/run", "2");
	write_file("/sys/kernel/mm/ksm/run", "1");
	sleep_ms(200);
}

static void with_ksm(void)
{
	place_pages(small, NR * PAGE);
	if (madvise(field.here, field.len, MADV_MERGEABLE))
		skip("no KSM");
	madvise(field.there, field.len, MADV_MERGEABLE);
	/* Pairs of equal pages elsewhere, for it to merge ours with */
	char *twins = small(NR * PAGE);
	stamp_range(twins, NR * PAGE, 1);
	madvise(twins, NR * PAGE, MADV_MERGEABLE);
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "2000");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	write_file("/sys/kernel/mm/ksm/run", "1");
	play(do_ksm, 1);
	write_file("/sys/kernel/mm/ksm/run", "2");
	check(range_stamped(twins, NR * PAGE, 1), "the others were changed");
	add_up();
	write_file("/sys/kernel/mm/ksm/run", "0");
}

static void do_page_out(void)
{
	madvise(field.here, field.len, MADV_PAGEOUT);
	madvise(field.there, field.len, MADV_PAGEOUT);
}

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

static void do_collapse(void)
{
	madvise(field.here, field.len, MADV_COLLAPSE);
	madvise(field.there, field.len, MADV_COLLAPSE);
}

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

static void hurry_khugepaged(bool hurry)
{
	write_file(KHUGEPAGED "scan_sleep_millisecs", hurry ? "1" : "10000");
	write_file(KHUGEPAGED "alloc_sleep_millisecs", hurry ? "1" : "60000");
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

static void do_drop_src(void)
{
	static unsigned int turn;

	madvise(field.here + turn % NR * PAGE, PAGE, MADV_DONTNEED);
	madvise(field.there + (turn * 7 + 3) % NR * PAGE, PAGE, MADV_DONTNEED);
	turn++;
}

static void with_dontneed(void)
{
	place_pages(small, NR * PAGE);
	field.may_lose = true;
	play(do_drop_src, 2);
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

static void do_remap(void)
{
	static char *aside;
	char *p;

	if (!aside)
		aside = small(4 * HUGE);
	p = mremap(field.there, field.len, field.len, MREMAP_MAYMOVE | MREMAP_FIXED,
		   aside + PAGE);
	check(p == aside + PAGE, "mremap: %s", strerror(errno));
	p = mremap(aside + PAGE, field.len, field.len, MREMAP_MAYMOVE | MREMAP_FIXED,
		   field.there);
	check(p == field.there, "mremap back: %s", strerror(errno));
	/* A mapping that moves is not registered any more. */
	struct uffdio_register again = {
		.range = { (uintptr_t)field.there, field.len },
		.mode = UFFDIO_REGISTER_MODE_MISSING
	};
	ioctl(field.fd, UFFDIO_REGISTER, &again);
	sleep_ms(2);
}

static void with_mremap(void)
{
	place_pages(small, NR * PAGE);
	play(do_remap, 1);
	add_up();
}

static void do_protect(void)
{
	mprotect(field.here, field.len / 2 & ~(PAGE - 1), PROT_READ);
	mprotect(field.here, field.len, PROT_READ | PROT_WRITE);
	mprotect(field.there, field.len, PROT_NONE);
	mprotect(field.there, field.len, PROT_READ | PROT_WRITE);
	sleep_ms(1);
}

static void with_mprotect(void)
{
	place_pages(small, NR * PAGE);
	play(do_protect, 1);
	add_up();
}

static void do_register(void)
{
	struct uffdio_range r = { (uintptr_t)field.there, field.len };
	struct uffdio_register again = {
		.range = r, .mode = UFFDIO_REGISTER_MODE_MISSING
	};

	ioctl(field.fd, UFFDIO_UNREGISTER, &r);
	ioctl(field.fd, UFFDIO_REGISTER, &again);
	sleep_ms(1);
}

static void with_unregister(void)
{
	place_pages(small, NR * PAGE);
	play(do_register, 2);
	add_up();
}

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
	place_pages(huge, 2 * HUGE);
	play(do_migrate, 2);
	add_up();
}

static void do_idle(void)
{
	static char ones[4096], zeros[4096];
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);

	need(fd >= 0, "page_idle: %s", strerror(errno));
	memset(ones, 0xff, sizeof(ones));
	for (off_t o = 0; pwrite(fd, ones, sizeof(ones), o) > 0; o += sizeof(ones))
		;
	for (off_t o = 0; pread(fd, zeros, sizeof(zeros), o) > 0; o += sizeof(zeros))
		;
	close(fd);
}

static void with_idle_tracking(void)
{
	if (access("/sys/kernel/mm/page_idle/bitmap", W_OK))
		skip("no idle page tracking");
	place_pages(small, NR * PAGE);
	play(do_idle, 2);
	add_up();
}

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

static void with_damon(void)
{
	const char *c = DAMON "0/contexts/0/";
	char path[256], text[32];
	const struct { const char *file, *text; } settings[] = {
		{ "operations", "paddr" },
		{ "monitoring_attrs/intervals/sample_us", "1000" },
		{ "monitoring_attrs/intervals/aggr_us", "10000" },
		{ "monitoring_attrs/nr_regions/min", "1000" },
		{ "monitoring_attrs/nr_regions/max", "5000" },
		{ "targets/nr_targets", "1" },
		{ "targets/0/regions/nr_regions", "1" },
		{ "targets/0/regions/0/start", "16777216" },
		{ "targets/0/regions/0/end", "1073741824" },
	};

	if (!write_file(DAMON "nr_kdamonds", "1"))
		skip("no DAMON");
	write_file(DAMON "0/contexts/nr_contexts", "1");
	for (unsigned int i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		snprintf(path, sizeof(path), "%s%s", c, settings[i].file);
		check(write_file(path, settings[i].text), "%s: %s", path, strerror(errno));
	}
	check(write_file(DAMON "0/state", "on"), "on: %s", strerror(errno));
	place_pages(small, NR * PAGE);
	play(NULL, 2);
	int fd = open(DAMON "0/state", O_RDONLY);
	check(read(fd, text, sizeof(text)) > 1 && !strncmp(text, "on", 2), "it is not running");
	close(fd);
	write_file(DAMON "0/state", "off");
	add_up();
}

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
	place_pages_no_waiting(huge, HUGE);
	play(do_pin_fast, 1);
	add_up();
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

static void do_unmap(void)
{
	char *p;

	munmap(field.there, field.len);
	p = mmap(field.there, field.len, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(p == field.there, "mmap: %s", strerror(errno));
	struct uffdio_register again = {
		.range = { (uintptr_t)p, field.len },
		.mode = UFFDIO_REGISTER_MODE_MISSING
	};
	ioctl(field.fd, UFFDIO_REGISTER, &again);
	/* New pages for those that went with it */
	for (size_t o = 0; o < field.len; o += PAGE) {
		static uint64_t page[PAGE / 8] __attribute__((aligned(4096)));
		struct uffdio_copy c = {
			(uintptr_t)field.here + o, (uintptr_t)page, PAGE, 0, 0
		};

		stamp((char *)page, 1 + o / PAGE);
		if (!there(field.here + o) && !there(field.there + o))
			ioctl(field.fd, UFFDIO_COPY, &c);
	}
	sleep_ms(1);
}

static void with_munmap(void)
{
	place_pages(small, NR * PAGE);
	field.may_lose = true;
	play(do_unmap, 1);
	for (size_t o = 0; o < field.len; o += PAGE)
		for (int side = 0; side < 2; side++) {
			char *p = (side ? field.there : field.here) + o;

			if (there(p))
				check(stamped(p, 1 + o / PAGE), "page %zu", o / PAGE);
		}
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

/* A process that dies in the middle of it, in each state it can be in */
static void with_exit(void)
{
	double end = now() + seconds;
	int rounds = 0;

	do {
		pid_t pid = fork();
		int status;

		if (!pid) {
			pthread_t t;

			place_pages(rounds & 1 ? huge : small, 2 * HUGE);
			pthread_create(&t, NULL, mover, NULL);
			pthread_create(&t, NULL, mover, NULL);
			if (rounds & 2)
				do_page_out();
			sleep_ms(5 + rounds * 7 % 60);
			if (rounds & 4)
				_exit(0);
			raise(SIGKILL);
		}
		waitpid(pid, &status, 0);
		rounds++;
	} while (now() < end);
	say("%d processes", rounds);
}

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
	while (now() < end && !test_result) {
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
	check(n >= 20 && seen[0] + seen[1] >= n / 4, "hardly anything was seen");
}

static const struct test tests[] = {
	{ "two movers", with_two_movers },
	{ "six movers on huge pages", with_six_movers_on_huge },
	{ "many threads, one huge page", many_threads_one_huge_page },
	{ "the same destination", same_destination },
	{ "readers and writers", with_readers_and_writers },
	{ "stale translations", stale_translations },
	{ "fork", with_fork },
	{ "KSM", with_ksm },
	{ "swap, zram", with_zram },
	{ "swap, swap cache", with_swap_cache },
	{ "swapoff", with_swapoff },
	{ "collapse", with_collapse },
	{ "collapse, out of phase", with_collapse_out_of_phase },
	{ "DONTNEED", with_dontneed },
	{ "DONTNEED of huge pages", with_dontneed_huge },
	{ "mremap", with_mremap },
	{ "mprotect", with_mprotect },
	{ "munmap", with_munmap },
	{ "unregister", with_unregister },
	{ "compaction", with_compaction },
	{ "migration", with_migration },
	{ "migration of huge pages", with_migration_of_huge },
	{ "idle page tracking", with_idle_tracking },
	{ "DAMON", with_damon },
	{ "pins", with_pins },
	{ "pins by GUP-fast", with_fast_pins },
	{ "pins by GUP-fast, huge page", with_fast_pins_on_huge },
	{ "pipes", with_pipes },
	{ "soft offline", with_soft_offline },
	{ "exit", with_exit },
};

int main(int argc, char **argv)
{
	const char *s = getenv("RACE_SECONDS");

	if (s)
		seconds = atof(s);
	return run_all(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
