#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Elements of a strided view in row-major order as floats, in equal parts that are `block_stride` apart.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(push_constant, scalar) uniform Arguments {
    Words x;
    Floats result;
    uint first, count, rank, start, block, block_stride;
    uint shape[10], strides[10];
};
void main() {
    uint i = invocation();
    if (i >= count) return;
    uint rest = i, place = first;
    for (int axis = int(rank) - 1; axis >= 0; axis--) {
        place += rest % shape[axis] * strides[axis];
        rest /= shape[axis];
    }
    result.at[start + i / block * block_stride + i % block] = stored(x, TYPE, place);
}
