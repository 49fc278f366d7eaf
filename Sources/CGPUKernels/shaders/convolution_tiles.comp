#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "convolution.glsl"
// Convolution over a timeline of frames as a product: 64 channels by 64 places, made by 256 invocations through shared
// memory, 4 x 4 each.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
const uint SIDE = 64, DEPTH = 16;
shared float left[DEPTH][SIDE + 4], right[DEPTH][SIDE + 4];
void main() {
    uint area = out_height * out_width, t = gl_LocalInvocationIndex, down = t / 16, over = t % 16;
    uint begin = start_place + gl_WorkGroupID.x * SIDE, start_output = gl_WorkGroupID.y * SIDE, time = start_time + gl_WorkGroupID.z;
    uint taps = taps_down * taps_across, per_frame = channels * taps, per_output = per_frame * taps_time;
    float sums[4][4];
    [[unroll]] for (uint i = 0; i < 4; i++) [[unroll]] for (uint j = 0; j < 4; j++) sums[i][j] = 0;
    uint place = begin + t % SIDE;
    int y = int(place / out_width * step_down) - int(before), x = int(place % out_width * step_across) - int(before);
    for (uint dt = 0; dt < taps_time; dt++) {
        uint frame = time * step_time + dt;
        if (present.at[frame] == 0) continue;
        Floats source = timeline.at[frame];
        for (uint start = 0; start < per_frame; start += DEPTH) {
            for (uint i = t; i < SIDE * DEPTH; i += 256) {
                uint k = start + i % DEPTH, channel = start_output + i / DEPTH;
                left[i % DEPTH][i / DEPTH] = k < per_frame && channel < outputs
                    ? stored(w, TYPE, first + channel * per_output + (k / taps * taps_time + dt) * taps + k % taps) : 0;
            }
            for (uint i = t / SIDE; i < DEPTH; i += 256 / SIDE) {
                uint k = start + i;
                int row = y + int(k % taps / taps_across), column = x + int(k % taps_across);
                bool is_inside = row >= 0 && row < int(height) && column >= 0 && column < int(width);
                float value = 0;
                if (k < per_frame && place < area && (is_inside || (has & EDGE) != 0)) {
                    row = clamp(row, 0, int(height) - 1);
                    column = clamp(column, 0, int(width) - 1);
                    value = source.at[(k / taps * height + uint(row)) * width + uint(column)];
                }
                right[i][t % SIDE] = value;
            }
            barrier();
            for (uint k = 0; k < DEPTH; k++) {
                float a[4], b[4];
                [[unroll]] for (uint i = 0; i < 4; i++) a[i] = left[k][down + 16 * i];
                [[unroll]] for (uint j = 0; j < 4; j++) b[j] = right[k][over + 16 * j];
                [[unroll]] for (uint i = 0; i < 4; i++) [[unroll]] for (uint j = 0; j < 4; j++) sums[i][j] += a[i] * b[j];
            }
            barrier();
        }
    }
    for (uint i = 0; i < 4; i++) {
        uint channel = start_output + down + 16 * i;
        for (uint j = 0; j < 4; j++) {
            uint at = begin + over + 16 * j;
            if (channel >= outputs || at >= area) continue;
            uint target = (time * outputs + channel) * area + at;
            float value = sums[i][j];
            if ((has & RESIDUAL) != 0) value += residual.at[target];
            if ((has & BIAS) != 0) value += bias.at[channel];
            result.at[target] = value;
        }
    }
}
