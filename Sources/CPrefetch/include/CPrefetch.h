#ifndef CPREFETCH_H
#define CPREFETCH_H

#include <stdint.h>

/// Asks the processor to fetch the cache line at an address, to be written soon. The address may be anything: none is a fault.
static inline void cprefetch_line(uintptr_t address) { __builtin_prefetch((const void *)address, 1, 3); }

#endif
