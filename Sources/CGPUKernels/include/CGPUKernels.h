// The kernels of the GPU as SPIR-V, made of `shaders` by Scripts/build-gpu-kernels.
#ifndef CGPU_KERNELS_H
#define CGPU_KERNELS_H

#include <stddef.h>

// The code of a kernel, on an address that is a multiple of four; NULL where there is none of this name.
const void *ruyi_gpu_code(const char *name, size_t *size);

#endif
