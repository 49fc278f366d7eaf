#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// What a place in one frame gives to itself in the others: 1 less its weight on its own frame, by frame, place and head.
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Arguments {
    Floats q, k, result;
    uint count, frames, places, heads, size;
    float scale;
};
float score(uint query, uint key) {
    float sum = 0;
    for (uint c = 0; c < size; c++) sum += q.at[query + c] * k.at[key + c];
    return sum * scale;
}
void main() {
    uint i = invocation();
    if (i >= count) return;
    uint head = i % heads, place = i / heads % places, frame = i / heads / places % frames, item = i / heads / places / frames;
    uint step = places * heads * size, start = item * frames * step + (place * heads + head) * size;
    float own = score(start + frame * step, start + frame * step), most = own;
    for (uint other = 0; other < frames; other++) most = max(most, score(start + frame * step, start + other * step));
    float sum = 0;
    for (uint other = 0; other < frames; other++) sum += exp(score(start + frame * step, start + other * step) - most);
    result.at[i] = 1 - exp(own - most) / sum;
}
