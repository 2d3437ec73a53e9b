// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of the guest: mounts what the tests need, runs each program in
 * /tests as /tests/LIST says, and prints the verdict. The verdict is "failed"
 * until everything has been seen to be right: all programs ended with 0, as
 * many tests ran as the list expects, none was skipped, and the kernel had
 * nothing to complain about.
 *
 * A line of the list: suite, seconds, number of tests, settings of the form
 * NAME=value, program, arguments. The number of tests may be
 *
 *   12     twelve tests, all of which must pass
 *   ~12    twelve tests, of which some may be skipped, for a reason
 *   -      no tests: what counts is how the program ends
 *
 * SAYS=words, with _ for a blank, is not for the program: a line of its output
 * must begin with these words.
 *
 * As any other process ("init LIST FOLDER") it runs the list on the machine it
 * is on, with the programs of FOLDER, and looks neither after file systems nor
 * at the kernel's log: others may be at work there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tally.h"

/* What a kernel says when something is wrong with it */
static const char *const complaints[] = {
	"WARNING:", "BUG:", "BUG at", "Oops", "KASAN", "general protection",
	"possible recursive locking", "circular locking", "inconsistent lock",
	"suspicious RCU", "sleeping function", "Bad rss-counter", "Bad page",
	"bad pte", "bad pmd", "non-zero pgtables", "page_table_check",
	"stuck for", "blocked for more than", "rcu_preempt detected",
	"self-detected stall", "Call Trace:", "Unable to handle",
};

static const char *failure = "did not get to the end";

/* Where the programs are that the list has in /tests */
static const char *folder = "/tests";

static void finish(void)
{
	printf("\nVERDICT: %s%s%s\n", failure ? "failed" : "passed",
	       failure ? ": " : "", failure ? failure : "");
	fflush(stdout);
	if (getpid() != 1)
		exit(failure ? 1 : 0);
	tcdrain(1);
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void fail(const char *why)
{
	/* The first reason is the one to look at. */
	static bool failed;

	printf("# failure: %s\n", why);
	if (!failed)
		failure = strdup(why);
	failed = true;
}

static void mount_all(void)
{
	static const struct {
		const char *type, *where;
	} mounts[] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" },
		{ "devtmpfs", "/dev" }, { "tmpfs", "/tmp" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "cgroup2", "/sys/fs/cgroup" },
	};

	for (unsigned int i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) &&
		    errno != EBUSY)
			fail(mounts[i].where);
	}
}

/* Control groups get the memory controller only from the one above. */
static void hand_down_memory(void)
{
	int fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY);

	if (fd < 0 || write(fd, "+memory", 7) != 7)
		fail("the memory controller of groups");
	if (fd >= 0)
		close(fd);
}

/* A line of the list */
struct job {
	const char *suite;
	int seconds, expected;
	bool no_tests, may_skip;
	const char *says;
	char *argv[64];
};

static bool as_asked(const char *line, const char *says)
{
	for (; *says; says++, line++)
		if (*line != (*says == '_' ? ' ' : *says))
			return false;
	return true;
}

static pid_t start(struct job *j, int out[2])
{
	pid_t pid = fork();

	if (pid)
		return pid;
	setsid();
	dup2(out[1], 1);
	dup2(out[1], 2);
	close(out[0]);
	close(out[1]);
	execv(j->argv[0], j->argv);
	_exit(127);
}

/* Shows what a program prints, until it ends. Returns whether it said it. */
static bool listen_to(struct job *j, int from, pid_t pid, struct tally *t)
{
	time_t end = time(NULL) + j->seconds;
	bool said = !j->says;
	char line[1024];
	size_t used = 0;

	for (;;) {
		struct pollfd p = { from, POLLIN, 0 };
		char c;

		if (time(NULL) >= end) {
			kill(-pid, SIGKILL);
			fail("time limit");
			return said;
		}
		if (poll(&p, 1, 1000) <= 0)
			continue;
		/* One at a time is slow, but there is not much of it. */
		if (read(from, &c, 1) <= 0)
			return said;
		if (c != '\n') {
			if (used < sizeof(line) - 1)
				line[used++] = c;
			continue;
		}
		line[used] = 0;
		used = 0;
		tally_line(t, line);
		said = said || as_asked(line, j->says);
		puts(line);
	}
}

