#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Sums in a fixed order: of magnitudes or of differences' into one number a group, or of those.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint KIND = 0;
const uint SUM = 0, MAGNITUDE = 1, DIFFERENCE = 2;
layout(push_constant, scalar) uniform Arguments {
    Floats x, y, result;
    uint count, part;
    float factor;
};
shared float sums[256];
void main() {
    uint t = gl_LocalInvocationIndex, start = gl_WorkGroupID.x * part, end = min(start + part, count);
    float sum = 0;
    for (uint i = start + t; i < end; i += 256) {
        sum += KIND == SUM ? x.at[i] : KIND == MAGNITUDE ? abs(x.at[i]) : abs(x.at[i] - y.at[i]);
    }
    sums[t] = sum;
    barrier();
    for (uint half_size = 128; half_size > 0; half_size /= 2) {
        if (t < half_size) sums[t] += sums[t + half_size];
        barrier();
    }
    if (t == 0) result.at[gl_WorkGroupID.x] = sums[0] * factor;
}
