#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"
// The product of rows and columns in 8 bits: exact sums, times the factors of their row and column. `depth` counts words of
// four numbers. At `x` are the factors of all rows, `across` of them, and then their numbers, at `scales` the factors of the
// columns.
layout(local_size_x = 8) in;
const uint ROWS = 8;
int dot_of(uint a, uint b) {
    int sum = 0;
    [[unroll]] for (int i = 0; i < 4; i++) sum += bitfieldExtract(int(a), 8 * i, 8) * bitfieldExtract(int(b), 8 * i, 8);
    return sum;
}
void main() {
    uint column = gl_WorkGroupID.x * 8 + gl_LocalInvocationIndex;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * ROWS;
    if (column >= columns || row >= rows) return;
    Words left = Words(x);
    uint places[ROWS];
    int sums[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        places[i] = across + min(row + i, rows - 1) * depth;
        sums[i] = 0;
    }
    for (uint k = 0; k < depth; k++) {
        uint value = w.at[first + column * depth + k];
        [[unroll]] for (uint i = 0; i < ROWS; i++) sums[i] += dot_of(left.at[places[i] + k], value);
    }
    for (uint i = 0; i < ROWS && row + i < rows; i++) finish(row + i, column, float(sums[i]) * (x.at[row + i] * scales.at[column]));
}
