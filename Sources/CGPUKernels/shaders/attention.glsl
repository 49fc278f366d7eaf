// softmax(q kᵀ · scale + bias) v, head by head; heads of k and v may serve several of q.
const uint NO_BIAS = 0, ALIBI = 1, ALIBI_SQUARE_ROOT = 2, TENSOR = 3;
layout(push_constant, scalar) uniform Arguments {
    Floats q, k, v, result;
    // Slopes of the heads, or the numbers to add.
    Floats bias;
    // How many keys are seen: by `(item · rows_each + query)`, or one number for all queries of an item.
    Words visible;
    uint queries, keys, heads, key_heads, size;
    uint bias_kind, bias_heads;
    // 0 where everything is seen; else how many rows the mask has for each item, and whether items have their own.
    uint mask_each, mask_items;
    float scale;
    // The query to begin with, and that after the last.
    uint start_query, end_query;
};
uint seen_keys(uint item, uint query) {
    if (mask_each == 0) return keys;
    return visible.at[(mask_items != 0 ? item * mask_each : 0) + (mask_each > 1 ? query : 0)];
}
float added(uint head, uint query, uint key) {
    switch (bias_kind) {
    case ALIBI: return -bias.at[head] * abs(float(query) - float(key));
    case ALIBI_SQUARE_ROOT: return -bias.at[head] * sqrt(abs(float(query) - float(key)));
    case TENSOR: return bias.at[((bias_heads > 1 ? head : 0) * queries + query) * keys + key];
    default: return 0;
    }
}
