#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Layer norm or RMS norm of rows, with gains, and with scale and shift of their run of rows. A group takes a row.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint IS_RMS = 0;
const uint WEIGHT = 1, BIAS = 2, SCALE = 4, SHIFT = 8;
layout(push_constant, scalar) uniform Arguments {
    Floats x, result, weight, bias, scale, shift;
    Words ends;
    uint rows, width, scale_stride, shift_stride, run_length, run_count, has;
    float epsilon;
};
shared float sums[256];
float sum_of_all(float value) {
    uint t = gl_LocalInvocationIndex;
    sums[t] = value;
    barrier();
    for (uint half_size = gl_WorkGroupSize.x / 2; half_size > 0; half_size /= 2) {
        if (t < half_size) sums[t] += sums[t + half_size];
        barrier();
    }
    float sum = sums[0];
    barrier();
    return sum;
}
void main() {
    uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex, step = gl_WorkGroupSize.x;
    if (row >= rows) return;
    uint start = row * width;
    float mean = 0, sum = 0;
    if (IS_RMS == 0) {
        for (uint c = t; c < width; c += step) sum += x.at[start + c];
        mean = sum_of_all(sum) / float(width);
    }
    sum = 0;
    for (uint c = t; c < width; c += step) {
        float difference = x.at[start + c] - mean;
        sum += difference * difference;
    }
    float factor = 1 / sqrt(sum_of_all(sum) / float(width) + epsilon);
    uint run = (has & (SCALE | SHIFT)) != 0 ? run_of(row, run_length, run_count, ends) : 0;
    for (uint c = t; c < width; c += step) {
        float value = (x.at[start + c] - mean) * factor;
        if ((has & WEIGHT) != 0) value *= weight.at[c];
        if ((has & BIAS) != 0) value += bias.at[c];
        if ((has & SCALE) != 0) value *= 1 + scale.at[run * scale_stride + c];
        if ((has & SHIFT) != 0) value += shift.at[run * shift_stride + c];
        result.at[start + c] = value;
    }
}
