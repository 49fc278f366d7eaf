#pragma once

/// The x86-64 micro-architecture level of the processor that runs this: 4 (AVX-512), 3 (AVX2 and FMA) or 1.
/// Other architectures give 0.
int processor_level(void);

/// Asks for the cache line at an address, to be written soon.
static inline void processor_prefetch(const void *address) { __builtin_prefetch(address, 1, 3); }
