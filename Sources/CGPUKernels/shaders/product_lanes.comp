#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"
// x (scale · W)ᵀ for drivers whose groups are loops of a processor: no memory that is shared, no barrier. An invocation
// makes eight rows of a column.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint IS_SCALED = 0;
const uint ROWS = 8;
void main() {
    uint column = gl_WorkGroupID.x * 8 + gl_LocalInvocationIndex;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * ROWS;
    if (column >= columns || row >= rows) return;
    uint places[ROWS];
    float sums[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        places[i] = min(row + i, rows - 1) * depth;
        sums[i] = 0;
    }
    uint place = first + column * depth;
    for (uint k = 0; k < depth; k++) {
        float value = stored(w, TYPE, place + k);
        if (IS_SCALED != 0) value *= scales.at[column * across + k / block];
        [[unroll]] for (uint i = 0; i < ROWS; i++) sums[i] += x.at[places[i] + k] * value;
    }
    for (uint i = 0; i < ROWS && row + i < rows; i++) finish(row + i, column, sums[i]);
}
