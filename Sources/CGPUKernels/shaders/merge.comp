#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Mean and variance of each group over all its runs, of equal length, that lie `groups` apart (Chan et al. 1979).
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Arguments {
    Floats moments, result;
    uint runs, groups, length;
};
void main() {
    uint group = invocation();
    if (group >= groups) return;
    float mean = 0, deviation = 0, seen = 0;
    for (uint run = group; run < runs; run += groups) {
        float difference = moments.at[2 * run] - mean;
        mean += difference / (seen + 1);
        deviation += moments.at[2 * run + 1] + difference * difference * float(length) * (seen / (seen + 1));
        seen += 1;
    }
    result.at[2 * group] = mean;
    result.at[2 * group + 1] = deviation / (seen * float(length));
}
