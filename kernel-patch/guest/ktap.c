// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "ktap.h"

/* Seconds; emulation and debug kernels are slow. */
#define USUAL_SECONDS 120

int test_result;
bool on_reference;

static int run_one(const struct test *t)
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
static bool wanted(const char *name, int argc, char **argv)
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

/* Runs a test and prints its line. Returns 1 if it failed. */
static int report(const struct test *t, unsigned int number)
{
	int result;

	fflush(stdout);
	result = run_one(t);
	printf("%s %u %s%s\n",
	       result == TEST_PASSED || result == TEST_SKIPPED ? "ok" : "not ok",
	       number, t->name, result == TEST_SKIPPED ? " # SKIP" : "");
	fflush(stdout);
	return result != TEST_PASSED && result != TEST_SKIPPED;
}

int run_families(const struct family *const *families, int argc, char **argv)
{
	unsigned int failed = 0, plan = 0, number = 0;

	for (int a = 1; a < argc; a++)
		if (!strcmp(argv[a], "--reference"))
			on_reference = true;
	for (int f = 0; families[f]; f++)
		for (unsigned int i = 0; i < families[f]->nr; i++)
			plan += wanted(families[f]->tests[i].name, argc, argv);

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", plan);
	for (int f = 0; families[f]; f++)
		for (unsigned int i = 0; i < families[f]->nr; i++)
			if (wanted(families[f]->tests[i].name, argc, argv))
				failed += report(&families[f]->tests[i], ++number);
	return failed ? 1 : 0;
}
