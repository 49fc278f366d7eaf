#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "packing.glsl"
// Numbers `[items, channels, places]` as halves `[items, places, pitch]`: the channels of a place side by side, with zeros
// after them. An invocation writes eight.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint IS_BFLOAT = 0;
layout(push_constant, scalar) uniform Arguments {
    Words x;
    Quads result;
    uint first, count, channels, places, pitch;
};
float value(uint item, uint channel, uint place) {
    return channel < channels ? stored(x, TYPE, first + (item * channels + channel) * places + place) : 0;
}
void main() {
    uint i = invocation();
    if (i >= count) return;
    uint place = i % places, chunks = pitch / 8, chunk = i / places % chunks, item = i / places / chunks;
    uvec4 four;
    [[unroll]] for (uint j = 0; j < 4; j++) {
        uint c = 8 * chunk + 2 * j;
        four[j] = packed(value(item, c, place), value(item, c + 1, place), IS_BFLOAT != 0);
    }
    result.at[(item * places + place) * chunks + chunk] = four;
}
