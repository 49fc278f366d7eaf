#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Nearest-neighbour doubling of rows and columns.
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Arguments {
    Floats x, result;
    uint count, width;
};
void main() {
    uint i = invocation();
    if (i >= count) return;
    uint wide = 2 * width;
    result.at[i] = x.at[i / (2 * wide) * width + i % wide / 2];
}
