#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Rows of a table.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(push_constant, scalar) uniform Arguments {
    Words table;
    Words places;
    Floats result;
    uint first, count, width, row_stride, column_stride;
};
void main() {
    uint i = invocation();
    if (i >= count) return;
    result.at[i] = stored(table, TYPE, first + places.at[i / width] * row_stride + i % width * column_stride);
}
