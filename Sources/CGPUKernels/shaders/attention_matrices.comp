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
#include "attention.glsl"
// Attention of heads whose size is a multiple of 8, q, k and v in halves (their addresses are taken as those of halves): a
// group takes 64 queries, a subgroup 16 of them, and KEYS keys at a time (Dao et al., "FlashAttention", algorithm 1).
layout(constant_id = 5) const uint SIZE = 128;
layout(constant_id = 6) const uint KEYS = 32;
const uint THREADS = 4 * LANES, QUERIES = 64, LINES = 16, DEPTH = (SIZE + 15) / 16 * 16, PART = SIZE / 8, LINE = DEPTH / 8 + 1;
// Keys of a query that one invocation weighs at a time, and how many such runs there are.
const uint RUN = 16, RUNS = KEYS / RUN, SCORE_LINE = KEYS + 4, WEIGHT_LINE = KEYS / 8 + 1;
shared uvec4 tile[KEYS * LINE], weights[QUERIES * WEIGHT_LINE];
shared float scores[QUERIES * SCORE_LINE], factors[QUERIES * N];
shared float most[QUERIES], total[QUERIES], tops[QUERIES * RUNS], shares[QUERIES * RUNS];
void main() {
    uint t = gl_LocalInvocationIndex, part = gl_SubgroupID * LINES, lane = gl_SubgroupInvocationID;
    uint start = start_query + gl_WorkGroupID.x * QUERIES, head = gl_WorkGroupID.y, item = gl_WorkGroupID.z;
    uint width = heads * PART, key_width = key_heads * PART, own_head = head * key_heads / heads * PART;
    Quads all_q = Quads(q), all_k = Quads(k), all_v = Quads(v);
    LEFT own[LINES / M][DEPTH / K];
    [[unroll]] for (uint i = 0; i < LINES / M; i++) {
        [[unroll]] for (uint c = 0; c < DEPTH / K; c++) {
            coopMatLoad(own[i][c], all_q.at, (item * queries + start + part + M * i) * width + head * PART + c * K / 8, width, BY_ROWS);
        }
    }
    SUMS sums[LINES / M][DEPTH / N];
    [[unroll]] for (uint i = 0; i < LINES / M; i++) [[unroll]] for (uint c = 0; c < DEPTH / N; c++) sums[i][c] = SUMS(0.0);
    for (uint line = t; line < QUERIES; line += THREADS) {
        most[line] = -3.402823e38;
        total[line] = 0;
    }
    uint last = 0;
    // All go as far as the one that sees most.
    for (uint row = start; row < min(start + QUERIES, queries); row++) last = max(last, seen_keys(item, row));
    for (uint first = 0; first < last; first += KEYS) {
        barrier();
        for (uint i = t; i < KEYS * (LINE - 1); i += THREADS) {
            uint key = first + i / (LINE - 1), c = i % (LINE - 1);
            bool is_there = key < last && c < PART;
            tile[i / (LINE - 1) * LINE + c] = is_there ? all_k.at[(item * keys + key) * key_width + own_head + c] : uvec4(0);
        }
        barrier();
        [[unroll]] for (uint j = 0; j < KEYS / N; j++) {
            SUMS products[LINES / M];
            [[unroll]] for (uint i = 0; i < LINES / M; i++) products[i] = SUMS(0.0);
            [[unroll]] for (uint c = 0; c < DEPTH / K; c++) {
                RIGHT one;
                coopMatLoad(one, tile, j * N * LINE + c * K / 8, LINE, BY_COLUMNS);
                [[unroll]] for (uint i = 0; i < LINES / M; i++) products[i] = coopMatMulAdd(own[i][c], one, products[i]);
            }
            [[unroll]] for (uint i = 0; i < LINES / M; i++) {
                coopMatStore(products[i], scores, (part + M * i) * SCORE_LINE + j * N, SCORE_LINE, BY_ROWS);
            }
        }
        barrier();
        for (uint i = t; i < KEYS * (LINE - 1); i += THREADS) {
            uint key = first + i / (LINE - 1), c = i % (LINE - 1);
            bool is_there = key < last && c < PART;
            tile[i / (LINE - 1) * LINE + c] = is_there ? all_v.at[(item * keys + key) * key_width + own_head + c] : uvec4(0);
        }
        for (uint run = lane; run < LINES * RUNS; run += LANES) {
            uint line = part + run / RUNS, place = run % RUNS * RUN, query = start + line;
            uint count = query < queries ? seen_keys(item, query) : 0;
            float top = -3.402823e38;
            for (uint j = place; j < place + RUN; j++) {
                float score = -1 / 0.0;
                if (first + j < count) score = scores[line * SCORE_LINE + j] * scale + added(head, query, first + j);
                scores[line * SCORE_LINE + j] = score;
                top = isnan(score) ? score : max(top, score);
            }
            tops[line * RUNS + run % RUNS] = top;
        }
        barrier();
        for (uint run = lane; run < LINES * RUNS; run += LANES) {
            uint line = part + run / RUNS, place = run % RUNS * RUN;
            float top = most[line], share = 0;
            for (uint i = 0; i < RUNS; i++) {
                float other = tops[line * RUNS + i];
                top = isnan(other) ? other : max(top, other);
            }
            for (uint j = place; j < place + RUN; j += 8) {
                float eight[8];
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    eight[i] = exp(scores[line * SCORE_LINE + j + i] - top);
                    share += eight[i];
                }
                uvec4 four;
                [[unroll]] for (uint i = 0; i < 4; i++) four[i] = packed(eight[2 * i], eight[2 * i + 1], IS_BFLOAT);
                weights[line * WEIGHT_LINE + j / 8] = four;
            }
            shares[line * RUNS + run % RUNS] = share;
        }
        barrier();
        for (uint i = lane; i < LINES * N; i += LANES) {
            uint line = part + i / N;
            float top = most[line];
            for (uint j = 0; j < RUNS; j++) {
                float other = tops[line * RUNS + j];
                top = isnan(other) ? other : max(top, other);
            }
            factors[line * N + i % N] = exp(most[line] - top);
        }
        barrier();
        for (uint i = lane; i < LINES; i += LANES) {
            uint line = part + i;
            float share = 0;
            for (uint j = 0; j < RUNS; j++) {
                float other = tops[line * RUNS + j];
                most[line] = isnan(other) ? other : max(most[line], other);
                share += shares[line * RUNS + j];
            }
            total[line] = total[line] * factors[line * N] + share;
        }
        [[unroll]] for (uint i = 0; i < LINES / M; i++) {
            SUMS factor;
            coopMatLoad(factor, factors, (part + M * i) * N, N, BY_ROWS);
            [[unroll]] for (uint c = 0; c < DEPTH / N; c++) sums[i][c] *= factor;
            [[unroll]] for (uint k = 0; k < KEYS; k += K) {
                LEFT weight;
                coopMatLoad(weight, weights, (part + M * i) * WEIGHT_LINE + k / 8, WEIGHT_LINE, BY_ROWS);
                [[unroll]] for (uint c = 0; c < DEPTH / N; c++) {
                    RIGHT one;
                    coopMatLoad(one, tile, k * LINE + c * N / 8, LINE, BY_ROWS);
                    sums[i][c] = coopMatMulAdd(weight, one, sums[i][c]);
                }
            }
        }
    }
    [[unroll]] for (uint c = 0; c < DEPTH / N; c++) {
        barrier();
        [[unroll]] for (uint i = 0; i < LINES / M; i++) coopMatStore(sums[i][c], factors, (part + M * i) * N, N, BY_ROWS);
        barrier();
        for (uint i = lane; i < LINES * N; i += LANES) {
            uint line = part + i / N, query = start + line, column = c * N + i % N;
            if (query >= end_query || column >= SIZE) continue;
            float sum = factors[line * N + i % N];
            result.at[(item * queries + query) * heads * SIZE + head * SIZE + column] = total[line] == 0 ? 0 : sum / total[line];
        }
    }
}
