/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a program says about its tests. Three forms are understood: KTAP ("ok",
 * "not ok"), the harness of Rust ("test NAME ... ok"), and a closing line of
 * the form "NAME: 8 passed, 0 failed, 0 skipped".
 */
#ifndef TALLY_H
#define TALLY_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct tally {
	int passed, failed, skipped;
	/* Inside of what passing tests of Rust have printed, or one of them */
	bool passing, in_output, said_skipped;
};

static bool begins(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

static bool ends(const char *line, const char *with)
{
	size_t n = strlen(line), w = strlen(with);

	return n >= w && !strcmp(line + n - w, with);
}

/*
 * The harness of Rust knows no skipping at run time: a test that cannot be
 * done says "skipped: REASON" and passes. That is not what happened.
 */
static void tally_rust(struct tally *t, const char *line)
{
	if (begins(line, "test ")) {
		t->in_output = false;
		if (ends(line, " ... ok"))
			t->passed++;
		else if (ends(line, " ... FAILED"))
			t->failed++;
		else if (strstr(line, " ... ignored"))
			t->skipped++;
	} else if (begins(line, "---- ") && ends(line, " stdout ----")) {
		t->in_output = t->passing;
		t->said_skipped = false;
	} else if (!strcmp(line, "successes:") || !strcmp(line, "failures:")) {
		t->passing = *line == 's';
	} else if (begins(line, "skipped: ") && t->in_output &&
		   !t->said_skipped) {
		t->said_skipped = true;
		t->passed--;
		t->skipped++;
	}
}

/* One line, without the newline */
static void tally_line(struct tally *t, const char *line)
{
	int passed, failed, skipped;
	const char *colon;

	if (begins(line, "ok ")) {
		if (strstr(line, "# SKIP"))
			t->skipped++;
		else
			t->passed++;
	} else if (begins(line, "not ok ")) {
		t->failed++;
	} else if ((colon = strchr(line, ':')) && !memchr(line, ' ', colon - line) &&
		   sscanf(colon, ": %d passed, %d failed, %d skipped", &passed,
			  &failed, &skipped) == 3) {
		t->passed += passed;
		t->failed += failed;
		t->skipped += skipped;
	} else {
		tally_rust(t, line);
	}
}

#endif
