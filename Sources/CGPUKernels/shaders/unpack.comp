#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
// Elements that are kept in blocks with their scales (ggml's layouts, `ggml-common.h`).
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;
const uint Q40 = 0, Q41 = 1, Q50 = 2, Q51 = 3, Q80 = 4, Q2K = 5, Q3K = 6, Q4K = 7, Q5K = 8, Q6K = 9;
layout(push_constant, scalar) uniform Arguments {
    Words x;
    Floats result;
    // The first block, and elements from its beginning on.
    uint first_block, count, block_length, block_bytes;
};
uint start;
uint byte_at(uint place) {
    uint address = start + place;
    return x.at[address >> 2] >> (address & 3) * 8 & 255;
}
int signed_at(uint place) { return int(byte_at(place) << 24) >> 24; }
float half_at(uint place) { return half_value(byte_at(place) | byte_at(place + 1) << 8); }
// One of 32 codes of 4 bits: the first 16 are the lower halves of 16 bytes.
uint nibble(uint place, uint i) { return i < 16 ? byte_at(place + i) & 15 : byte_at(place + i - 16) >> 4; }
uint bit(uint place, uint i) { return byte_at(place + i / 8) >> i % 8 & 1; }
// One of 256 codes of 2 bits: 32 bytes hold four runs of 32.
uint pair(uint place, uint i) { return byte_at(place + i / 128 * 32 + i % 32) >> i % 128 / 32 * 2 & 3; }
// One of 256 codes of 4 bits: 32 bytes hold two runs of 32.
uint quad(uint place, uint i) { return byte_at(place + i / 64 * 32 + i % 32) >> i % 64 / 32 * 4 & 15; }
// Scale and minimum, of 6 bits each, of one of eight parts; the last four have their upper bits with the first four.
uvec2 scales(uint place, uint part) {
    if (part < 4) return uvec2(byte_at(place + part) & 63, byte_at(place + part + 4) & 63);
    uint low = byte_at(place + part + 4);
    return uvec2(low & 15 | byte_at(place + part - 4) >> 6 << 4, low >> 4 | byte_at(place + part) >> 6 << 4);
}
float element(uint i) {
    switch (TYPE) {
    case Q40: return half_at(0) * float(int(nibble(2, i)) - 8);
    case Q41: return fma(half_at(0), float(nibble(4, i)), half_at(2));
    case Q50: return half_at(0) * float(int(nibble(6, i) + bit(2, i) * 16) - 16);
    case Q51: return fma(half_at(0), float(nibble(8, i) + bit(4, i) * 16), half_at(2));
    case Q80: return half_at(0) * float(signed_at(2 + i));
    case Q2K: {
        uint both = byte_at(i / 16);
        return half_at(80) * float(both & 15) * float(pair(16, i)) - half_at(82) * float(both >> 4);
    }
    case Q3K: {
        uint part = i / 16, low = part < 8 ? byte_at(96 + part) & 15 : byte_at(88 + part) >> 4;
        uint high = byte_at(104 + part % 4) >> part / 4 * 2 & 3, upper = byte_at(i % 32) >> i / 32 & 1;
        return half_at(108) * float(int(low | high << 4) - 32) * float(int(pair(32, i) + upper * 4) - 4);
    }
    case Q4K: {
        uvec2 both = scales(4, i / 32);
        return half_at(0) * float(both.x) * float(quad(16, i)) - half_at(2) * float(both.y);
    }
    case Q5K: {
        uvec2 both = scales(4, i / 32);
        uint upper = byte_at(16 + i % 32) >> i / 32 & 1;
        return half_at(0) * float(both.x) * float(quad(48, i) + upper * 16) - half_at(2) * float(both.y);
    }
    default: {
        uint part = i % 128 / 32, low = byte_at(i / 128 * 64 + part % 2 * 32 + i % 32) >> part / 2 * 4 & 15;
        uint high = byte_at(128 + i / 128 * 32 + i % 32) >> part * 2 & 3;
        return half_at(208) * float(signed_at(192 + i / 16)) * float(int(low | high << 4) - 32);
    }
    }
}
void main() {
    uint i = invocation();
    if (i >= count) return;
    start = (first_block + i / block_length) * block_bytes;
    result.at[i] = element(i % block_length);
}
