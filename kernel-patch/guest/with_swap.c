// SPDX-License-Identifier: GPL-2.0
/* Runs a program while there is swap: with_swap PROGRAM [ARGUMENTS] */
#define _GNU_SOURCE
#include "machine.h"

int main(int argc, char **argv)
{
	const char *dev;
	int status = -1;
	pid_t pid;

	if (argc < 2)
		return 2;
	dev = swap_on_zram();
	pid = fork();
	if (!pid) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	need(!swapoff(dev), "swapoff: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
