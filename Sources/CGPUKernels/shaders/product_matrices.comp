#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_bfloat16 : require
#include "common.glsl"
#include "finish.glsl"
// x (scale · W)ᵀ on units for matrices of bf16 with float32 sums: a group of eight subgroups makes 128 x 128 results, a
// subgroup 32 x 64 of them. Operands are rounded to bf16 on their way into shared memory, to the nearest, ties to even.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint IS_SCALED = 0;
const uint SIDE = 128, DEPTH = 32, LINE = DEPTH + 8, PART = 16;
shared bfloat16_t left[SIDE * LINE], right[SIDE * LINE];
shared float edge[8 * PART * PART];
void main() {
    uint t = gl_LocalInvocationIndex, part = gl_SubgroupID, lane = gl_SubgroupInvocationID;
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIDE, column = gl_WorkGroupID.x * SIDE;
    if (row >= rows) return;
    uint down = part / 2 * 32, over = part % 2 * 64;
    coopmat<float, gl_ScopeSubgroup, PART, PART, gl_MatrixUseAccumulator> sums[2][4];
    [[unroll]] for (uint i = 0; i < 2; i++) [[unroll]] for (uint j = 0; j < 4; j++) {
        sums[i][j] = coopmat<float, gl_ScopeSubgroup, PART, PART, gl_MatrixUseAccumulator>(0.0);
    }
    for (uint origin = 0; origin < depth; origin += DEPTH) {
        for (uint i = t; i < SIDE * DEPTH; i += 256) {
            uint line = i / DEPTH, k = origin + i % DEPTH;
            float a = row + line < rows && k < depth ? x.at[(row + line) * depth + k] : 0, b = 0;
            if (column + line < columns && k < depth) {
                b = stored(w, TYPE, first + (column + line) * depth + k);
                if (IS_SCALED != 0) b *= scales.at[(column + line) * across + k / block];
            }
            left[line * LINE + i % DEPTH] = bfloat16_t(a);
            right[line * LINE + i % DEPTH] = bfloat16_t(b);
        }
        barrier();
        [[unroll]] for (uint k = 0; k < DEPTH; k += PART) {
            coopmat<bfloat16_t, gl_ScopeSubgroup, PART, PART, gl_MatrixUseA> a[2];
            [[unroll]] for (uint i = 0; i < 2; i++) {
                coopMatLoad(a[i], left, (down + PART * i) * LINE + k, LINE, gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint j = 0; j < 4; j++) {
                coopmat<bfloat16_t, gl_ScopeSubgroup, PART, PART, gl_MatrixUseB> b;
                coopMatLoad(b, right, (over + PART * j) * LINE + k, LINE, gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0; i < 2; i++) sums[i][j] = coopMatMulAdd(a[i], b, sums[i][j]);
            }
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < 2; i++) {
        [[unroll]] for (uint j = 0; j < 4; j++) {
            coopMatStore(sums[i][j], edge, part * PART * PART, PART, gl_CooperativeMatrixLayoutRowMajor);
            barrier();
            for (uint e = lane; e < PART * PART; e += gl_SubgroupSize) {
                uint r = row + down + PART * i + e / PART, c = column + over + PART * j + e % PART;
                if (r < rows && c < columns) finish(r, c, edge[part * PART * PART + e]);
            }
            barrier();
        }
    }
}