/* Run one program, show its output and count its results. */
static void run(struct job *j)
{
	struct tally t = { 0 };
	time_t began = time(NULL);
	int out[2], status = -1;
	char why[512];
	bool said;
	pid_t pid;

	printf("# suite %s: %s, %d s at most\n", j->suite, j->argv[0], j->seconds);
	if (pipe(out))
		return fail("pipe");
	pid = start(j, out);
	close(out[1]);
	said = listen_to(j, out[0], pid, &t);
	close(out[0]);
	waitpid(pid, &status, 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;

	if (j->no_tests && !t.passed && !t.failed) {
		t.passed = !status;
		t.failed = !!status;
	}
	printf("# result %s %d %d %d %ld\n", j->suite, t.passed, t.failed,
	       t.skipped, (long)(time(NULL) - began));
	snprintf(why, sizeof(why),
		 "%s: status %d, %d passed, %d failed, %d skipped of %d%s",
		 j->argv[0], status, t.passed, t.failed, t.skipped, j->expected,
		 said ? "" : ", and did not say what it should");
	if (status || t.failed || !said || (t.skipped && !j->may_skip) ||
	    (!j->no_tests && t.passed + t.skipped != j->expected))
		fail(why);
}

static char *in_folder(char *word)
{
	char *path;

	if (!begins(word, "/tests/"))
		return word;
	if (asprintf(&path, "%s%s", folder, word + strlen("/tests")) < 0)
		abort();
	return path;
}

/* Settings stay for this job only. */
static bool read_job(char *line, struct job *j)
{
	char *suite = strtok(line, " \n"), *seconds = strtok(NULL, " \n");
	char *number = strtok(NULL, " \n"), *word;
	int n = 0;

	clearenv();
	setenv("PATH", getpid() == 1 ? folder : "/usr/bin:/bin", 1);
	*j = (struct job){ .suite = suite };
	if (!number)
		return false;
	j->seconds = atoi(seconds);
	j->may_skip = *number == '~';
	number += j->may_skip;
	j->no_tests = *number == '-';
	j->expected = atoi(number);
	while (n < 63 && (word = strtok(NULL, " \n"))) {
		if (!n && begins(word, "SAYS="))
			j->says = word + 5;
		else if (!n && strchr(word, '='))
			putenv(word);
		else
			j->argv[n++] = in_folder(word);
	}
	return n && j->seconds && (j->no_tests || j->expected);
}

static void run_list(const char *path)
{
	char line[4096];
	FILE *list = fopen(path, "r");
	struct job job;

	if (!list)
		return fail("no list of tests");
	while (fgets(line, sizeof(line), list)) {
		if (*line == '#' || *line == '\n')
			continue;
		if (read_job(line, &job))
			run(&job);
		else
			fail("a line of the list of tests");
	}
	fclose(list);
}

static void look_at_the_log(void)
{
	int size = klogctl(10, NULL, 0);
	char *log = malloc(size + 1), *line;
	int n = klogctl(3, log, size);

	if (n <= 0)
		return fail("no kernel log");
	log[n] = 0;
	for (line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
		for (unsigned int i = 0; i < sizeof(complaints) / sizeof(*complaints); i++)
			if (strstr(line, complaints[i])) {
				printf("# log: %s\n", line);
				fail("the kernel complained");
				break;
			}
	free(log);
}

int main(int argc, char **argv)
{
	bool alone = getpid() == 1;
	struct utsname u;

	if (!alone && argc != 3)
		return 2;
	if (!alone)
		folder = argv[2];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("VERDICT: failed until proven otherwise\n");
	failure = NULL;
	if (alone) {
		mount_all();
		hand_down_memory();
	}
	uname(&u);
	printf("# kernel %s %s\n", u.release, u.version);
	run_list(alone ? "/tests/LIST" : argv[1]);
	if (alone)
		look_at_the_log();
	finish();
}
