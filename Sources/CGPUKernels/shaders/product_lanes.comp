#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"
// x (scale · W)ᵀ for drivers whose groups are loops of a processor: no memory that is shared, no barrier. An invocation makes
// four rows of four columns; RUN numbers of a row are read at a time, 4 where all rows are whole runs.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint IS_SCALED = 0;
layout(constant_id = 2) const uint RUN = 1;
const uint SIDE = 4;
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Runs { vec4 at[]; };
void main() {
    uint column = (gl_WorkGroupID.x * 8 + gl_LocalInvocationIndex) * SIDE;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIDE;
    if (column >= columns || row >= rows) return;
    uint lefts[SIDE], rights[SIDE];
    float sums[SIDE][SIDE];
    [[unroll]] for (uint i = 0; i < SIDE; i++) {
        lefts[i] = min(row + i, rows - 1) * depth;
        rights[i] = first + min(column + i, columns - 1) * depth;
        [[unroll]] for (uint j = 0; j < SIDE; j++) sums[i][j] = 0;
    }
    if (RUN == 4) {
        Runs runs = Runs(x);
        for (uint k = 0; k < depth; k += 4) {
            vec4 values[SIDE];
            [[unroll]] for (uint i = 0; i < SIDE; i++) values[i] = runs.at[(lefts[i] + k) / 4];
            [[unroll]] for (uint j = 0; j < SIDE; j++) {
                vec4 weight = stored_run(w, TYPE, rights[j] + k);
                if (IS_SCALED != 0) {
                    uint line = min(column + j, columns - 1) * across;
                    [[unroll]] for (uint c = 0; c < 4; c++) weight[c] *= scales.at[line + (k + c) / block];
                }
                [[unroll]] for (uint i = 0; i < SIDE; i++) sums[i][j] += dot(values[i], weight);
            }
        }
    } else {
        for (uint k = 0; k < depth; k++) {
            float values[SIDE];
            [[unroll]] for (uint i = 0; i < SIDE; i++) values[i] = x.at[lefts[i] + k];
            [[unroll]] for (uint j = 0; j < SIDE; j++) {
                float weight = stored(w, TYPE, rights[j] + k);
                if (IS_SCALED != 0) weight *= scales.at[min(column + j, columns - 1) * across + k / block];
                [[unroll]] for (uint i = 0; i < SIDE; i++) sums[i][j] += values[i] * weight;
            }
        }
    }
    for (uint i = 0; i < SIDE && row + i < rows; i++) {
        for (uint j = 0; j < SIDE && column + j < columns; j++) finish(row + i, column + j, sums[i][j]);
    }
}
