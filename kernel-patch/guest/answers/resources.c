// SPDX-License-Identifier: GPL-2.0
/* No memory, signals, a contended mmap_lock. */
#define _GNU_SOURCE
#include "../machine.h"

static void set_fail_nth(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	write_file("/proc/thread-self/fail-nth", text);
}

/* Whichever allocation fails, the answer is ENOMEM and nothing is lost. */
static void no_memory(void)
{
	const char *knobs = "/sys/kernel/debug/fail_page_alloc/";
	int fd = new_uffd(0), refused = 0;
	char path[128];

	snprintf(path, sizeof(path), "%sverbose", knobs);
	if (!write_file(path, "0"))
		skip("no fault injection");
	snprintf(path, sizeof(path), "%signore-gfp-wait", knobs);
	write_file(path, "N");
	snprintf(path, sizeof(path), "%smin-order", knobs);
	write_file(path, "0");
	for (int n = 1; n < 8; n++) {
		/* An address of its own, for new tables on every level */
		char *d = mmap((void *)(0x100000000000UL + n * 0x8000000000UL), HUGE, 3,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		char *s = small(HUGE);
		struct answer a;

		need(d != MAP_FAILED, "mmap: %s", strerror(errno));
		madvise(d, HUGE, MADV_NOHUGEPAGE);
		arm(fd, d, HUGE);
		stamp(s, n);
		set_fail_nth(n);
		a = move_settled(fd, d, s, PAGE, 0);
		set_fail_nth(0);
		if (a.err) {
			refused++;
			check(a.err == ENOMEM && a.move == -ENOMEM, "allocation %d: %s %lld",
			      n, errno_name(a.err), a.move);
			check(stamped(s, n), "contents after allocation %d", n);
			a = move_settled(fd, d, s, PAGE, 0);
		}
		check(!a.err && stamped(d, n), "then: %s", errno_name(a.err));
	}
	check(refused >= 2, "only %d were refused", refused);
}

static void *bystander(void *arg)
{
	volatile bool *stop = arg;

	/* Wants mmap_lock for writing, again and again */
	while (!*stop)
		munmap(mmap(NULL, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
	return NULL;
}

static void on_tick(int sig)
{
	(void)sig;
}

/* Signals and a contended mmap_lock cut moves short, but lose nothing. */
static void interruptions(void)
{
	const size_t len = 4 * HUGE;
	struct sigaction sa = { .sa_handler = on_tick };
	struct itimerspec often = { { 0, 300000 }, { 0, 300000 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	volatile bool stop = false;
	int fd = new_uffd(0), err;
	char *a = small(len), *b = small(len);
	pthread_t thread;
	timer_t timer;

	stamp_range(a, len, 1);
	arm(fd, b, len);
	arm(fd, a, len);
	sigaction(SIGUSR1, &sa, NULL);
	need(!timer_create(CLOCK_MONOTONIC, &event, &timer), "timer");
	timer_settime(timer, 0, &often, NULL);
	pthread_create(&thread, NULL, bystander, (void *)&stop);
	for (int i = 0; i < 6; i++) {
		char *dst = i & 1 ? a : b, *src = i & 1 ? b : a;

		check(move_all(fd, dst, src, len, 0, &err) == len, "%s", errno_name(err));
	}
	stop = true;
	pthread_join(thread, NULL);
	timer_delete(timer);
	check(range_stamped(a, len, 1), "contents");
}

FAMILY(answers_resources,
	{ "no memory", no_memory },
	{ "interruptions lose nothing", interruptions, 600 }
);
