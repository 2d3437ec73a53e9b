// SPDX-License-Identifier: GPL-2.0
/* Which mappings pages may go from and to. */
#define _GNU_SOURCE
#include "../machine.h"

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

FAMILY(answers_mappings,
	{ "mappings that do not match", mappings },
	{ "protection keys", protection_keys },
	{ "hugetlb is refused", huge_tlb }
);
