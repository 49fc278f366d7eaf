#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"
// x (scale · W)ᵀ through shared memory: a group of 256 makes SIDE x SIDE results, an invocation EDGE x EDGE of them.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint IS_SCALED = 0;
#ifndef EDGE
#define EDGE 8
#endif
const uint SIDE = 16 * EDGE, DEPTH = 16;
shared float left[DEPTH][SIDE + 4], right[DEPTH][SIDE + 4];
void main() {
    uint t = gl_LocalInvocationIndex, down = t / 16, over = t % 16;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIDE, column = gl_WorkGroupID.x * SIDE;
    if (row >= rows) return;
    float sums[EDGE][EDGE];
    [[unroll]] for (uint i = 0; i < EDGE; i++) [[unroll]] for (uint j = 0; j < EDGE; j++) sums[i][j] = 0;
    for (uint origin = 0; origin < depth; origin += DEPTH) {
        for (uint i = t; i < SIDE * DEPTH; i += 256) {
            uint line = i / DEPTH, k = origin + i % DEPTH;
            left[i % DEPTH][line] = row + line < rows && k < depth ? x.at[(row + line) * depth + k] : 0;
            float value = 0;
            if (column + line < columns && k < depth) {
                value = stored(w, TYPE, first + (column + line) * depth + k);
                if (IS_SCALED != 0) value *= scales.at[(column + line) * across + k / block];
            }
            right[i % DEPTH][line] = value;
        }
        barrier();
        for (uint k = 0; k < DEPTH; k++) {
            float a[EDGE], b[EDGE];
            [[unroll]] for (uint i = 0; i < EDGE; i++) a[i] = left[k][down + 16 * i];
            [[unroll]] for (uint j = 0; j < EDGE; j++) b[j] = right[k][over + 16 * j];
            [[unroll]] for (uint i = 0; i < EDGE; i++) [[unroll]] for (uint j = 0; j < EDGE; j++) sums[i][j] += a[i] * b[j];
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < EDGE; i++) {
        [[unroll]] for (uint j = 0; j < EDGE; j++) {
            if (row + down + 16 * i < rows && column + over + 16 * j < columns) finish(row + down + 16 * i, column + over + 16 * j, sums[i][j]);
        }
    }
}
