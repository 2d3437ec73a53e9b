// SPDX-License-Identifier: GPL-2.0
/* The playing field: pages that go to and fro while somebody does their worst. */
#define _GNU_SOURCE
#include "field.h"

double seconds = 3;
struct field field;

static void note(int err)
{
	atomic_fetch_add(&field.refused[err < 139 ? err : 139], 1);
}

/*
 * Send what can be sent of one place to the other. Pages that do not want to
 * go are left where they are, for the next time.
 */
static void send_all(char *dst, char *src)
{
	size_t o = 0;

	while (o < field.len && !atomic_load(&field.stop)) {
		struct answer a = move_once(field.fd, dst + o, src + o,
					    field.len - o, field.mode);

		if (a.move > 0 && (!a.ret || a.err == EAGAIN)) {
			atomic_fetch_add(&field.moved, a.move / PAGE);
			o += a.move;
			continue;
		}
		note(a.err);
		/* Not this one, or not now: on with the next */
		if (a.err != EAGAIN)
			o += PAGE;
	}
}

void *mover(void *arg)
{
	(void)arg;
	while (!atomic_load(&field.stop)) {
		send_all(field.there, field.here);
		send_all(field.here, field.there);
	}
	return NULL;
}

/* Runs like the mover, at the same time */
static void *again_and_again(void *arg)
{
	worst *w = (worst *)arg;

	while (!atomic_load(&field.stop))
		w();
	return NULL;
}

void place_pages(char *(*memory)(size_t), size_t len)
{
	field.fd = new_uffd(0);
	field.len = len;
	field.mode = HOLES;
	field.here = memory(len);
	field.there = memory(len);
	stamp_range(field.here, len, 1);
	arm(field.fd, field.here, len);
	arm(field.fd, field.there, len);
}

/*
 * The write above may find the page gone and would wait for it. With SIGBUS
 * instead of waiting it gets an error.
 */
void place_pages_no_waiting(char *(*memory)(size_t), size_t len)
{
	char a = 1, b = 0;
	struct iovec from = { &a, 1 }, to = { &b, 1 };

	need(process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1,
	     "process_vm_readv: %s", strerror(errno));
	place_pages(memory, len);
	close(field.fd);
	field.fd = new_uffd(UFFD_FEATURE_SIGBUS);
	arm(field.fd, field.here, len);
	arm(field.fd, field.there, len);
}

void add_up(void)
{
	size_t lost = 0, wrong = 0, twice = 0;

	for (size_t o = 0; o < field.len; o += PAGE) {
		bool a = there(field.here + o), b = there(field.there + o);

		if (!a && !b) {
			lost++;
			continue;
		}
		if (a && b) {
			/* After a loss, zeros may have been faulted in. */
			twice++;
			continue;
		}
		if (!stamped((a ? field.here : field.there) + o, 1 + o / PAGE))
			wrong++;
	}
	say("%lu pages moved; refused: EBUSY %lu EEXIST %lu EAGAIN %lu EINVAL %lu ENOENT %lu ENOMEM %lu EFAULT %lu; lost %zu",
	    atomic_load(&field.moved), atomic_load(&field.refused[EBUSY]),
	    atomic_load(&field.refused[EEXIST]),
	    atomic_load(&field.refused[EAGAIN]),
	    atomic_load(&field.refused[EINVAL]),
	    atomic_load(&field.refused[ENOENT]),
	    atomic_load(&field.refused[ENOMEM]),
	    atomic_load(&field.refused[EFAULT]), lost);
	check(atomic_load(&field.moved) > 0, "nothing was ever moved");
	check(!wrong, "%zu pages have the contents of another", wrong);
	check(!twice, "%zu pages are in both places", twice);
	check(field.may_lose || !lost, "%zu pages lost", lost);
	check(!atomic_load(&field.refused[EFAULT]), "EFAULT");
	check(!atomic_load(&field.refused[ENOMEM]), "ENOMEM");
}

/* One or two movers against one troublemaker */
void play(worst *w, int movers)
{
	pthread_t m[8], t;
	double end = now() + seconds;

	for (int i = 0; i < movers; i++)
		pthread_create(&m[i], NULL, mover, NULL);
	if (w)
		pthread_create(&t, NULL, again_and_again, (void *)w);
	/* Long enough to have seen some of it, however slow the machine */
	while (now() < end || (atomic_load(&field.moved) == 0 && now() < end + 60))
		sleep_ms(20);
	atomic_store(&field.stop, true);
	for (int i = 0; i < movers; i++)
		pthread_join(m[i], NULL);
	if (w)
		pthread_join(t, NULL);
}

static void *whole_mover(void *arg)
{
	char *dst = field.there, *src = field.here, *other;

	(void)arg;
	while (!atomic_load(&field.stop)) {
		struct answer a = move_once(field.fd, dst, src, HUGE, 0);

		if (a.err) {
			note(a.err);
			continue;
		}
		atomic_fetch_add(&field.moved, HUGE / PAGE);
		other = dst;
		dst = src;
		src = other;
	}
	return NULL;
}

void play_whole(worst *w)
{
	pthread_t t;

	place_pages_no_waiting(huge, HUGE);
	if (!mapped_huge(field.here))
		skip("no huge page");
	pthread_create(&t, NULL, whole_mover, NULL);
	play(w, 0);
	pthread_join(t, NULL);
	check(mapped_huge(field.here) || mapped_huge(field.there), "it was split");
	add_up();
}

void do_page_out(void)
{
	madvise(field.here, field.len, MADV_PAGEOUT);
	madvise(field.there, field.len, MADV_PAGEOUT);
}
