#pragma once

// Single instructions and conversions for the kernels, each compiled for the level of the target that imports it.

#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define KERNEL_INLINE static inline __attribute__((always_inline))

typedef int32_t kernel_i32x16 __attribute__((ext_vector_type(16)));
typedef float kernel_f32x16 __attribute__((ext_vector_type(16)));
typedef int8_t kernel_i8x32 __attribute__((ext_vector_type(32)));
typedef int8_t kernel_i8x64 __attribute__((ext_vector_type(64)));
typedef int16_t kernel_i16x32 __attribute__((ext_vector_type(32)));
typedef uint8_t kernel_u8x16 __attribute__((ext_vector_type(16)));
typedef uint32_t kernel_u32x16 __attribute__((ext_vector_type(16)));

#if defined(__AVX512VNNI__)
/// Each lane of `sums` plus the sum of four products: the bytes of `left`, unsigned, by those of the lane of `right`.
KERNEL_INLINE kernel_i32x16 kernel_dot(kernel_i32x16 sums, uint32_t left, kernel_i8x64 right) {
    return (kernel_i32x16)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32((int32_t)left), (__m512i)right);
}
#endif

#if defined(__AVX512BF16__)
/// Each lane of `sums` plus two products: the bf16 numbers of `pair` by those of the lane of `right`.
KERNEL_INLINE kernel_f32x16 kernel_add_products(kernel_f32x16 sums, uint32_t pair, kernel_u32x16 right) {
    return (kernel_f32x16)_mm512_dpbf16_ps(
        (__m512)sums, (__m512bh)_mm512_set1_epi32((int32_t)pair), (__m512bh)(__m512i)right);
}

