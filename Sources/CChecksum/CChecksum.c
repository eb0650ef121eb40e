#include "CChecksum.h"

#if defined(__x86_64__)
#include <immintrin.h>

int cchecksum_can_fold(void) { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"); }

// Folding constants of the reflected polynomial 0x1DB710641: x to the power of the distance that a lane moves, modulo the
// polynomial, reflected and shifted by one.
static const uint64_t
    far_low = 0x154442bd4,    // 4 * 128 + 32 bits
    far_high = 0x1c6e41596,   // 4 * 128 - 32
    near_low = 0x1751997d0,   // 128 + 32
    near_high = 0x0ccaa009e,  // 128 - 32
    last = 0x163cd6124,       // 64
    quotient = 0x1f7011641,   // floor(x^64 / polynomial)
    polynomial = 0x1db710641;

#define TARGET __attribute__((target("pclmul,sse4.1")))

TARGET static inline __m128i load(const uint8_t *bytes) { return _mm_loadu_si128((const __m128i *)bytes); }

/// Moves a lane ahead by the distance that `factors` stands for and adds what is there.
TARGET static inline __m128i ahead(__m128i lane, __m128i factors, __m128i there) {
    __m128i low = _mm_clmulepi64_si128(lane, factors, 0x00);
    __m128i high = _mm_clmulepi64_si128(lane, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

TARGET uint32_t cchecksum_fold(uint32_t state, const uint8_t *bytes, size_t count) {
    const __m128i far = _mm_set_epi64x(far_high, far_low), near = _mm_set_epi64x(near_high, near_low);
    __m128i a = _mm_xor_si128(load(bytes), _mm_cvtsi32_si128((int)state));
    __m128i b = load(bytes + 16), c = load(bytes + 32), d = load(bytes + 48);
    for (bytes += 64, count -= 64; count >= 64; bytes += 64, count -= 64) {
        a = ahead(a, far, load(bytes));
        b = ahead(b, far, load(bytes + 16));
        c = ahead(c, far, load(bytes + 32));
        d = ahead(d, far, load(bytes + 48));
    }
    a = ahead(a, near, b);
    a = ahead(a, near, c);
    a = ahead(a, near, d);
    for (; count >= 16; bytes += 16, count -= 16) a = ahead(a, near, load(bytes));

    // 128 bits to 64, then Barrett's reduction to 32.
    const __m128i mask = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i folded = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, near, 0x10));
    folded = _mm_xor_si128(
        _mm_srli_si128(folded, 4), _mm_clmulepi64_si128(_mm_and_si128(folded, mask), _mm_set_epi64x(0, last), 0x00));
    const __m128i reduction = _mm_set_epi64x(quotient, polynomial);
    __m128i t = _mm_clmulepi64_si128(_mm_and_si128(folded, mask), reduction, 0x10);
    t = _mm_clmulepi64_si128(_mm_and_si128(t, mask), reduction, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(folded, t), 1);
}

#else

int cchecksum_can_fold(void) { return 0; }
uint32_t cchecksum_fold(uint32_t state, const uint8_t *bytes, size_t count) { (void)bytes; (void)count; return state; }

#endif
