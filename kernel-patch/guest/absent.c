// SPDX-License-Identifier: GPL-2.0
/* A kernel without UFFDIO_MOVE says so at each of the places where one asks. */
#define _GNU_SOURCE
#include "machine.h"

static void says_so(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_MOVE };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	char *d = small(HUGE), *s = small(HUGE);
	struct answer a;

	check(ioctl(fd, UFFDIO_API, &api) && errno == EINVAL, "asking for it: %s",
	      errno_name(errno));
	fd = new_uffd(0);
	check(!(arm(fd, d, HUGE) & (1 << BIT_MOVE)), "register offers it");
	stamp(s, 1);
	a = move_once(fd, d, s, PAGE, 0);
	check(a.err == EINVAL && a.move == UNTOUCHED, "the call: %s %lld",
	      errno_name(a.err), a.move);
	check(stamped(s, 1) && !there(d), "something moved");
}

static void copy_works(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	struct uffdio_copy c = { (uintptr_t)d, (uintptr_t)s, 8 * PAGE, 0, 0 };

	arm(fd, d, HUGE);
	stamp_range(s, 8 * PAGE, 1);
	check(!ioctl(fd, UFFDIO_COPY, &c) && c.copy == (int64_t)(8 * PAGE),
	      "copy: %s", errno_name(errno));
	check(range_stamped(d, 8 * PAGE, 1), "contents");
}

FAMILY(absent,
	{ "a kernel without it says so", says_so },
	{ "copy works", copy_works }
);

int main(int argc, char **argv)
{
	static const struct family *const families[] = { &absent, NULL };

	return run_families(families, argc, argv);
}
