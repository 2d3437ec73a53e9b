// SPDX-License-Identifier: GPL-2.0
/* Against those who share pages: fork and KSM. */
#define _GNU_SOURCE
#include "field.h"

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

FAMILY(race_sharing,
	{ "fork", with_fork },
	{ "KSM", with_ksm }
);
