#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention.glsl"
// Attention for drivers whose groups are loops of a processor. An invocation takes two queries, and keys by eights.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint SIZE = 64;
const uint KEYS = 8, QUERIES = 2, RUNS = (SIZE + 3) / 4;
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Runs { vec4 at[]; };
// Four numbers of a head, as far as there are so many.
vec4 run_of(Floats numbers, uint head_start, uint run) {
    if (SIZE % 4 == 0) return Runs(numbers).at[head_start / 4 + run];
    vec4 four;
    [[unroll]] for (uint i = 0; i < 4; i++) four[i] = 4 * run + i < SIZE ? numbers.at[head_start + 4 * run + i] : 0;
    return four;
}
void main() {
    uint query = start_query + (gl_WorkGroupID.x * 8 + gl_LocalInvocationIndex) * QUERIES, head = gl_WorkGroupID.y, item = gl_WorkGroupID.z;
    if (query >= end_query) return;
    uint width = heads * SIZE, key_width = key_heads * SIZE, starts[QUERIES], counts[QUERIES], count = 0;
    uint origin = item * keys * key_width + head * key_heads / heads * SIZE;
    vec4 own[QUERIES][RUNS], sums[QUERIES][RUNS];
    float most[QUERIES], total[QUERIES];
    [[unroll]] for (uint i = 0; i < QUERIES; i++) {
        // One beyond the last is the last again, and is not written.
        uint row = min(query + i, queries - 1);
        starts[i] = (item * queries + row) * width + head * SIZE;
        counts[i] = seen_keys(item, row);
        count = max(count, counts[i]);
        for (uint c = 0; c < RUNS; c++) {
            own[i][c] = run_of(q, starts[i], c) * scale;
            sums[i][c] = vec4(0);
        }
        most[i] = -3.402823e38;
        total[i] = 0;
    }
    for (uint first = 0; first < count; first += KEYS) {
        float scores[QUERIES][KEYS];
        for (uint j = 0; j < KEYS; j++) {
            uint place = origin + min(first + j, keys - 1) * key_width;
            vec4 products[QUERIES];
            [[unroll]] for (uint i = 0; i < QUERIES; i++) products[i] = vec4(0);
            for (uint c = 0; c < RUNS; c++) {
                vec4 key = run_of(k, place, c);
                [[unroll]] for (uint i = 0; i < QUERIES; i++) products[i] += own[i][c] * key;
            }
            [[unroll]] for (uint i = 0; i < QUERIES; i++) {
                float score = products[i].x + products[i].y + (products[i].z + products[i].w);
                scores[i][j] = first + j < counts[i] ? score + added(head, min(query + i, queries - 1), first + j) : -1 / 0.0;
            }
        }
        [[unroll]] for (uint i = 0; i < QUERIES; i++) {
            float top = most[i];
            for (uint j = 0; j < KEYS; j++) top = isnan(scores[i][j]) ? scores[i][j] : max(top, scores[i][j]);
            float factor = exp(most[i] - top);
            most[i] = top;
            total[i] *= factor;
            for (uint c = 0; c < RUNS; c++) sums[i][c] *= factor;
            for (uint j = 0; j < KEYS; j++) {
                scores[i][j] = first + j < counts[i] ? exp(scores[i][j] - top) : 0;
                total[i] += scores[i][j];
            }
        }
        for (uint j = 0; j < KEYS && first + j < count; j++) {
            uint place = origin + (first + j) * key_width;
            for (uint c = 0; c < RUNS; c++) {
                vec4 value = run_of(v, place, c);
                // A key that is not seen takes no part, whatever its numbers are.
                [[unroll]] for (uint i = 0; i < QUERIES; i++) {
                    if (first + j < counts[i]) sums[i][c] += scores[i][j] * value;
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < QUERIES; i++) {
        if (query + i >= end_query) continue;
        for (uint c = 0; c < SIZE; c++) {
            result.at[starts[i] + c] = total[i] == 0 ? 0 : sums[i][c / 4][c % 4] / total[i];
        }
    }
}
