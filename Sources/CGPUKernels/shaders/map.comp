#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Element by element.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint OPERATION = 0;
layout(constant_id = 1) const uint FUNCTION = 0;
const uint FILL = 0, ACTIVATE = 1, EXPONENTIAL = 2, SCALE = 3, COMBINE = 4, MULTIPLY = 5, MULTIPLY_ROWS = 6, GATED = 7, CLAMP = 8;
layout(push_constant, scalar) uniform Arguments {
    Floats x, y, result;
    Words ends;
    uint count, period, width, run_length, run_count, row_stride;
    float a, b, least, most;
};
void main() {
    uint i = invocation();
    if (i >= count) return;
    float value = 0;
    switch (OPERATION) {
    case FILL: value = a; break;
    case ACTIVATE: value = activated(x.at[i], FUNCTION); break;
    case EXPONENTIAL: value = exp(x.at[i]); break;
    case SCALE: value = x.at[i] * a + b; break;
    case CLAMP: value = min(max(x.at[i] * a + b, least), most); break;
    case COMBINE: value = a * x.at[i] + b * y.at[i % period]; break;
    case MULTIPLY: value = x.at[i] * y.at[i % period]; break;
    case MULTIPLY_ROWS: value = x.at[i] * y.at[run_of(i / width, run_length, run_count, ends) * row_stride + i % width]; break;
    case GATED: {
        uint place = i / width * 2 * width + i % width;
        value = x.at[place] * activated(x.at[place + width], FUNCTION);
        break;
    }
    }
    result.at[i] = value;
}
