#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention.glsl"
// Attention for drivers whose groups are loops of a processor. An invocation takes a query, and keys by eights.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint SIZE = 64;
const uint KEYS = 8;
void main() {
    uint query = start_query + gl_WorkGroupID.x * 8 + gl_LocalInvocationIndex, head = gl_WorkGroupID.y, item = gl_WorkGroupID.z;
    if (query >= end_query) return;
    uint width = heads * SIZE, key_width = key_heads * SIZE, start = (item * queries + query) * width + head * SIZE;
    uint origin = item * keys * key_width + head * key_heads / heads * SIZE;
    float own[SIZE], sums[SIZE];
    for (uint c = 0; c < SIZE; c++) {
        own[c] = q.at[start + c] * scale;
        sums[c] = 0;
    }
    float most = -3.402823e38, total = 0;
    uint count = seen_keys(item, query);
    for (uint first = 0; first < count; first += KEYS) {
        float scores[KEYS], top = most;
        for (uint j = 0; j < KEYS; j++) {
            if (first + j >= count) {
                scores[j] = -1 / 0.0;
                continue;
            }
            uint place = origin + (first + j) * key_width;
            float score = 0;
            for (uint c = 0; c < SIZE; c++) score += own[c] * k.at[place + c];
            scores[j] = score + added(head, query, first + j);
            top = isnan(scores[j]) ? scores[j] : max(top, scores[j]);
        }
        float factor = exp(most - top);
        most = top;
        total *= factor;
        for (uint c = 0; c < SIZE; c++) sums[c] *= factor;
        for (uint j = 0; j < KEYS && first + j < count; j++) {
            float weight = exp(scores[j] - most);
            total += weight;
            uint place = origin + (first + j) * key_width;
            for (uint c = 0; c < SIZE; c++) sums[c] += weight * v.at[place + c];
        }
    }
    for (uint c = 0; c < SIZE; c++) result.at[start + c] = total == 0 ? 0 : sums[c] / total;
}
