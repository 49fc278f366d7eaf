#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_bfloat16 : require
#include "common.glsl"
#include "packing.glsl"
#include "matrices.glsl"
#include "convolution.glsl"
// Convolution over a timeline of frames as a product of halves: frames are `[place, channels]`, the weight is
// `[output, tap, channels]`, with zeros after the channels up to a multiple of 32, which `channels` counts. A group makes ROWS
// channels of COLUMNS places, a subgroup a quarter of them.
layout(constant_id = 5) const uint ROWS = 128;
layout(constant_id = 6) const uint COLUMNS = 128;
const uint THREADS = 4 * LANES, DOWN = ROWS / 2, OVER = COLUMNS / 2, DEPTH = 32, PART = DEPTH / 8, LINE = PART + 1;
const uint LEFTS = (ROWS * PART + THREADS - 1) / THREADS, RIGHTS = (COLUMNS * PART + THREADS - 1) / THREADS;
shared uvec4 left[ROWS * LINE], right[COLUMNS * LINE];
shared float edge[4 * M * N];
// The first step from one on whose frame is there.
uint there(uint step, uint each, uint steps, uint time) {
    while (step < steps && present.at[time * step_time + step / each] == 0) step += each - step % each;
    return step;
}
void main() {
    uint area = out_height * out_width, t = gl_LocalInvocationIndex, part = gl_SubgroupID, lane = gl_SubgroupInvocationID;
    uint begin = start_place + gl_WorkGroupID.x * COLUMNS, output_begin = gl_WorkGroupID.y * ROWS, time = start_time + gl_WorkGroupID.z;
    uint taps = taps_down * taps_across, chunks = channels / 8, pitch = taps_time * taps * chunks;
    uint down = part / 2 * DOWN, over = part % 2 * OVER;
    Quads a = Quads(w);
    uvec4 next_left[LEFTS], next_right[RIGHTS];
    SUMS sums[DOWN / M][OVER / N];
    [[unroll]] for (uint i = 0; i < DOWN / M; i++) [[unroll]] for (uint j = 0; j < OVER / N; j++) sums[i][j] = SUMS(0.0);
    // Of frames that are there, 32 channels of a tap at a time; while they are multiplied, the next ones are on their way.
    uint parts = chunks / PART, steps = taps_time * taps * parts;
    bool is_loaded = false;
    for (uint step = there(0, taps * parts, steps, time);; step = there(step + 1, taps * parts, steps, time)) {
        if (step < steps) {
            uint tap = step / parts, origin = step % parts * PART;
            Quads source = Quads(timeline.at[time * step_time + tap / taps]);
            int tap_down = int(tap % taps / taps_across) - int(before), tap_over = int(tap % taps_across) - int(before);
            [[unroll]] for (uint i = 0; i < LEFTS; i++) {
                uint at = t + i * THREADS;
                if (at < ROWS * PART) next_left[i] = a.at[min(output_begin + at / PART, outputs - 1) * pitch + tap * chunks + origin + at % PART];
            }
            [[unroll]] for (uint i = 0; i < RIGHTS; i++) {
                uint at = t + i * THREADS, place = begin + at / PART;
                int y = int(place / out_width * step_down) + tap_down, x = int(place % out_width * step_across) + tap_over;
                bool is_inside = y >= 0 && y < int(height) && x >= 0 && x < int(width);
                next_right[i] = uvec4(0);
                if (at < COLUMNS * PART && place < area && (is_inside || (has & EDGE) != 0)) {
                    uint from = uint(clamp(y, 0, int(height) - 1)) * width + uint(clamp(x, 0, int(width) - 1));
                    next_right[i] = source.at[from * chunks + origin + at % PART];
                }
            }
        }
        if (is_loaded) {
            [[unroll]] for (uint k = 0; k < DEPTH; k += K) {
                LEFT lefts[DOWN / M];
                [[unroll]] for (uint i = 0; i < DOWN / M; i++) coopMatLoad(lefts[i], left, (down + M * i) * LINE + k / 8, LINE, BY_ROWS);
                [[unroll]] for (uint j = 0; j < OVER / N; j++) {
                    RIGHT one;
                    coopMatLoad(one, right, (over + N * j) * LINE + k / 8, LINE, BY_COLUMNS);
                    [[unroll]] for (uint i = 0; i < DOWN / M; i++) sums[i][j] = coopMatMulAdd(lefts[i], one, sums[i][j]);
                }
            }
        }
        if (step >= steps) break;
        barrier();
        [[unroll]] for (uint i = 0; i < LEFTS; i++) {
            uint at = t + i * THREADS;
            if (at < ROWS * PART) left[at / PART * LINE + at % PART] = next_left[i];
        }
        [[unroll]] for (uint i = 0; i < RIGHTS; i++) {
            uint at = t + i * THREADS;
            if (at < COLUMNS * PART) right[at / PART * LINE + at % PART] = next_right[i];
        }
        barrier();
        is_loaded = true;
    }
    [[unroll]] for (uint i = 0; i < DOWN / M; i++) {
        [[unroll]] for (uint j = 0; j < OVER / N; j++) {
            barrier();
            coopMatStore(sums[i][j], edge, part * M * N, N, BY_ROWS);
            barrier();
            for (uint e = lane; e < M * N; e += LANES) {
                uint channel = output_begin + down + M * i + e / N, at = begin + over + N * j + e % N;
                if (channel >= outputs || at >= area) continue;
                uint target = (time * outputs + channel) * area + at;
                float value = edge[part * M * N + e];
                if ((has & RESIDUAL) != 0) value += residual.at[target];
                if ((has & BIAS) != 0) value += bias.at[channel];
                result.at[target] = value;
            }
        }
    }
}
