/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A list of tests, each run in a process of its own with a time limit, and
 * reported as KTAP. A test says what it claims by check(); it fails with the
 * first claim that does not hold, but goes on to report the others.
 */
#ifndef KTAP_H
#define KTAP_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
	unsigned int seconds;	/* time limit; 0 for the usual one */
};

/* The tests of one file */
struct family {
	const struct test *tests;
	unsigned int nr;
};

#define FAMILY(name, ...)						\
	static const struct test name##_tests[] = { __VA_ARGS__ };	\
	const struct family name = {					\
		name##_tests, sizeof(name##_tests) / sizeof(*name##_tests) \
	}

enum { TEST_PASSED, TEST_FAILED, TEST_SKIPPED = 4 };

extern int test_result;
/* True on a kernel whose own ioctl is the reference, with its known bugs */
extern bool on_reference;

#define say(...) do {							\
	char line_[512];						\
	int n_ = snprintf(line_, sizeof(line_), "# " __VA_ARGS__);	\
	if (n_ > (int)sizeof(line_) - 2)				\
		n_ = sizeof(line_) - 2;					\
	line_[n_++] = '\n';						\
	if (write(1, line_, n_) != n_)					\
		_exit(TEST_FAILED);					\
} while (0)

#define check(cond, ...) ({						\
	bool holds_ = (cond);						\
	if (!holds_) {							\
		test_result = TEST_FAILED;				\
		say("line %d: not so: " #cond, __LINE__);		\
		say("         " __VA_ARGS__);				\
	}								\
	holds_;								\
})

/* What the test cannot go on without */
#define need(cond, ...) do {						\
	if (!check(cond, __VA_ARGS__))					\
		_exit(TEST_FAILED);					\
} while (0)

#define skip(...) do {							\
	say("skipped: " __VA_ARGS__);					\
	_exit(TEST_SKIPPED);						\
} while (0)

/* All tests of all families, or those that the arguments name */
int run_families(const struct family *const *families, int argc, char **argv);

#endif