/// The values of `a`, then those of `b`, as bf16 numbers.
KERNEL_INLINE kernel_u32x16 kernel_round(kernel_f32x16 a, kernel_f32x16 b) {
    return (kernel_u32x16)(__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
}

/// In each lane the values of `a` (low half) and of `b` as bf16 numbers.
KERNEL_INLINE kernel_u32x16 kernel_pair(kernel_f32x16 a, kernel_f32x16 b) {
    typedef uint16_t u16x32 __attribute__((ext_vector_type(32)));
    u16x32 both = (u16x32)kernel_round(a, b);
    return (kernel_u32x16)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8,
                                                  24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#endif

/// The two 16-bit numbers of a word, sixteen times.
KERNEL_INLINE kernel_i16x32 kernel_repeat(uint32_t pair) { return (kernel_i16x32)(kernel_u32x16)pair; }

KERNEL_INLINE kernel_i16x32 kernel_widen(kernel_i8x32 x) { return __builtin_convertvector(x, kernel_i16x32); }

#define KERNEL_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define KERNEL_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31

/// The sums of neighbouring products, `a[2i] b[2i] + a[2i + 1] b[2i + 1]`.
KERNEL_INLINE kernel_i32x16 kernel_multiply_pairs(kernel_i16x32 a, kernel_i16x32 b) {
#if defined(__AVX512BW__)
    return (kernel_i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    typedef int32_t i32x8 __attribute__((ext_vector_type(8)));
    i32x8 low = (i32x8)_mm256_madd_epi16((__m256i)a.lo, (__m256i)b.lo);
    i32x8 high = (i32x8)_mm256_madd_epi16((__m256i)a.hi, (__m256i)b.hi);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    kernel_i32x16 even = __builtin_convertvector(__builtin_shufflevector(a, a, KERNEL_EVEN), kernel_i32x16) *
                         __builtin_convertvector(__builtin_shufflevector(b, b, KERNEL_EVEN), kernel_i32x16);
    kernel_i32x16 odd = __builtin_convertvector(__builtin_shufflevector(a, a, KERNEL_ODD), kernel_i32x16) *
                        __builtin_convertvector(__builtin_shufflevector(b, b, KERNEL_ODD), kernel_i32x16);
    return even + odd;
#endif
}

/// The lowest bytes.
KERNEL_INLINE kernel_u8x16 kernel_bytes(kernel_i32x16 x) { return __builtin_convertvector(x, kernel_u8x16); }

/// Asks for the cache line at an address, to be written soon.
KERNEL_INLINE void kernel_prefetch(const void *address) { __builtin_prefetch(address, 1, 3); }

/// Asks for the cache line at an address, to be read some time later, in the second cache.
KERNEL_INLINE void kernel_prefetch_second(const void *address) { __builtin_prefetch(address, 0, 2); }

#if defined(__AVX512F__)
#define KERNEL_LANES 16
#define KERNEL_VECTOR_EVEN KERNEL_EVEN
#define KERNEL_VECTOR_ODD KERNEL_ODD
#define KERNEL_LOW_TURNS 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define KERNEL_HIGH_TURNS 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined(__AVX2__)
#define KERNEL_LANES 8
#define KERNEL_VECTOR_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define KERNEL_VECTOR_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define KERNEL_LOW_TURNS 0, 8, 1, 9, 2, 10, 3, 11
#define KERNEL_HIGH_TURNS 4, 12, 5, 13, 6, 14, 7, 15
#else
#define KERNEL_LANES 4
#define KERNEL_VECTOR_EVEN 0, 2, 4, 6
#define KERNEL_VECTOR_ODD 1, 3, 5, 7
#define KERNEL_LOW_TURNS 0, 4, 1, 5
#define KERNEL_HIGH_TURNS 2, 6, 3, 7
#endif

typedef float kernel_vector __attribute__((ext_vector_type(KERNEL_LANES)));
typedef int32_t kernel_integers __attribute__((ext_vector_type(KERNEL_LANES)));
typedef uint32_t kernel_words __attribute__((ext_vector_type(KERNEL_LANES)));
typedef uint16_t kernel_halves __attribute__((ext_vector_type(KERNEL_LANES)));
typedef uint8_t kernel_small __attribute__((ext_vector_type(KERNEL_LANES)));

KERNEL_INLINE kernel_vector kernel_floats(kernel_integers x) { return __builtin_convertvector(x, kernel_vector); }
KERNEL_INLINE kernel_words kernel_widen_halves(kernel_halves x) { return __builtin_convertvector(x, kernel_words); }
KERNEL_INLINE kernel_words kernel_widen_bytes(kernel_small x) { return __builtin_convertvector(x, kernel_words); }
KERNEL_INLINE kernel_halves kernel_halves_of_bytes(kernel_small x) { return __builtin_convertvector(x, kernel_halves); }

#if defined(__F16C__)
/// IEEE binary16 to binary32.
KERNEL_INLINE kernel_vector kernel_half_floats(kernel_halves x) {
#if defined(__AVX512F__)
    return (kernel_vector)_mm512_cvtph_ps((__m256i)x);
#else
    return (kernel_vector)_mm256_cvtph_ps((__m128i)x);
#endif
}

/// OCP e4m3, a byte in each lane, to binary32: a half-precision number with the same exponent and mantissa is the number
/// divided by 2⁸; 0x7F is NaN.
KERNEL_INLINE kernel_vector kernel_e4m3_floats(kernel_halves x) {
    kernel_halves magnitude = x & 0x7F;
    kernel_halves nan = (kernel_halves)(magnitude == 0x7F) & 0x7FFF;
    return kernel_half_floats(magnitude << 7 | (x & 0x80) << 8 | nan) * 256;
}
#endif

/// The even places of two vectors that follow one another.
KERNEL_INLINE kernel_vector kernel_even(kernel_vector a, kernel_vector b) {
    return __builtin_shufflevector(a, b, KERNEL_VECTOR_EVEN);
}

/// The odd places.
KERNEL_INLINE kernel_vector kernel_odd(kernel_vector a, kernel_vector b) {
    return __builtin_shufflevector(a, b, KERNEL_VECTOR_ODD);
}

/// The values of two vectors in turns, the first half.
KERNEL_INLINE kernel_vector kernel_low_turns(kernel_vector a, kernel_vector b) {
    return __builtin_shufflevector(a, b, KERNEL_LOW_TURNS);
}

/// The second half.
KERNEL_INLINE kernel_vector kernel_high_turns(kernel_vector a, kernel_vector b) {
    return __builtin_shufflevector(a, b, KERNEL_HIGH_TURNS);
}

/// `a + b · factor`, fused where the level has the instruction.
KERNEL_INLINE kernel_vector kernel_add_scaled(kernel_vector a, kernel_vector b, float factor) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_elementwise_fma(b, (kernel_vector)factor, a);
#else
    return a + b * factor;
#endif
}

/// Writes a vector to an address that is a multiple of its size, past the caches.
KERNEL_INLINE void kernel_stream(float *target, kernel_vector value) {
    __builtin_nontemporal_store(value, (kernel_vector *)target);
}

/// Lets other threads see what was written past the caches.
KERNEL_INLINE void kernel_end_streams(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}
