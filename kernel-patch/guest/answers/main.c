// SPDX-License-Identifier: GPL-2.0
/*
 * What UFFDIO_MOVE answers, and what memory looks like afterwards. Each line
 * "answer: ..." must read the same on every kernel that has the ioctl; where
 * the reference kernel has a known bug (--reference), the test says which ("row
 * N" of UPSTREAM.md) and claims something else there.
 */
#define _GNU_SOURCE
#include "../machine.h"

extern const struct family answers_interface,
	answers_mappings,
	answers_obstacles,
	answers_sharing,
	answers_runs,
	answers_huge,
	answers_waiters,
	answers_attributes,
	answers_swap,
	answers_resources;

static const struct family *const families[] = {
	&answers_interface,
	&answers_mappings,
	&answers_obstacles,
	&answers_sharing,
	&answers_runs,
	&answers_huge,
	&answers_waiters,
	&answers_attributes,
	&answers_swap,
	&answers_resources,
	NULL
};

int main(int argc, char **argv)
{
	/* Pages that have been taken out of a huge one must not come back as zeros. */
	if (!write_file(KHUGEPAGED "max_ptes_none", "0"))
		say("khugepaged may fill holes");
	return run_families(families, argc, argv);
}
