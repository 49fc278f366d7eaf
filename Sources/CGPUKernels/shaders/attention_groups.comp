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
#include "attention.glsl"
// Attention of q, k and v in halves (their addresses are taken as those of halves): a group takes 64 queries, and KEYS keys at a
// time (Dao et al., "FlashAttention", algorithm 1).
layout(constant_id = 0) const uint SIZE = 128;
layout(constant_id = 1) const uint KEYS = 64;
const uint QUERIES = 64, DEPTH = (SIZE + 31) / 32 * 32;
const float NONE_SEEN = -3.402823e38;
float scored(const in uint r, const in uint c, const in float product, const in uint query, const in uint key, const in uint head, const in uint item) {
    uint row = query + r, column = key + c;
    return row < queries && column < seen_keys(item, row) ? product * scale + added(head, row, column) : NONE_SEEN;
}
float larger(const in float a, const in float b) { return isnan(a) ? a : isnan(b) ? b : max(a, b); }
float larger_of(const in uint r, const in uint c, const in float a, const in float b) { return larger(a, b); }
float sum_of(const in float a, const in float b) { return a + b; }
float either(const in float a, const in float b) { return a; }
float exponential(const in uint r, const in uint c, const in float a) { return exp(a); }
// What is not seen has no weight, also where nothing is seen.
float weight_of(const in uint r, const in uint c, const in float score, const in float most) {
    return score == NONE_SEEN ? 0 : exp(score - most);
}
float written(const in uint r, const in uint c, const in float sum, const in float total, const in uint query, const in uint head, const in uint item) {
    uint row = query + r;
    if (row < end_query && c < SIZE) result.at[(item * queries + row) * heads * SIZE + head * SIZE + c] = total == 0 ? 0 : sum / total;
    return sum;
}
void main() {
    uint query = start_query + gl_WorkGroupID.x * QUERIES, head = gl_WorkGroupID.y, item = gl_WorkGroupID.z;
    uint own_head = head * key_heads / heads, query_base = item * queries * heads * SIZE, key_base = item * keys * key_heads * SIZE;
    Halves all_q = Halves(q), all_k = Halves(k), all_v = Halves(v);
    tensorLayoutNV<3, gl_CooperativeMatrixClampModeConstantNV> of_queries = createTensorLayoutNV(3, gl_CooperativeMatrixClampModeConstantNV);
    tensorLayoutNV<3, gl_CooperativeMatrixClampModeConstantNV> of_keys = createTensorLayoutNV(3, gl_CooperativeMatrixClampModeConstantNV);
    of_queries = setTensorLayoutDimensionNV(of_queries, queries, heads, SIZE);
    of_keys = setTensorLayoutDimensionNV(of_keys, keys, key_heads, SIZE);
    tensorViewNV<3, false, 2, 0, 1> turned = createTensorViewNV(3, false, 2, 0, 1);
    LEFT(QUERIES, DEPTH) own;
    coopMatLoadTensorNV(own, all_q.at, query_base, sliceTensorLayoutNV(of_queries, query, QUERIES, head, 1, 0, DEPTH));
    SUMS(QUERIES, DEPTH) sums = SUMS(QUERIES, DEPTH)(0.0);
    SUMS(QUERIES, KEYS) most = SUMS(QUERIES, KEYS)(NONE_SEEN), total = SUMS(QUERIES, KEYS)(0.0);
    uint last = 0;
    // All go as far as the one that sees most.
    for (uint row = query; row < min(query + QUERIES, queries); row++) last = max(last, seen_keys(item, row));
    [[dont_unroll]] for (uint first = 0; first < last; first += KEYS) {
        RIGHT(DEPTH, KEYS) key;
        coopMatLoadTensorNV(key, all_k.at, key_base, sliceTensorLayoutNV(of_keys, first, KEYS, own_head, 1, 0, DEPTH), turned);
        SUMS(QUERIES, KEYS) scores = coopMatMulAdd(own, key, SUMS(QUERIES, KEYS)(0.0));
        coopMatPerElementNV(scores, scores, scored, query, first, head, item);
        SUMS(QUERIES, KEYS) top, shares, weights, factor;
        coopMatReduceNV(top, scores, gl_CooperativeMatrixReduceRowNV, larger);
        coopMatPerElementNV(top, top, larger_of, most);
        coopMatPerElementNV(weights, scores, weight_of, top);
        coopMatPerElementNV(factor, most - top, exponential);
        coopMatReduceNV(shares, weights, gl_CooperativeMatrixReduceRowNV, sum_of);
        total = factor * total + shares;
        most = top;
        SUMS(QUERIES, DEPTH) wide;
        coopMatReduceNV(wide, factor, gl_CooperativeMatrixReduceRowNV, either);
        RIGHT(KEYS, DEPTH) value;
        coopMatLoadTensorNV(value, all_v.at, key_base, sliceTensorLayoutNV(of_keys, first, KEYS, own_head, 1, 0, DEPTH));
        sums = coopMatMulAdd(LEFT(QUERIES, KEYS)(weights), value, wide * sums);
    }
    SUMS(QUERIES, DEPTH) all;
    coopMatReduceNV(all, total, gl_CooperativeMatrixReduceRowNV, either);
    coopMatPerElementNV(sums, sums, written, all, query, head, item);
}
