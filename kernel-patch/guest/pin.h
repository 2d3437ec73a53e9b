/* SPDX-License-Identifier: GPL-2.0 */
/* Ways to hold on to a page from outside the page tables. */
#ifndef PIN_H
#define PIN_H

#include <linux/io_uring.h>
#include <sys/uio.h>

#include "machine.h"

/* A pin that says so (FOLL_PIN): a fixed buffer. Returns a ring, to be closed. */
static int pin_by_ring(void *p, size_t len)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { p, len };
	int ring = syscall(SYS_io_uring_setup, 4, &params);

	if (ring < 0)
		skip("io_uring_setup: %s", strerror(errno));
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov,
		    1)) {
		close(ring);
		return -1;
	}
	return ring;
}

/* The ring's buffers are let go by a worker, some time after close. */
static void unpin_ring(int ring)
{
	syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0);
	close(ring);
}

/* A plain reference (FOLL_GET): a page in a pipe. */
static void hold_in_pipe(int pipes[2], void *p)
{
	struct iovec iov = { p, PAGE };

	need(!pipe(pipes), "pipe");
	need(vmsplice(pipes[1], &iov, 1, 0) == (ssize_t)PAGE, "vmsplice: %s",
	     strerror(errno));
}

#endif
