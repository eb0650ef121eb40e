// CRC-32 (the polynomial of zlib and the store's records) by carry-less multiplication.
#ifndef CCHECKSUM_H
#define CCHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/// Whether the processor has what `cchecksum_fold` needs.
int cchecksum_can_fold(void);

/// The inner state of a CRC-32 after `count` more bytes; `count` is a multiple of 16 and at least 64. State in and out is
/// the register itself, without the inversion before the first byte and after the last. Only where `cchecksum_can_fold`.
uint32_t cchecksum_fold(uint32_t state, const uint8_t *bytes, size_t count);

#endif
