/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Moves pages and says what came of it: one line a claim, and exit status 1 if one is wrong, 77 if
 * the kernel cannot move pages. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uffd_move.h"

static int wrong;

static void claim(int holds, const char *text)
{
	printf("%s: %s\n", holds ? "holds" : "WRONG", text);
	wrong |= !holds;
}

static unsigned char *map(size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int is(struct uffd_move_outcome outcome, uint64_t pages, int32_t stop)
{
	return outcome.pages == pages && outcome.stop == stop && !outcome.error;
}

int main(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct uffd_move_outcome seen;
	char reason[200];

	if (!uffd_move_probe(reason, sizeof(reason))) {
		printf("skipped: %s\n", reason);
		return 77;
	}
	claim(uffd_move_open(8) == -EINVAL, "an unknown flag is refused");
	int fd = uffd_move_open(0);
	claim(fd >= 0, "a descriptor comes back");
	unsigned char *dst = map(8 * page), *src = map(8 * page);
	memset(src, 7, 4 * page);

	claim(uffd_move_register(fd, dst + 1, page, UFFD_MOVE_MISSING) == -EINVAL,
	      "a range that is not whole pages is refused");
	claim(uffd_move_register(fd, dst, 8 * page, 0) == -EINVAL,
	      "a registration for no faults is refused");
	claim(uffd_move_register(fd, dst, 8 * page, UFFD_MOVE_MISSING) == 0,
	      "a range is registered");

	claim(uffd_move_pages(fd, dst, src, 2 * page, 0, &seen) == 0 &&
		      is(seen, 2, UFFD_MOVE_COMPLETE) && dst[2 * page - 1] == 7,
	      "two pages move, with what they hold");
	claim(uffd_move_pages(fd, dst, src + 2 * page, page, 0, &seen) == 0 &&
		      is(seen, 0, UFFD_MOVE_PRESENT),
	      "a page that is there stops the move");
	claim(uffd_move_pages(fd, dst + 2 * page, src, page, 0, &seen) == 0 &&
		      is(seen, 0, UFFD_MOVE_HOLE),
	      "a page that is not there stops it too");
	claim(uffd_move_pages(fd, dst + 2 * page, src + 1 * page, 2 * page,
			      UFFD_MOVE_SKIP_HOLES, &seen) == 0 &&
		      is(seen, 2, UFFD_MOVE_COMPLETE) && dst[3 * page] == 7,
	      "unless holes are skipped");

	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	claim(uffd_move_pages(fd, dst + 4 * page, src + 3 * page, page, 0,
			      &seen) == 0 &&
		      is(seen, 0, UFFD_MOVE_BUSY),
	      "a page that a child has too is busy");
	claim(uffd_move_copy(fd, dst + 4 * page, src + 3 * page, page, 0,
			     &seen) == 0 &&
		      is(seen, 1, UFFD_MOVE_COMPLETE) && dst[4 * page] == 7,
	      "and can be copied");
	kill(child, 9);
	waitpid(child, NULL, 0);

	claim(uffd_move_zero(fd, dst + 5 * page, page, UFFD_MOVE_WAKE_LATER,
			     &seen) == 0 &&
		      is(seen, 1, UFFD_MOVE_COMPLETE) && dst[5 * page] == 0,
	      "a page of zeros comes");
	claim(uffd_move_zero(fd, dst + 6 * page, page, UFFD_MOVE_SKIP_HOLES,
			     &seen) == -EINVAL,
	      "a flag of another request is refused");
	claim(uffd_move_wake(fd, dst, 8 * page) == 0, "waking is allowed");
	claim(uffd_move_pages(-1, dst, src, page, 0, &seen) == -EINVAL &&
		      uffd_move_pages(fd, dst, src, 0, 0, NULL) == -EINVAL,
	      "no descriptor and no pages are refused");
	claim(uffd_move_continue(fd, dst + 6 * page, page, 0, &seen) < 0 &&
		      seen.error != 0,
	      "there is nothing to continue in anonymous memory");
	claim(uffd_move_unregister(fd, dst, 8 * page) == 0 &&
		      dst[7 * page] == 0,
	      "without the registration a missing page is zeros");
	return wrong;
}
