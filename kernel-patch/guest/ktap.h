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

enum { TEST_PASSED, TEST_FAILED, TEST_SKIPPED = 4 };

/* Scales the time limits: emulation and debug kernels are slow. */
#define USUAL_SECONDS 120

static int test_result;
/* True on a kernel whose own ioctl is the reference, with its known bugs */
static bool on_reference;

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

static inline int run_one(const struct test *t)
{
	unsigned int seconds = t->seconds ? t->seconds : USUAL_SECONDS;
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return TEST_FAILED;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		signal(SIGALRM, SIG_DFL);
		alarm(seconds);
		t->run();
		_exit(test_result);
	}
	if (waitpid(pid, &status, 0) != pid)
		return TEST_FAILED;
	/* Whatever it left behind */
	kill(-pid, SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (WIFSIGNALED(status)) {
		say("%s: killed by signal %d%s", t->name, WTERMSIG(status),
		    WTERMSIG(status) == SIGALRM ? " (time limit)" : "");
		return TEST_FAILED;
	}
	return WEXITSTATUS(status);
}

/* Is this test asked for? Names may be written with _ for a blank. */
static inline bool wanted(const char *name, int argc, char **argv)
{
	bool any = false;

	for (int a = 1; a < argc; a++) {
		const char *n = name, *w = argv[a];

		if (*w == '-')
			continue;
		any = true;
		while (*n && (*n == *w || (*n == ' ' && *w == '_')))
			n++, w++;
		if (!*n && !*w)
			return true;
	}
	return !any;
}

static inline int run_all(const struct test *tests, unsigned int nr, int argc,
			  char **argv)
{
	unsigned int i, failed = 0, plan = 0, number = 0;

	for (int a = 1; a < argc; a++)
		if (!strcmp(argv[a], "--reference"))
			on_reference = true;
	for (i = 0; i < nr; i++)
		plan += wanted(tests[i].name, argc, argv);

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", plan);
	fflush(stdout);
	for (i = 0; i < nr; i++) {
		const char *verdict = "ok", *note = "";

		if (!wanted(tests[i].name, argc, argv))
			continue;
		switch (run_one(&tests[i])) {
		case TEST_PASSED:
			break;
		case TEST_SKIPPED:
			note = " # SKIP";
			break;
		default:
			verdict = "not ok";
			failed++;
		}
		printf("%s %u %s%s\n", verdict, ++number, tests[i].name, note);
		fflush(stdout);
	}
	return failed ? 1 : 0;
}

#endif
