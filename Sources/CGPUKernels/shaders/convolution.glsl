// What convolutions are given; BIAS, RESIDUAL: which of these there are; EDGE: whether the border is repeated.
const uint BIAS = 1, RESIDUAL = 2, EDGE = 4;
layout(push_constant, scalar) uniform Arguments {
    // The addresses of the timeline's frames, and which of them are there.
    Frames timeline;
    Words present;
    Words w;
    Floats result, bias, residual;
    uint first, channels, height, width, outputs, out_height, out_width;
    uint taps_time, taps_down, taps_across, step_time, step_down, step_across, before, has;
    // The place and the frame to begin with.
    uint start_place, start_time;
};
