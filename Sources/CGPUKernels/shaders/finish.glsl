// What happens to a sum of a product: `residual + gate · activation(scale · sum + bias)`.
const uint BIAS = 1, GATE = 2, RESIDUAL = 4;

layout(push_constant, scalar) uniform Arguments {
    Floats x;
    Words w;
    Floats result, bias, gate, residual, scales;
    Words ends;
    // Rows and columns of the result, the depth, and the element of the weight that comes first.
    uint rows, columns, depth, first;
    uint has, function, run_length, run_count, gate_stride;
    // Blocks of scales side by side, of so many numbers; 0 where one number serves all.
    uint across, block;
    float scale;
    // The row to begin with.
    uint start;
};

void finish(uint row, uint column, float sum) {
    float value = sum * scale;
    if ((has & BIAS) != 0) value += bias.at[column];
    value = activated(value, function);
    if ((has & GATE) != 0) value *= gate.at[run_of(row, run_length, run_count, ends) * gate_stride + column];
    uint place = row * columns + column;
    if ((has & RESIDUAL) != 0) value += residual.at[place];
    result.at[place] = value;
}
