#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_NV_cooperative_matrix2 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_bfloat16 : require
#include "common.glsl"
#include "groups.glsl"
#include "finish.glsl"
// x Wᵀ of rows in halves, `depth` numbers each, a multiple of 32: a group makes ROWS x COLUMNS results. `scales` are factors of
// the rows of x, where `across` is not 0.
layout(constant_id = 0) const uint ROWS = 128;
layout(constant_id = 1) const uint COLUMNS = 128;
const uint DEPTH = 32;
float finished(const in uint r, const in uint c, const in float sum, const in uint row, const in uint column) {
    if (row + r < rows && column + c < columns) finish(row + r, column + c, sum * (across != 0 ? scales.at[row + r] : 1));
    return sum;
}
void main() {
    uint row = start + (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * ROWS, column = gl_WorkGroupID.x * COLUMNS;
    if (row >= rows) return;
    Halves a = Halves(x), b = Halves(w);
    tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> lefts = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
    tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> rights = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
    lefts = setTensorLayoutDimensionNV(lefts, rows, depth);
    rights = setTensorLayoutDimensionNV(rights, columns, depth);
    tensorViewNV<2, false, 1, 0> turned = createTensorViewNV(2, false, 1, 0);
    SUMS(ROWS, COLUMNS) sums = SUMS(ROWS, COLUMNS)(0.0);
    [[dont_unroll]] for (uint k = 0; k < depth; k += DEPTH) {
        LEFT(ROWS, DEPTH) left;
        RIGHT(DEPTH, COLUMNS) right;
        coopMatLoadTensorNV(left, a.at, 0, sliceTensorLayoutNV(lefts, row, ROWS, k, DEPTH));
        coopMatLoadTensorNV(right, b.at, first, sliceTensorLayoutNV(rights, column, COLUMNS, k, DEPTH), turned);
        sums = coopMatMulAdd(left, right, sums);
    }
    coopMatPerElementNV(sums, sums, finished, row, column);
}
