// SPDX-License-Identifier: GPL-2.0
/* Each race for some seconds; RACE_SECONDS says how many. */
#define _GNU_SOURCE
#include "field.h"

extern const struct family race_movers,
	race_translations,
	race_sharing,
	race_swap,
	race_collapse,
	race_mappings,
	race_migration,
	race_walkers,
	race_pins;

static const struct family *const families[] = {
	&race_movers,
	&race_translations,
	&race_sharing,
	&race_swap,
	&race_collapse,
	&race_mappings,
	&race_migration,
	&race_walkers,
	&race_pins,
	NULL
};

int main(int argc, char **argv)
{
	const char *s = getenv("RACE_SECONDS");

	if (s)
		seconds = atof(s);
	return run_families(families, argc, argv);
}
