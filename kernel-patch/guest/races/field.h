/* SPDX-License-Identifier: GPL-2.0 */
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
#ifndef FIELD_H
#define FIELD_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "../machine.h"

/* Pages of an ordinary field */
#define NR 192

/* How long each race lasts */
extern double seconds;

/* Shared by all threads of a test */
extern struct field {
	int fd;
	char *here, *there;
	size_t len;
	uint64_t mode;
	bool may_lose;		/* pages may vanish */
	atomic_bool stop;
	atomic_ulong moved, refused[140];
} field;

typedef void worst(void);

void place_pages(char *(*memory)(size_t), size_t len);
/* A fault is an error for the one who has it, instead of waiting. */
void place_pages_no_waiting(char *(*memory)(size_t), size_t len);
/* Sends pages to and fro until the field is stopped */
void *mover(void *arg);
/* Movers against one troublemaker, who may be NULL */
void play(worst *w, int movers);
/*
 * One huge page that goes as a whole or not at all, against a troublemaker. If
 * pieces of it were asked for, it would be split, and then there would be none.
 */
void play_whole(worst *w);
/* Where is each page now, and is it itself? */
void add_up(void);

void do_page_out(void);

#endif
