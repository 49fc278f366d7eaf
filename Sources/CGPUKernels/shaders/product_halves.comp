#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "packing.glsl"
#include "finish.glsl"
// x Wᵀ of rows in halves, `depth` numbers each, a multiple of 32, for devices without units for matrices: a group of 256 makes
// 64 x 64 results through shared memory, which holds two numbers in a word; sums are float32. `scales` are factors of the rows
// of x, where `across` is not 0.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint IS_BFLOAT = 0;
const uint EDGE = 4, SIDE = 16 * EDGE, PART = 4, WORDS = 4 * PART;
shared uint left[WORDS][SIDE + 4], right[WORDS][SIDE + 4];
vec2 both(uint word) {
    return IS_BFLOAT != 0 ? uintBitsToFloat(uvec2(word << 16, word & 0xffff0000)) : unpackHalf2x16(word);
}
void main() {
    uint t = gl_LocalInvocationIndex, down = t / 16, over = t % 16;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIDE, column = gl_WorkGroupID.x * SIDE;
    if (row >= rows) return;
    Quads a = Quads(x), b = Quads(w);
    uint pitch = depth / 8, begin = first / 8, line = t / PART, part = t % PART;
    float sums[EDGE][EDGE];
    [[unroll]] for (uint i = 0; i < EDGE; i++) [[unroll]] for (uint j = 0; j < EDGE; j++) sums[i][j] = 0;
    for (uint origin = 0; origin < pitch; origin += PART) {
        // Each invocation brings eight numbers of a row of either side.
        uvec4 own = a.at[min(row + line, rows - 1) * pitch + origin + part];
        uvec4 other = b.at[begin + min(column + line, columns - 1) * pitch + origin + part];
        [[unroll]] for (uint i = 0; i < 4; i++) {
            left[4 * part + i][line] = own[i];
            right[4 * part + i][line] = other[i];
        }
        barrier();
        for (uint k = 0; k < WORDS; k++) {
            vec2 lefts[EDGE], rights[EDGE];
            [[unroll]] for (uint i = 0; i < EDGE; i++) lefts[i] = both(left[k][down + 16 * i]);
            [[unroll]] for (uint j = 0; j < EDGE; j++) rights[j] = both(right[k][over + 16 * j]);
            [[unroll]] for (uint i = 0; i < EDGE; i++) [[unroll]] for (uint j = 0; j < EDGE; j++) sums[i][j] += dot(lefts[i], rights[j]);
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < EDGE; i++) {
        [[unroll]] for (uint j = 0; j < EDGE; j++) {
            uint r = row + down + 16 * i, c = column + over + 16 * j;
            if (r < rows && c < columns) finish(r, c, sums[i][j] * (across != 0 ? scales.at[r] : 1));
        }
    }
}
