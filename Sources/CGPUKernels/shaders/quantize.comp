#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Rows in 8 bits, each by its own largest magnitude: q = x · 127 / max|x|, and the factors max|x| / 127. A group takes a row,
// which begins at a whole word. A row with a number that is not finite has NaN for its factor.
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Arguments {
    Floats x;
    Words result;
    Floats factors;
    uint rows, width, words;
};
shared uint magnitudes[64];
void main() {
    uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
    if (row >= rows) return;
    uint start = row * width, largest = 0;
    // Magnitudes compare like their bits.
    for (uint c = t; c < width; c += 64) largest = max(largest, floatBitsToUint(x.at[start + c]) & 0x7fffffff);
    magnitudes[t] = largest;
    barrier();
    for (uint half_size = 32; half_size > 0; half_size /= 2) {
        if (t < half_size) magnitudes[t] = max(magnitudes[t], magnitudes[t + half_size]);
        barrier();
    }
    float most = uintBitsToFloat(magnitudes[0]);
    bool is_finite = magnitudes[0] < 0x7f800000, is_usable = most >= 1e-30;
    float factor = is_finite && is_usable ? 127 / most : 0;
    for (uint word = t; word < words; word += 64) {
        uint packed_values = 0;
        for (uint i = 0; i < 4; i++) {
            uint c = 4 * word + i;
            int value = c < width && factor > 0 ? int(roundEven(x.at[start + c] * factor)) : 0;
            packed_values |= (uint(value) & 255) << 8 * i;
        }
        result.at[row * words + word] = packed_values;
    }
    if (t == 0) factors.at[row] = !is_finite ? uintBitsToFloat(0x7fc00000) : is_usable ? most / 127 : 0;
}
