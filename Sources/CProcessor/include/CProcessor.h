#pragma once

/// The x86-64 micro-architecture level of the processor that runs this: 6 (level 4, AVX-512 VNNI and
/// AVX-512 BF16), 5 (level 4 and AVX-512 VNNI), 4 (AVX-512), 3 (AVX2 and FMA) or 1.
/// Other architectures give 0.
int processor_level(void);
