// SPDX-License-Identifier: GPL-2.0
/* Against those who walk the rmap to see what is in use. */
#define _GNU_SOURCE
#include "field.h"

static void do_idle(void)
{
	static char ones[4096], zeros[4096];
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);

	need(fd >= 0, "page_idle: %s", strerror(errno));
	memset(ones, 0xff, sizeof(ones));
	for (off_t o = 0; pwrite(fd, ones, sizeof(ones), o) > 0; o += sizeof(ones))
		;
	for (off_t o = 0; pread(fd, zeros, sizeof(zeros), o) > 0; o += sizeof(zeros))
		;
	close(fd);
}

static void with_idle_tracking(void)
{
	if (access("/sys/kernel/mm/page_idle/bitmap", W_OK))
		skip("no idle page tracking");
	place_pages(small, NR * PAGE);
	play(do_idle, 2);
	add_up();
}

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

static void with_damon(void)
{
	const char *c = DAMON "0/contexts/0/";
	char path[256], text[32];
	const struct { const char *file, *text; } settings[] = {
		{ "operations", "paddr" },
		{ "monitoring_attrs/intervals/sample_us", "1000" },
		{ "monitoring_attrs/intervals/aggr_us", "10000" },
		{ "monitoring_attrs/nr_regions/min", "1000" },
		{ "monitoring_attrs/nr_regions/max", "5000" },
		{ "targets/nr_targets", "1" },
		{ "targets/0/regions/nr_regions", "1" },
		{ "targets/0/regions/0/start", "16777216" },
		{ "targets/0/regions/0/end", "1073741824" },
	};

	if (!write_file(DAMON "nr_kdamonds", "1"))
		skip("no DAMON");
	write_file(DAMON "0/contexts/nr_contexts", "1");
	for (unsigned int i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		snprintf(path, sizeof(path), "%s%s", c, settings[i].file);
		check(write_file(path, settings[i].text), "%s: %s", path, strerror(errno));
	}
	check(write_file(DAMON "0/state", "on"), "on: %s", strerror(errno));
	place_pages(small, NR * PAGE);
	play(NULL, 2);
	int fd = open(DAMON "0/state", O_RDONLY);
	check(read(fd, text, sizeof(text)) > 1 && !strncmp(text, "on", 2), "it is not running");
	close(fd);
	write_file(DAMON "0/state", "off");
	add_up();
}

FAMILY(race_walkers,
	{ "idle page tracking", with_idle_tracking },
	{ "DAMON", with_damon }
);
