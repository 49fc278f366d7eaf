#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Rotary position embedding of every head.
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Arguments {
    Floats x, result, cosines, sines;
    // For each place of a head its partner's, and 1 in the lowest bit where the partner counts negative.
    Words partners;
    uint count, tokens, width, size, positions;
};
void main() {
    uint i = invocation();
    if (i >= count) return;
    uint place = i % width % size, row = i / width % tokens % positions * size + place, partner = partners.at[place];
    float other = x.at[i - place + (partner >> 1)];
    result.at[i] = x.at[i] * cosines.at[row] + ((partner & 1) != 0 ? -other : other) * sines.at[row];
}
