#include "include/CGPUKernels.h"

#include <stdint.h>
#include <string.h>

#pragma clang diagnostic ignored "-Wc23-extensions"

#define KERNELS(X) \
    X(attention_groups_bf16) \
    X(attention_groups_f16) \
    X(attention_lanes) \
    X(attention_matrices_bf16) \
    X(attention_matrices_f16) \
    X(attention_tiles) \
    X(channels) \
    X(convolution_lanes) \
    X(convolution_matrices_bf16) \
    X(convolution_matrices_f16) \
    X(convolution_tiles) \
    X(copy) \
    X(crossframe) \
    X(gather) \
    X(group) \
    X(halves) \
    X(integers) \
    X(map) \
    X(merge) \
    X(moments) \
    X(narrow) \
    X(norm) \
    X(product_groups_bf16) \
    X(product_groups_f16) \
    X(product_halves) \
    X(product_lanes) \
    X(product_matrices_bf16) \
    X(product_matrices_f16) \
    X(product_tiles) \
    X(product_tiles_small) \
    X(quantize) \
    X(reduce) \
    X(rotate) \
    X(unpack) \
    X(upsample)

_Alignas(4) static const unsigned char attention_groups_bf16[] = {
#embed "spirv/attention_groups_bf16.spv"
};
_Alignas(4) static const unsigned char attention_groups_f16[] = {
#embed "spirv/attention_groups_f16.spv"
};
_Alignas(4) static const unsigned char attention_lanes[] = {
#embed "spirv/attention_lanes.spv"
};
_Alignas(4) static const unsigned char attention_matrices_bf16[] = {
#embed "spirv/attention_matrices_bf16.spv"
};
_Alignas(4) static const unsigned char attention_matrices_f16[] = {
#embed "spirv/attention_matrices_f16.spv"
};
_Alignas(4) static const unsigned char attention_tiles[] = {
#embed "spirv/attention_tiles.spv"
};
_Alignas(4) static const unsigned char channels[] = {
#embed "spirv/channels.spv"
};
_Alignas(4) static const unsigned char convolution_lanes[] = {
#embed "spirv/convolution_lanes.spv"
};
_Alignas(4) static const unsigned char convolution_matrices_bf16[] = {
#embed "spirv/convolution_matrices_bf16.spv"
};
_Alignas(4) static const unsigned char convolution_matrices_f16[] = {
#embed "spirv/convolution_matrices_f16.spv"
};
_Alignas(4) static const unsigned char convolution_tiles[] = {
#embed "spirv/convolution_tiles.spv"
};
_Alignas(4) static const unsigned char copy[] = {
#embed "spirv/copy.spv"
};
_Alignas(4) static const unsigned char crossframe[] = {
#embed "spirv/crossframe.spv"
};
_Alignas(4) static const unsigned char gather[] = {
#embed "spirv/gather.spv"
};
_Alignas(4) static const unsigned char group[] = {
#embed "spirv/group.spv"
};
_Alignas(4) static const unsigned char halves[] = {
#embed "spirv/halves.spv"
};
_Alignas(4) static const unsigned char integers[] = {
#embed "spirv/integers.spv"
};
_Alignas(4) static const unsigned char map[] = {
#embed "spirv/map.spv"
};
_Alignas(4) static const unsigned char merge[] = {
#embed "spirv/merge.spv"
};
_Alignas(4) static const unsigned char moments[] = {
#embed "spirv/moments.spv"
};
_Alignas(4) static const unsigned char narrow[] = {
#embed "spirv/narrow.spv"
};
_Alignas(4) static const unsigned char norm[] = {
#embed "spirv/norm.spv"
};
_Alignas(4) static const unsigned char product_groups_bf16[] = {
#embed "spirv/product_groups_bf16.spv"
};
_Alignas(4) static const unsigned char product_groups_f16[] = {
#embed "spirv/product_groups_f16.spv"
};
_Alignas(4) static const unsigned char product_halves[] = {
#embed "spirv/product_halves.spv"
};
_Alignas(4) static const unsigned char product_lanes[] = {
#embed "spirv/product_lanes.spv"
};
_Alignas(4) static const unsigned char product_matrices_bf16[] = {
#embed "spirv/product_matrices_bf16.spv"
};
_Alignas(4) static const unsigned char product_matrices_f16[] = {
#embed "spirv/product_matrices_f16.spv"
};
_Alignas(4) static const unsigned char product_tiles[] = {
#embed "spirv/product_tiles.spv"
};
_Alignas(4) static const unsigned char product_tiles_small[] = {
#embed "spirv/product_tiles_small.spv"
};
_Alignas(4) static const unsigned char quantize[] = {
#embed "spirv/quantize.spv"
};
_Alignas(4) static const unsigned char reduce[] = {
#embed "spirv/reduce.spv"
};
_Alignas(4) static const unsigned char rotate[] = {
#embed "spirv/rotate.spv"
};
_Alignas(4) static const unsigned char unpack[] = {
#embed "spirv/unpack.spv"
};
_Alignas(4) static const unsigned char upsample[] = {
#embed "spirv/upsample.spv"
};

const void *ruyi_gpu_code(const char *name, size_t *size) {
#define FIND(kernel) \
    if (!strcmp(name, #kernel)) { \
        *size = sizeof kernel; \
        return kernel; \
    }
    KERNELS(FIND)
#undef FIND
    return NULL;
}
