// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of the guest: mounts what the tests need, runs each program in
 * /tests as /tests/LIST says, and prints the verdict. The verdict is "failed"
 * until everything has been seen to be right: all programs ended with 0, as
 * many tests ran as the list expects, none was skipped, and the kernel had
 * nothing to complain about.
 *
 * A line of the list: seconds, number of tests, program, arguments.
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

static void finish(void)
{
	printf("\nVERDICT: %s%s%s\n", failure ? "failed" : "passed",
	       failure ? ": " : "", failure ? failure : "");
	fflush(stdout);
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
	};

	for (unsigned int i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) &&
		    errno != EBUSY)
			fail(mounts[i].where);
	}
}

static int count_skips, count_ok, count_bad;

static void count_line(const char *line)
{
	if (!strncmp(line, "ok ", 3)) {
		if (strstr(line, "# SKIP"))
			count_skips++;
		else
			count_ok++;
	} else if (!strncmp(line, "not ok ", 7)) {
		count_bad++;
	}
}

/* Run one program, show its output and count its results. */
static void run(int seconds, int expected, char **argv)
{
	char line[1024], why[256];
	size_t used = 0;
	int out[2], status = -1;
	time_t end = time(NULL) + seconds;
	pid_t pid;

	count_ok = count_bad = count_skips = 0;
	printf("# running %s, %d s at most\n", argv[0], seconds);
	fflush(stdout);
	if (pipe(out))
		return fail("pipe");
	pid = fork();
	if (!pid) {
		setsid();
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(out[1]);

	for (;;) {
		struct pollfd p = { out[0], POLLIN, 0 };
		char c;
		ssize_t n;

		if (time(NULL) >= end) {
			kill(-pid, SIGKILL);
			fail("time limit");
			break;
		}
		if (poll(&p, 1, 1000) <= 0)
			continue;
		/* One at a time is slow, but there is not much of it. */
		n = read(out[0], &c, 1);
		if (n <= 0)
			break;
		if (used < sizeof(line) - 1)
			line[used++] = c;
		if (c == '\n') {
			line[used] = 0;
			count_line(line);
			fputs(line, stdout);
			fflush(stdout);
			used = 0;
		}
	}
	close(out[0]);
	waitpid(pid, &status, 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;

	printf("# %s: %d passed, %d failed, %d skipped, %d expected\n", argv[0],
	       count_ok, count_bad, count_skips, expected);
	snprintf(why, sizeof(why), "%s: status %d, %d passed, %d failed, %d skipped of %d",
		 argv[0], status, count_ok, count_bad, count_skips, expected);
	if (status || count_bad || count_skips || count_ok != expected)
		fail(why);
}

static void run_list(void)
{
	char line[512];
	FILE *list = fopen("/tests/LIST", "r");

	if (!list)
		return fail("no list of tests");
	while (fgets(line, sizeof(line), list)) {
		char *argv[16], *word = strtok(line, " \n");
		int seconds, expected, n = 0;

		if (!word || *word == '#')
			continue;
		seconds = atoi(word);
		word = strtok(NULL, " \n");
		expected = word ? atoi(word) : 0;
		while (n < 15 && (argv[n] = strtok(NULL, " \n")))
			n++;
		argv[n] = NULL;
		if (!n || !expected)
			fail("a line of the list of tests");
		else
			run(seconds, expected, argv);
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

int main(void)
{
	struct utsname u;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("VERDICT: failed until proven otherwise\n");
	mount_all();
	uname(&u);
	printf("# kernel %s %s\n", u.release, u.version);
	failure = NULL;
	run_list();
	look_at_the_log();
	finish();
}
