#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "convolution.glsl"
// Convolution over a timeline of frames, for drivers whose groups are loops of a processor. An invocation makes four channels of
// four places side by side; ACROSS is 3 for kernels of that width in steps of one, which need each number of a line once.
layout(local_size_x = 16) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint ACROSS = 0;
const uint SIDE = 4;
void main() {
    uint lines = (out_width + SIDE - 1) / SIDE, number = start_place + gl_WorkGroupID.x * 16 + gl_LocalInvocationIndex;
    if (number >= lines * out_height) return;
    uint output_channel = gl_WorkGroupID.y * SIDE, time = start_time + gl_WorkGroupID.z;
    uint out_row = number / lines, out_column = number % lines * SIDE;
    int y = int(out_row * step_down) - int(before), x = int(out_column * step_across) - int(before);
    float sums[SIDE][SIDE];
    uint rows[SIDE], per_output = channels * taps_time * taps_down * taps_across;
    [[unroll]] for (uint i = 0; i < SIDE; i++) {
        rows[i] = first + min(output_channel + i, outputs - 1) * per_output;
        [[unroll]] for (uint j = 0; j < SIDE; j++) sums[i][j] = 0;
    }
    for (uint dt = 0; dt < taps_time; dt++) {
        uint frame = time * step_time + dt;
        if (present.at[frame] == 0) continue;
        Floats source = timeline.at[frame];
        for (uint dy = 0; dy < taps_down; dy++) {
            int row = y + int(dy);
            bool is_inside = row >= 0 && row < int(height);
            if (!is_inside && (has & EDGE) == 0) continue;
            uint line = uint(clamp(row, 0, int(height) - 1)) * width;
            if (ACROSS == 3) {
                uint places[SIDE + 2];
                float masks[SIDE + 2];
                [[unroll]] for (uint j = 0; j < SIDE + 2; j++) {
                    int column = x + int(j);
                    masks[j] = (has & EDGE) != 0 || (column >= 0 && column < int(width)) ? 1 : 0;
                    places[j] = line + uint(clamp(column, 0, int(width) - 1));
                }
                for (uint c = 0; c < channels; c++) {
                    float values[SIDE + 2];
                    [[unroll]] for (uint j = 0; j < SIDE + 2; j++) {
                        values[j] = masks[j] != 0 ? source.at[c * height * width + places[j]] : 0;
                    }
                    uint tap = ((c * taps_time + dt) * taps_down + dy) * 3;
                    [[unroll]] for (uint i = 0; i < SIDE; i++) {
                        [[unroll]] for (uint dx = 0; dx < 3; dx++) {
                            float weight = stored(w, TYPE, rows[i] + tap + dx);
                            [[unroll]] for (uint j = 0; j < SIDE; j++) sums[i][j] += values[j + dx] * weight;
                        }
                    }
                }
            } else {
                for (uint dx = 0; dx < taps_across; dx++) {
                    uint places[SIDE];
                    float masks[SIDE];
                    [[unroll]] for (uint j = 0; j < SIDE; j++) {
                        int column = x + int(j * step_across + dx);
                        masks[j] = (has & EDGE) != 0 || (column >= 0 && column < int(width)) ? 1 : 0;
                        places[j] = line + uint(clamp(column, 0, int(width) - 1));
                    }
                    for (uint c = 0; c < channels; c++) {
                        float values[SIDE];
                        [[unroll]] for (uint j = 0; j < SIDE; j++) {
                            values[j] = masks[j] != 0 ? source.at[c * height * width + places[j]] : 0;
                        }
                        uint tap = ((c * taps_time + dt) * taps_down + dy) * taps_across + dx;
                        [[unroll]] for (uint i = 0; i < SIDE; i++) {
                            float weight = stored(w, TYPE, rows[i] + tap);
                            [[unroll]] for (uint j = 0; j < SIDE; j++) sums[i][j] += values[j] * weight;
                        }
                    }
                }
            }
        }
    }
    for (uint i = 0; i < SIDE && output_channel + i < outputs; i++) {
        for (uint j = 0; j < SIDE && out_column + j < out_width; j++) {
            uint target = ((time * outputs + output_channel + i) * out_height + out_row) * out_width + out_column + j;
            float value = sums[i][j];
            if ((has & RESIDUAL) != 0) value += residual.at[target];
            if ((has & BIAS) != 0) value += bias.at[output_channel + i];
            result.at[target] = value;
        }
    }
}
