// Counts allocations of the process that links this target. See README.md.
#ifndef CMALLOCCOUNT_H
#define CMALLOCCOUNT_H

#include <stdint.h>

/// Begins to count.
void cmalloccount_start(void);
/// Calls of malloc, calloc and realloc since the start.
int64_t cmalloccount_read(void);

#endif
