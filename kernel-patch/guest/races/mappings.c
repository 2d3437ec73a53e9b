// SPDX-License-Identifier: GPL-2.0
/* Against system calls that change mappings or throw pages away. */
#define _GNU_SOURCE
#include "field.h"

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

FAMILY(race_mappings,
	{ "DONTNEED", with_dontneed },
	{ "mremap", with_mremap },
	{ "mprotect", with_mprotect },
	{ "munmap", with_munmap },
	{ "unregister", with_unregister },
	{ "exit", with_exit }
);
