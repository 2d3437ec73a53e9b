// SPDX-License-Identifier: GPL-2.0
/* Numbers, arguments, the request itself. */
#define _GNU_SOURCE
#include "../machine.h"

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

FAMILY(answers_interface,
	{ "handshake", handshake },
	{ "bad arguments leave the output field alone", bad_arguments },
	{ "bad request address", bad_request_address },
	{ "another process cannot use it", other_process }
);
