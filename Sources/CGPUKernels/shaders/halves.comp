#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "packing.glsl"
// Rows of numbers in halves, each filled up with zeros to `pitch` numbers. A group takes a row. With factors, a row is divided
// by the power of two below its largest magnitude, so that no number is too large for f16.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint IS_BFLOAT = 0;
layout(constant_id = 2) const uint IS_SCALED = 0;
layout(constant_id = 3) const uint HAS_FACTORS = 0;
layout(push_constant, scalar) uniform Arguments {
    Words x;
    Quads result;
    Floats scales, factors;
    // Rows that are there, and how many are written; the rest is zeros.
    uint first, rows, lines, depth, pitch, across, block;
};
shared uint magnitudes[128];
float value(uint row, uint column) {
    if (column >= depth) return 0;
    float number = stored(x, TYPE, first + row * depth + column);
    return IS_SCALED != 0 ? number * scales.at[row * across + column / block] : number;
}
void main() {
    uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
    if (row >= lines) return;
    float factor = 1;
    if (HAS_FACTORS != 0 && row < rows) {
        uint largest = 0;
        // Magnitudes compare like their bits.
        for (uint c = t; c < depth; c += 128) largest = max(largest, floatBitsToUint(value(row, c)) & 0x7fffffff);
        magnitudes[t] = largest;
        barrier();
        for (uint half_size = 64; half_size > 0; half_size /= 2) {
            if (t < half_size) magnitudes[t] = max(magnitudes[t], magnitudes[t + half_size]);
            barrier();
        }
        uint exponent = magnitudes[0] >> 23;
        // What is not finite, or next to nothing, stays as it is.
        bool is_usable = exponent > 64 && exponent < 254;
        factor = is_usable ? uintBitsToFloat(254 - exponent << 23) : 1;
        if (t == 0) factors.at[row] = is_usable ? uintBitsToFloat(exponent << 23) : 1;
    }
    for (uint i = t; i < pitch / 8; i += 128) {
        uvec4 four = uvec4(0);
        if (row < rows) {
            [[unroll]] for (uint j = 0; j < 4; j++) {
                uint c = 8 * i + 2 * j;
                four[j] = packed(value(row, c) * factor, value(row, c + 1) * factor, IS_BFLOAT != 0);
            }
        }
        result.at[row * (pitch / 8) + i] = four;
    }
}
