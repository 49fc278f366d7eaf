#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "convolution.glsl"
// Convolution over a timeline of frames, in which 0 is a frame of zeros. An invocation makes eight channels of a place.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;
const uint OUTPUTS = 8;
void main() {
    uint area = out_height * out_width, place = start_place + gl_WorkGroupID.x * 64 + gl_LocalInvocationIndex;
    if (place >= area) return;
    uint output_channel = gl_WorkGroupID.y * OUTPUTS, time = start_time + gl_WorkGroupID.z;
    int y = int(place / out_width * step_down) - int(before), x = int(place % out_width * step_across) - int(before);
    float sums[OUTPUTS];
    uint rows[OUTPUTS];
    uint per_output = channels * taps_time * taps_down * taps_across;
    [[unroll]] for (uint i = 0; i < OUTPUTS; i++) {
        sums[i] = 0;
        rows[i] = first + min(output_channel + i, outputs - 1) * per_output;
    }
    for (uint dt = 0; dt < taps_time; dt++) {
        uint frame = time * step_time + dt;
        if (present.at[frame] == 0) continue;
        Floats source = timeline.at[frame];
        for (uint c = 0; c < channels; c++) {
            for (uint dy = 0; dy < taps_down; dy++) {
                int row = y + int(dy);
                bool is_inside = row >= 0 && row < int(height);
                if ((has & EDGE) != 0) row = clamp(row, 0, int(height) - 1);
                else if (!is_inside) continue;
                for (uint dx = 0; dx < taps_across; dx++) {
                    int column = x + int(dx);
                    is_inside = column >= 0 && column < int(width);
                    column = clamp(column, 0, int(width) - 1);
                    float value = source.at[(c * height + uint(row)) * width + uint(column)];
                    if ((has & EDGE) == 0 && !is_inside) value = 0;
                    uint tap = ((c * taps_time + dt) * taps_down + dy) * taps_across + dx;
                    [[unroll]] for (uint i = 0; i < OUTPUTS; i++) sums[i] += value * stored(w, TYPE, rows[i] + tap);
                }
            }
        }
    }
    for (uint i = 0; i < OUTPUTS && output_channel + i < outputs; i++) {
        uint target = (time * outputs + output_channel + i) * area + place;
        float value = sums[i];
        if ((has & RESIDUAL) != 0) value += residual.at[target];
        if ((has & BIAS) != 0) value += bias.at[output_channel + i];
        result.at[target] = value;
    }
}
