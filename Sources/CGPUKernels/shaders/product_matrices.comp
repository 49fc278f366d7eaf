#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_bfloat16 : require
#include "common.glsl"
#include "packing.glsl"
#include "matrices.glsl"
#include "finish.glsl"
// x Wᵀ of rows in halves, `depth` numbers each, a multiple of 32: a group makes ROWS x COLUMNS results, a quarter of them by
// each of its subgroups. `scales` are factors of the rows of x, where `across` is not 0.
layout(constant_id = 5) const uint ROWS = 128;
layout(constant_id = 6) const uint COLUMNS = 128;
const uint THREADS = 4 * LANES, DOWN = ROWS / 2, OVER = COLUMNS / 2, DEPTH = 32, PART = DEPTH / 8, LINE = PART + 1;
const uint LEFTS = (ROWS * PART + THREADS - 1) / THREADS, RIGHTS = (COLUMNS * PART + THREADS - 1) / THREADS;
shared uvec4 left[ROWS * LINE], right[COLUMNS * LINE];
shared float edge[4 * M * N];
void main() {
    uint t = gl_LocalInvocationIndex, part = gl_SubgroupID, lane = gl_SubgroupInvocationID;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * ROWS, column = gl_WorkGroupID.x * COLUMNS;
    if (row >= rows) return;
    Quads a = Quads(x), b = Quads(w);
    uint pitch = depth / 8, begin = first / 8, down = part / 2 * DOWN, over = part % 2 * OVER;
    uvec4 next_left[LEFTS], next_right[RIGHTS];
    SUMS sums[DOWN / M][OVER / N];
    [[unroll]] for (uint i = 0; i < DOWN / M; i++) [[unroll]] for (uint j = 0; j < OVER / N; j++) sums[i][j] = SUMS(0.0);
    for (uint origin = 0; origin <= pitch; origin += PART) {
        // While a part is multiplied, the next one is on its way.
        if (origin < pitch) {
            [[unroll]] for (uint i = 0; i < LEFTS; i++) {
                uint at = t + i * THREADS;
                if (at < ROWS * PART) next_left[i] = a.at[min(row + at / PART, rows - 1) * pitch + origin + at % PART];
            }
            [[unroll]] for (uint i = 0; i < RIGHTS; i++) {
                uint at = t + i * THREADS;
                if (at < COLUMNS * PART) next_right[i] = b.at[begin + min(column + at / PART, columns - 1) * pitch + origin + at % PART];
            }
        }
        if (origin > 0) {
            [[unroll]] for (uint k = 0; k < DEPTH; k += K) {
                LEFT lefts[DOWN / M];
                [[unroll]] for (uint i = 0; i < DOWN / M; i++) coopMatLoad(lefts[i], left, (down + M * i) * LINE + k / 8, LINE, BY_ROWS);
                [[unroll]] for (uint j = 0; j < OVER / N; j++) {
                    RIGHT one;
                    coopMatLoad(one, right, (over + N * j) * LINE + k / 8, LINE, BY_COLUMNS);
                    [[unroll]] for (uint i = 0; i < DOWN / M; i++) sums[i][j] = coopMatMulAdd(lefts[i], one, sums[i][j]);
                }
            }
        }
        barrier();
        if (origin < pitch) {
            [[unroll]] for (uint i = 0; i < LEFTS; i++) {
                uint at = t + i * THREADS;
                if (at < ROWS * PART) left[at / PART * LINE + at % PART] = next_left[i];
            }
            [[unroll]] for (uint i = 0; i < RIGHTS; i++) {
                uint at = t + i * THREADS;
                if (at < COLUMNS * PART) right[at / PART * LINE + at % PART] = next_right[i];
            }
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < DOWN / M; i++) {
        [[unroll]] for (uint j = 0; j < OVER / N; j++) {
            coopMatStore(sums[i][j], edge, part * M * N, N, BY_ROWS);
            barrier();
            for (uint e = lane; e < M * N; e += LANES) {
                uint r = row + down + M * i + e / N, c = column + over + N * j + e % N;
                if (r < rows && c < columns) finish(r, c, edge[part * M * N + e] * (across != 0 ? scales.at[r] : 1));
            }
            barrier();
        }
    }
}
