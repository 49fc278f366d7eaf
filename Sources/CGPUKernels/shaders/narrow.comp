#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Numbers rounded to an 8-bit floating-point type, to the nearest with ties to even, four to a word. Too large ones become
// infinite, or NaN where there are no infinities.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = F8E4M3;
layout(push_constant, scalar) uniform Arguments {
    Floats x;
    Words result;
    uint count, words;
};
uint rounded(float value) {
    uint bits = floatBitsToUint(value), sign = bits >> 24 & 128, magnitude = bits & 0x7fffffff;
    bool is_e4m3 = TYPE == F8E4M3;
    uint fraction_bits = is_e4m3 ? 3 : 2, nan = 127, most = is_e4m3 ? 127 : 124;
    if (magnitude > 0x7f800000) return sign | nan;
    int bias = is_e4m3 ? 7 : 15, exponent = int(magnitude >> 23) - 127;
    int least = 1 - bias;
    uint code;
    if (exponent < least) {
        // A subnormal number counts in steps of the least one.
        float steps = uintBitsToFloat(magnitude) * exp2(float(int(fraction_bits) - least));
        code = uint(roundEven(steps));
    } else {
        uint shift = 23 - fraction_bits;
        uint whole = (magnitude + ((1u << shift - 1) - 1) + (magnitude >> shift & 1)) >> shift;
        code = whole - (uint(127 - bias) << fraction_bits);
    }
    return sign | min(code, most);
}
void main() {
    uint word = invocation();
    if (word >= words) return;
    uint packed_values = 0;
    for (uint i = 0; i < 4; i++) {
        uint place = 4 * word + i;
        if (place < count) packed_values |= rounded(x.at[place]) << 8 * i;
    }
    result.at[word] = packed_values;
}
