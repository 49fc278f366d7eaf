#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention.glsl"
// Attention through shared memory: a group of 128 takes 32 queries (fewer of large heads), four invocations each.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint SIZE = 64;
layout(constant_id = 1) const uint QUERIES = 32;
layout(constant_id = 2) const uint KEYS = 16;
const uint PARTS = 128 / QUERIES, SHARE = (SIZE + PARTS - 1) / PARTS;
shared float own[QUERIES][SIZE + 1], tile[KEYS][SIZE + 1], scores[QUERIES][KEYS + 1];
void main() {
    uint t = gl_LocalInvocationIndex, line = t / PARTS, part = t % PARTS;
    uint start = start_query + gl_WorkGroupID.x * QUERIES, query = start + line, head = gl_WorkGroupID.y, item = gl_WorkGroupID.z;
    uint width = heads * SIZE, key_width = key_heads * SIZE, base = item * queries * width + head * SIZE;
    uint origin = item * keys * key_width + head * key_heads / heads * SIZE;
    for (uint i = t; i < QUERIES * SIZE; i += 128) {
        uint row = start + i / SIZE;
        own[i / SIZE][i % SIZE] = row < queries ? q.at[base + row * width + i % SIZE] * scale : 0;
    }
    float sums[SHARE];
    for (uint i = 0; i < SHARE; i++) sums[i] = 0;
    float most = -3.402823e38, total = 0;
    uint count = query < queries ? seen_keys(item, query) : 0, last = 0;
    // All go as far as the one that sees most.
    for (uint row = start; row < min(start + QUERIES, queries); row++) last = max(last, seen_keys(item, row));
    for (uint first = 0; first < last; first += KEYS) {
        barrier();
        for (uint i = t; i < KEYS * SIZE; i += 128) {
            uint key = first + i / SIZE;
            tile[i / SIZE][i % SIZE] = key < last ? k.at[origin + key * key_width + i % SIZE] : 0;
        }
        barrier();
        for (uint j = part; j < KEYS; j += PARTS) {
            float score = -1 / 0.0;
            if (first + j < count) {
                score = 0;
                for (uint c = 0; c < SIZE; c++) score += own[line][c] * tile[j][c];
                score += added(head, query, first + j);
            }
            scores[line][j] = score;
        }
        barrier();
        for (uint i = t; i < KEYS * SIZE; i += 128) {
            uint key = first + i / SIZE;
            tile[i / SIZE][i % SIZE] = key < last ? v.at[origin + key * key_width + i % SIZE] : 0;
        }
        float top = most;
        for (uint j = 0; j < KEYS; j++) top = isnan(scores[line][j]) ? scores[line][j] : max(top, scores[line][j]);
        float factor = exp(most - top);
        most = top;
        total *= factor;
        for (uint i = 0; i < SHARE; i++) sums[i] *= factor;
        barrier();
        for (uint j = 0; j < KEYS && first + j < count; j++) {
            float weight = exp(scores[line][j] - most);
            total += weight;
            for (uint i = 0; i < SHARE && i * PARTS + part < SIZE; i++) sums[i] += weight * tile[j][i * PARTS + part];
        }
    }
    if (query >= end_query) return;
    for (uint i = 0; i < SHARE && i * PARTS + part < SIZE; i++) {
        result.at[base + query * width + i * PARTS + part] = total == 0 ? 0 : sums[i] / total;
    }
}
