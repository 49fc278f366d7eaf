#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Mean and sum of squared deviations of runs of numbers. A group takes a run.
layout(local_size_x = 256) in;
layout(push_constant, scalar) uniform Arguments {
    Floats x, result;
    uint runs, length;
};
shared float sums[256];
float sum_of_all(float value) {
    uint t = gl_LocalInvocationIndex;
    sums[t] = value;
    barrier();
    for (uint half_size = 128; half_size > 0; half_size /= 2) {
        if (t < half_size) sums[t] += sums[t + half_size];
        barrier();
    }
    float sum = sums[0];
    barrier();
    return sum;
}
void main() {
    uint run = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
    if (run >= runs) return;
    uint start = run * length;
    // Differences from a value of the run keep their digits where the mean is far from zero.
    float origin = x.at[start], sum = 0;
    for (uint i = t; i < length; i += 256) sum += x.at[start + i] - origin;
    float mean = origin + sum_of_all(sum) / float(length);
    sum = 0;
    float rest = 0;
    for (uint i = t; i < length; i += 256) {
        float difference = x.at[start + i] - mean;
        sum += difference * difference;
        rest += difference;
    }
    float deviation = sum_of_all(sum), error = sum_of_all(rest);
    if (t == 0) {
        result.at[2 * run] = mean + error / float(length);
        result.at[2 * run + 1] = deviation - error * error / float(length);
    }
}
