/* SPDX-License-Identifier: GPL-2.0 */
/* Memory, userfaultfd and swap, as the tests want them. */
#ifndef MACHINE_H
#define MACHINE_H

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <time.h>

#include "ktap.h"

#define PAGE 4096UL
#define HUGE (2UL << 20)

/*
 * The interface under test, on purpose not from a header: the numbers are what
 * binaries of other people have been compiled with.
 */
struct move_request {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define REQ_MOVE 0xC028AA05u
#define BIT_MOVE 5
#define FEATURE_MOVE (1u << 16)
#define DONTWAKE 1
#define HOLES 2
#define UNTOUCHED 0x5a5a5a5a5aLL

struct answer {
	int ret, err;
	long long move;
};

static const char *errno_name(int err)
{
	return err ? strerrorname_np(err) : "0";
}

/* The settings of the thread that makes huge pages of small ones */
#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

/* Advice that the C library's headers may not have */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static char *reserve_at_huge(size_t len, int prot)
{
	char *p = mmap(NULL, len + HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	p = mmap(p, len, prot, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

/* Huge-aligned memory in small pages */
static char *small(size_t len)
{
	char *p = reserve_at_huge(len, PROT_READ | PROT_WRITE);

	madvise(p, len, MADV_NOHUGEPAGE);
	return p;
}

/* Huge-aligned memory that takes huge pages when it can */
static char *huge(size_t len)
{
	char *p = reserve_at_huge(len, PROT_READ | PROT_WRITE);

	madvise(p, len, MADV_HUGEPAGE);
	return p;
}

static int new_uffd(uint64_t features)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	need(fd >= 0, "userfaultfd: %s", strerror(errno));
	need(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	return fd;
}

static uint64_t register_range(int fd, void *p, size_t len, uint64_t mode)
{
	struct uffdio_register r = {
		.range = { (uintptr_t)p, len },
		.mode = mode,
	};

	need(!ioctl(fd, UFFDIO_REGISTER, &r), "UFFDIO_REGISTER: %s",
	     strerror(errno));
	return r.ioctls;
}

static uint64_t arm(int fd, void *p, size_t len)
{
	return register_range(fd, p, len, UFFDIO_REGISTER_MODE_MISSING);
}

static struct answer move_once(int fd, void *dst, void *src, size_t len,
			       uint64_t mode)
{
	struct move_request r = {
		(uintptr_t)dst, (uintptr_t)src, len, mode, UNTOUCHED
	};
	struct answer a;

	errno = 0;
	a.ret = ioctl(fd, REQ_MOVE, &r);
	a.err = a.ret ? errno : 0;
	a.move = r.move;
	return a;
}

/*
 * Go on after a partial move until something else than EAGAIN stops it.
 * Returns the bytes moved; the reason is in *err.
 */
static size_t move_all(int fd, char *dst, char *src, size_t len, uint64_t mode,
		       int *err)
{
	size_t done = 0;

	*err = 0;
	while (done < len) {
		struct answer a = move_once(fd, dst + done, src + done,
					    len - done, mode);

		if (a.move > 0 && (a.ret == 0 || a.err == EAGAIN)) {
			done += a.move;
			continue;
		}
		if (a.err == EAGAIN)
			continue;
		*err = a.err;
		break;
	}
	return done;
}

/*
 * The answer without regard to calls that were cut short because somebody
 * wanted the mmap_lock or a signal came: what a patient caller gets to see.
 */
static struct answer move_settled(int fd, char *dst, char *src, size_t len,
				  uint64_t mode)
{
	struct answer a = move_once(fd, dst, src, len, mode);
	size_t done = 0;

	while (a.err == EAGAIN && a.move > 0 && a.move < (long long)(len - done)) {
		done += a.move;
		a = move_once(fd, dst + done, src + done, len - done, mode);
	}
	if (!done)
		return a;
	if (!a.ret)
		return (struct answer){ 0, 0, len };
	return (struct answer){ -1, EAGAIN, done };
}

static void say_answer(const char *what, struct answer a)
{
	say("answer: %s: %s %lld", what, errno_name(a.err),
	    a.move == UNTOUCHED ? -999999LL : a.move);
}

/* One answer, as claimed: errno (0 for success) and the output field */
#define expect(what, a_, err_, move_) do {				\
	struct answer got_ = (a_);					\
	long long m_ = (move_);						\
	say_answer(what, got_);						\
	check(got_.err == (err_) && got_.move == m_,			\
	      "%s: %s %lld, not %s %lld", what, errno_name(got_.err),	\
	      got_.move, errno_name(err_), m_);				\
} while (0)

/* Contents that differ from page to page, at both ends of the page */
static void stamp(char *page, uint64_t value)
{
	((uint64_t *)page)[0] = value;
	((uint64_t *)page)[PAGE / 8 - 1] = ~value;
}

static bool stamped(const char *page, uint64_t value)
{
	return ((volatile uint64_t *)page)[0] == value &&
	       ((volatile uint64_t *)page)[PAGE / 8 - 1] == ~value;
}

static void stamp_range(char *p, size_t len, uint64_t first)
{
	for (size_t i = 0; i < len / PAGE; i++)
		stamp(p + i * PAGE, first + i);
}

/* A page of which the stamp may be missing, wholly or partly */
static bool stamped_or_zero(const char *page, uint64_t value)
{
	uint64_t a = ((volatile uint64_t *)page)[0];
	uint64_t b = ((volatile uint64_t *)page)[PAGE / 8 - 1];

	return (!a || a == value) && (!b || b == ~value);
}

static bool range_stamped(const char *p, size_t len, uint64_t first)
{
	for (size_t i = 0; i < len / PAGE; i++)
		if (!stamped(p + i * PAGE, first + i))
			return false;
	return true;
}

/* /proc/self/pagemap */
#define PM_PRESENT (1ULL << 63)
#define PM_SWAPPED (1ULL << 62)
#define PM_EXCLUSIVE (1ULL << 56)
#define PM_UFFD_WP (1ULL << 57)
#define PM_SOFT_DIRTY (1ULL << 55)

static uint64_t pagemap(const void *p)
{
	static int fd = -1;
	static pid_t owner;
	uint64_t entry = 0;

	/* A child must not look at the memory of its parent. */
	if (owner != getpid()) {
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		owner = getpid();
	}
	need(pread(fd, &entry, 8, (uintptr_t)p / PAGE * 8) == 8, "pagemap");
	return entry;
}

static bool there(const void *p)
{
	return pagemap(p) & (PM_PRESENT | PM_SWAPPED);
}

#define PM_PFN ((1ULL << 55) - 1)

/*
 * Are these two one page, by KSM? The flag alone does not tell: a page has it
 * for a moment when its merging fails in the end.
 */
static bool are_merged(const void *p, const void *q)
{
	uint64_t pfn = pagemap(p) & PM_PFN, flags = 0;
	int fd = open("/proc/kpageflags", O_RDONLY);

	if (fd < 0 || pread(fd, &flags, 8, pfn * 8) != 8)
		flags = 0;
	close(fd);
	return (flags & (1ULL << 21)) &&	/* KPF_KSM */
	       pfn == (pagemap(q) & PM_PFN);
}

/* Is the huge-aligned page at p mapped by a PMD? */
static bool mapped_huge(const void *p)
{
	char line[256];
	bool here = false;
	long kb = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 &&
		    strchr(line, '-') < strchr(line, ' '))
			here = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (here && sscanf(line, "AnonHugePages: %ld", &kb) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kb > 0;
}

static long status_kb(const char *field)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen(field[0] == 'V' ? "/proc/self/status" : "/proc/meminfo",
			"r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)) &&
		    line[strlen(field)] == ':')
			kb = atol(line + strlen(field) + 1);
	if (f)
		fclose(f);
	return kb;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* A child that shares pages with us until it is let go, and then looks at them */
struct sharer {
	pid_t pid;
	int go;
};

static struct sharer start_sharer(const char *pages, size_t len, uint64_t first)
{
	int go[2];
	char c;

	need(!pipe(go), "pipe");
	struct sharer child = { fork(), go[1] };
	if (!child.pid) {
		close(go[1]);
		if (read(go[0], &c, 1))
			_exit(1);
		_exit(!range_stamped(pages, len, first));
	}
	close(go[0]);
	return child;
}

static void end_sharer(struct sharer child)
{
	int status = -1;

	close(child.go);
	waitpid(child.pid, &status, 0);
	check(!status, "the child saw something else");
}

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

/* A swap header, as mkswap would write it */
static void make_swap(const char *dev, size_t bytes)
{
	char head[PAGE] = { 0 };
	uint32_t *info = (uint32_t *)(head + 1024);
	int fd = open(dev, O_RDWR);

	info[0] = 1;
	info[1] = bytes / PAGE - 1;
	memcpy(head + PAGE - 10, "SWAPSPACE2", 10);
	need(fd >= 0 && write(fd, head, PAGE) == (ssize_t)PAGE && !fsync(fd),
	     "%s: %s", dev, strerror(errno));
	close(fd);
}

/* zram: synchronous, pages come back without passing the swap cache */
static const char *swap_on_zram(void)
{
	const char *dev = "/dev/zram0";

	if (access(dev, W_OK))
		skip("no %s", dev);
	write_file("/sys/block/zram0/reset", "1");
	need(write_file("/sys/block/zram0/disksize", "128M"), "disksize");
	make_swap(dev, 128 << 20);
	need(!swapon(dev, 0), "swapon: %s", strerror(errno));
	return dev;
}

/* A loop device on a file in memory: pages stay in the swap cache for a while */
static const char *swap_on_loop(void)
{
	static char dev[32];
	int ctl = open("/dev/loop-control", O_RDWR), file, loop, nr;

	if (ctl < 0)
		skip("no loop devices");
	file = memfd_create("swap", 0);
	need(file >= 0 && !ftruncate(file, 64 << 20), "memfd");
	nr = ioctl(ctl, LOOP_CTL_GET_FREE);
	snprintf(dev, sizeof(dev), "/dev/loop%d", nr);
	loop = open(dev, O_RDWR);
	need(loop >= 0 && !ioctl(loop, LOOP_SET_FD, file), "%s: %s", dev,
	     strerror(errno));
	close(ctl);
	make_swap(dev, 64 << 20);
	need(!swapon(dev, 0), "swapon: %s", strerror(errno));
	ioctl(loop, LOOP_CLR_FD, 0);	/* with the last close */
	return dev;
}

/* Swap out; what resists is tried again a few times. Returns pages outside. */
static size_t page_out(char *p, size_t len)
{
	size_t out = 0;

	for (int i = 0; i < 20; i++) {
		madvise(p, len, MADV_PAGEOUT);
		out = 0;
		for (size_t o = 0; o < len; o += PAGE)
			out += !!(pagemap(p + o) & PM_SWAPPED);
		if (out == len / PAGE)
			break;
		sleep_ms(5);
	}
	return out;
}

#endif
