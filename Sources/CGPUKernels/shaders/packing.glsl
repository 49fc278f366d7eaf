// Two numbers in halves of a word: f16, or bf16 where BF16 is set, to the nearest with ties to even.
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer Quads { uvec4 at[]; };

uint bfloat(float x) {
    uint bits = floatBitsToUint(x);
    // What is no number stays none.
    if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 64;
    return bits + 0x7fff + (bits >> 16 & 1) >> 16;
}

uint packed(float a, float b, bool is_bfloat) {
    return is_bfloat ? bfloat(b) << 16 | bfloat(a) : packHalf2x16(vec2(a, b));
}
