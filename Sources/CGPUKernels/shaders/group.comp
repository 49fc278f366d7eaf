#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// The second half of a group norm, then a pointwise function.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint FUNCTION = 0;
layout(push_constant, scalar) uniform Arguments {
    Floats x, result, statistics, weight, bias;
    // `frame_groups`: how far the statistics of frames are apart, 0 where all frames have the same.
    uint count, area, channels, per_group, frame_groups;
    float epsilon;
};
void main() {
    uint i = invocation();
    if (i >= count) return;
    uint plane = i / area, channel = plane % channels;
    uint place = 2 * (plane / channels * frame_groups + channel / per_group);
    float gain = weight.at[channel] / sqrt(statistics.at[place + 1] + epsilon);
    result.at[i] = activated((x.at[i] - statistics.at[place]) * gain + bias.at[channel], FUNCTION);
}
