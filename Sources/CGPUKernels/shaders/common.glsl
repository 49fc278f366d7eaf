// What every kernel shares: memory by its address, stored numbers, pointwise functions, runs of rows.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Floats { float at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Words { uint at[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Frames { Floats at[]; };

// Types of stored numbers.
const uint F32 = 0, F16 = 1, BF16 = 2, F8E4M3 = 3, F8E5M2 = 4, I8 = 5;
// Pointwise functions.
const uint NONE = 0, SILU = 1, GELU_TANH = 2, GELU = 3, QUICK_GELU = 4;

// The number of an invocation in a grid of one dimension that was folded into two; a macro, as the size of groups is only
// known once a kernel has said it.
#define invocation() ((gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x + gl_LocalInvocationIndex)

// Subnormal numbers too: drivers may read those of the built-in functions as zero.
float half_value(uint bits) {
    uint exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude = exponent == 0  ? float(fraction) * 5.9604645e-8
                      : exponent < 31 ? uintBitsToFloat(exponent + 112 << 23 | fraction << 13)
                                      : uintBitsToFloat(0x7f800000 | fraction << 13);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

float e4m3_value(uint bits) {
    uint exponent = bits >> 3 & 15, fraction = bits & 7;
    float magnitude = (bits & 127) == 127 ? uintBitsToFloat(0x7fc00000)
                      : exponent == 0      ? float(fraction) * 0.001953125
                                           : uintBitsToFloat(exponent + 120 << 23 | fraction << 20);
    return (bits & 128) != 0 ? -magnitude : magnitude;
}

// An element of numbers of some type, one after the other.
float stored(Words words, uint type, uint index) {
    switch (type) {
    case F16: return half_value(words.at[index >> 1] >> (index & 1) * 16 & 0xffff);
    case BF16: return uintBitsToFloat(words.at[index >> 1] >> (index & 1) * 16 << 16);
    case F8E4M3: return e4m3_value(words.at[index >> 2] >> (index & 3) * 8 & 255);
    case F8E5M2: return half_value((words.at[index >> 2] >> (index & 3) * 8 & 255) << 8);
    case I8: return float(bitfieldExtract(int(words.at[index >> 2]), int(index & 3) * 8, 8));
    default: return uintBitsToFloat(words.at[index]);
    }
}

// Four elements from a multiple of four on.
vec4 stored_run(Words words, uint type, uint index) {
    uint low, high;
    switch (type) {
    case F16:
    case BF16:
        low = words.at[index >> 1];
        high = words.at[(index >> 1) + 1];
        return type == BF16 ? uintBitsToFloat(uvec4(low << 16, low & 0xffff0000, high << 16, high & 0xffff0000))
                            : vec4(half_value(low & 0xffff), half_value(low >> 16), half_value(high & 0xffff), half_value(high >> 16));
    case F32: return uintBitsToFloat(uvec4(words.at[index], words.at[index + 1], words.at[index + 2], words.at[index + 3]));
    default: return vec4(stored(words, type, index), stored(words, type, index + 1), stored(words, type, index + 2), stored(words, type, index + 3));
    }
}

// The complementary error function to 1.2e-7 of its value (Press et al., "Numerical Recipes", erfcc).
float complementary_error(float x) {
    float z = abs(x), t = 1 / (1 + 0.5 * z);
    float series = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
        + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
    float value = t * exp(-z * z + series);
    return x >= 0 ? value : 2 - value;
}

float activated(float x, uint function) {
    switch (function) {
    case SILU: return x / (1 + exp(-x));
    case GELU_TANH: return x / (1 + exp(-1.5957691216 * (x + 0.044715 * x * x * x)));
    case GELU: return isinf(x) ? max(x, 0) : 0.5 * x * complementary_error(-0.70710678118 * x);
    case QUICK_GELU: return x / (1 + exp(-1.702 * x));
    default: return x;
    }
}

// Which run of rows one belongs to: all of `length` rows, or those that end at `ends`.
uint run_of(uint row, uint length, uint count, Words ends) {
    if (length > 0) return row / length;
    uint run = 0;
    while (run + 1 < count && row >= ends.at[run]) run++;
    return run;
}
