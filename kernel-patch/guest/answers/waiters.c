// SPDX-License-Identifier: GPL-2.0
/* Who is woken, and what happens while mappings change. */
#define _GNU_SOURCE
#include "../machine.h"

struct waiter {
	pthread_t thread;
	char *page;
	volatile bool done;
	uint64_t value;
};

static void *wait_for_page(void *arg)
{
	struct waiter *w = arg;

	w->value = *(volatile uint64_t *)w->page;
	w->done = true;
	return NULL;
}

static void await_fault(int fd, char *page)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	need(poll(&p, 1, 20000) == 1, "no fault");
	need(read(fd, &msg, sizeof(msg)) == sizeof(msg) &&
	     msg.event == UFFD_EVENT_PAGEFAULT &&
	     (msg.arg.pagefault.address & ~(PAGE - 1)) == (uintptr_t)page,
	     "another event");
}

static void start_waiter(struct waiter *w, int fd, char *page)
{
	w->page = page;
	w->done = false;
	pthread_create(&w->thread, NULL, wait_for_page, w);
	await_fault(fd, page);
}

static bool woken(struct waiter *w)
{
	for (int i = 0; i < 500 && !w->done; i++)
		sleep_ms(10);
	return w->done;
}

static void wakes_waiters(void)
{
	int fd = new_uffd(0);
	char *d = small(HUGE), *s = small(HUGE);
	struct waiter a, b;
	struct uffdio_range r;

	arm(fd, d, HUGE);
	stamp_range(s, 16 * PAGE, 1);
	start_waiter(&a, fd, d);
	expect("somebody waits", move_settled(fd, d, s, PAGE, 0), 0, PAGE);
	check(woken(&a) && a.value == 1, "not woken");

	start_waiter(&a, fd, d + PAGE);
	expect("do not wake", move_settled(fd, d + PAGE, s + PAGE, PAGE, DONTWAKE), 0, PAGE);
	sleep_ms(200);
	check(!a.done, "woken all the same");
	r = (struct uffdio_range){ (uintptr_t)d + PAGE, PAGE };
	ioctl(fd, UFFDIO_WAKE, &r);
	check(woken(&a) && a.value == 2, "not woken by WAKE");

	/* Partial: those whose page has come, and only those */
	start_waiter(&a, fd, d + 4 * PAGE);
	start_waiter(&b, fd, d + 6 * PAGE);
	madvise(s + 6 * PAGE, PAGE, MADV_DONTNEED);
	expect("partial", move_settled(fd, d + 4 * PAGE, s + 4 * PAGE, 4 * PAGE, 0), EAGAIN, 2 * PAGE);
	check(woken(&a) && a.value == 5, "not woken by a partial move");
	sleep_ms(200);
	check(!b.done, "woken without a page");

	/* Nothing moved: nobody is woken. */
	expect("nothing moved", move_settled(fd, d + 6 * PAGE, s + 6 * PAGE, PAGE, 0), ENOENT, -ENOENT);
	sleep_ms(200);
	check(!b.done, "woken by an error");
	expect("its page", move_settled(fd, d + 6 * PAGE, s + 7 * PAGE, PAGE, 0), 0, PAGE);
	check(woken(&b) && b.value == 8, "not woken");

	/* A hole counts as moved and wakes, the waiter faults again. */
	start_waiter(&a, fd, d + 9 * PAGE);
	madvise(s + 9 * PAGE, PAGE, MADV_DONTNEED);
	expect("a hole wakes", move_settled(fd, d + 9 * PAGE, s + 9 * PAGE, PAGE, HOLES), 0, PAGE);
	await_fault(fd, d + 9 * PAGE);
	expect("then its page", move_settled(fd, d + 9 * PAGE, s + 10 * PAGE, PAGE, 0), 0, PAGE);
	check(woken(&a) && a.value == 11, "not woken");
}

static void *drop_page(void *arg)
{
	madvise(arg, PAGE, MADV_DONTNEED);
	return NULL;
}

/* A page is being thrown away, and nobody has read the event yet. */
struct change {
	int fd;
	char *d, *s;
	pthread_t thread;
};

static void start_change(struct change *c)
{
	struct pollfd p = { .events = POLLIN };

	c->fd = p.fd = new_uffd(UFFD_FEATURE_EVENT_REMOVE);
	c->d = small(HUGE);
	c->s = small(HUGE);
	arm(c->fd, c->d, HUGE);
	stamp_range(c->s, 4 * PAGE, 1);
	need(!move_settled(c->fd, c->d, c->s, PAGE, 0).err, "setup");
	pthread_create(&c->thread, NULL, drop_page, c->d);
	need(poll(&p, 1, 20000) == 1, "no event");
}

static void end_change(struct change *c)
{
	struct uffd_msg msg;

	need(read(c->fd, &msg, sizeof(msg)) == sizeof(msg) &&
	     msg.event == UFFD_EVENT_REMOVE, "another event");
	pthread_join(c->thread, NULL);
}

static void while_mappings_change(void)
{
	struct change c;

	start_change(&c);
	expect("an event is pending", move_settled(c.fd, c.d + PAGE, c.s + PAGE, PAGE, 0), EAGAIN, -EAGAIN);
	/* Before anything else is looked at */
	expect("an event is pending, bad mode", move_settled(c.fd, c.d + 1, c.s, 0, 99), EAGAIN, -EAGAIN);
	end_change(&c);
	for (int i = 0; i < 100; i++) {
		struct answer a = move_settled(c.fd, c.d + PAGE, c.s + PAGE, PAGE, 0);

		if (a.err == EAGAIN)
			continue;
		expect("the event is over", a, 0, PAGE);
		return;
	}
	check(false, "EAGAIN for ever");
}

/* The sixth patch; the reference has it, too. */
static void others_while_mappings_change(void)
{
	struct uffdio_copy copy;
	struct uffdio_zeropage zero;
	struct change c;

	start_change(&c);
	copy = (struct uffdio_copy){
		(uintptr_t)c.d + 2 * PAGE, (uintptr_t)c.s + PAGE, PAGE, 0, 77
	};
	check(ioctl(c.fd, UFFDIO_COPY, &copy) && errno == EAGAIN, "copy: %s", errno_name(errno));
	check(copy.copy == -EAGAIN, "row 10: copy says %lld", (long long)copy.copy);
	zero = (struct uffdio_zeropage){
		.range = { (uintptr_t)c.d + 2 * PAGE, PAGE }, .zeropage = 77
	};
	check(ioctl(c.fd, UFFDIO_ZEROPAGE, &zero) && errno == EAGAIN, "zero: %s", errno_name(errno));
	check(zero.zeropage == -EAGAIN, "row 10: zeropage says %lld", (long long)zero.zeropage);
	end_change(&c);
}

FAMILY(answers_waiters,
	{ "waiters are woken", wakes_waiters },
	{ "mappings are changing", while_mappings_change },
	{ "mappings are changing, other ioctls", others_while_mappings_change }
);
