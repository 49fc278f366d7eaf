import RuyiTensor

/// Rows of x whose wide values exist at one time in feed-forward layers.
private let rowLimit = 4096

extension GPUSession {
    func linear(_ x: Tensor, _ projection: Projection, _ activation: Activation) -> Tensor {
        let product = PendingProduct(
            x: x, projection: projection, kind: .linear(activation), style: style, gate: nil)
        let depth = x.shape.last ?? 0
        let shape = projection.matrix.shape
        precondition(
            shape.count >= 2 && shape.reduce(1, *) == projection.outputs * depth,
            "weight \(shape) does not take x \(x.shape)")
        return Tensor(dtype: .f32, layout: Layout(product.shape), storage: GPUStorage(self, product))
    }

    func feedForward(
        _ x: Tensor, inner: Projection, _ activation: Activation, outer: Projection, beside: Tensor?
    ) -> Tensor {
        let product = PendingProduct(
            x: x, projection: outer, kind: .feedForward(inner: inner, activation, beside: beside),
            style: style, gate: nil)
        return Tensor(dtype: .f32, layout: Layout(product.shape), storage: GPUStorage(self, product))
    }

    /// Computes a product that was put off, and adds it to a residual.
    func compute(_ product: PendingProduct, residual: Tensor?) -> Tensor {
        let finish = ProductFinish(self, product, residual: residual)
        let result = empty(product.shape)
        switch product.kind {
        case .linear: multiply(product.x, product, finish, rows: 0, into: result)
        case .feedForward(let inner, let activation, let beside):
            func flat(_ x: Tensor) -> Tensor {
                let width = x.shape.last ?? 0
                return dense(x).reshaped([x.count / max(width, 1), width])
            }
            let (x, beside) = (flat(product.x), beside.map(flat))
            // A function of its own, so that the hidden values are gone when their copy is multiplied.
            func wide(_ rows: Range<Int>) -> Tensor {
                let first = PendingProduct(
                    x: x.sliced(0, rows), projection: inner, kind: .linear(activation),
                    style: product.style, gate: nil)
                let hidden = compute(first, residual: nil)
                return beside.map { concatenate([$0.sliced(0, rows), hidden], axis: 1) } ?? hidden
            }
            for start in stride(from: 0, to: x.shape[0], by: rowLimit) {
                let rows = start..<min(start + rowLimit, x.shape[0])
                multiply(wide(rows), product, finish, rows: start, into: result)
            }
        }
        return result
    }

    /// Writes the product of all rows of x to those of the result from a row on.
    private func multiply(
        _ x: Tensor, _ product: PendingProduct, _ finish: ProductFinish, rows start: Int, into result: Tensor
    ) {
        let projection = product.projection
        let depth = x.shape.last ?? 0
        let source = dense(x)
        let rows = x.count / max(depth, 1)
        if case .stored(let weight) = projection.matrix, weight.storage is GPUQuantizedWeight {
            return multiply(source, weight, finish, rows: start..<start + rows, into: result)
        }
        let columns = finish.columns
        note(.product(inputs: depth, outputs: columns), 2 * Double(x.count) * Double(columns))
        let operand =
            switch projection.matrix {
            case .stored(let weight): self.operand(weight)
            case .computed(let tensor): self.operand(tensor)
            }
        if let style = product.style, rows > GPUSession.fewRows, let kernel = productKernel(style) {
            var type: DType?
            if case .stored(let weight) = projection.matrix, weight.isContiguous { type = weight.dtype }
            return multiply(
                source, operand, kernel, style, finish, isHalf: type == style.halves.type, rows: start..<start + rows,
                into: result)
        }
        guard let operand, let place = address(source, before: start * depth) else { return }
        let isScaled = finish.across > 0
        let (name, side, width) = kernel(rows)
        var product = Kernel(name, operand.type, isScaled ? 1 : 0)
        if gpu.variant == .lanes {
            let hasWholeRuns = depth % 4 == 0 && operand.first % 4 == 0
            product.constants.append(hasWholeRuns ? 4 : 1)
        }
        let lines = slice(2 * Double(depth) * Double(columns), grain: side)
        withExtendedLifetime((source, operand.keeper, finish)) {
            for row in stride(from: start, to: start + rows, by: lines) {
                let end = min(row + lines, start + rows)
                run(
                    product,
                    [.place(place), .place(operand.place)]
                        + finish.arguments(
                            result, self, rows: end, depth: depth, first: operand.first, across: finish.across,
                            start: row),
                    groups: grid(columns: columns, rows: end - row, side: side, width: width),
                    operations: 2 * Double(end - row) * Double(depth) * Double(columns))
            }
        }
    }

    /// Rows up to which a product is bound by reading the weight, so that rounding its operands makes nothing faster.
    private static let fewRows = 64

    /// The kernel for so many rows, and the rows and columns that a group of it makes.
    private func kernel(_ rows: Int) -> (name: String, rows: Int, columns: Int) {
        switch gpu.variant {
        case .lanes: ("product_lanes", 4, 32)
        case .tiles: rows <= GPUSession.fewRows ? ("product_tiles_small", 32, 32) : ("product_tiles", 128, 128)
        }
    }

    private func productKernel(_ style: MatrixStyle) -> Kernel? {
        let tile = UInt32(style.tile)
        return switch style.way {
        case .groups: Kernel("product_groups_\(style.halves)", tile, tile)
        case .subgroups: matrices("product", style.halves, tile, tile)
        case .invocations: Kernel("product_halves", style.halves.rawValue)
        }
    }

    /// Writes the product of dense rows to these rows of the result, in halves.
    private func multiply(
        _ x: Tensor, _ weight: (place: UInt64, first: Int, type: UInt32, keeper: AnyObject)?, _ kernel: Kernel,
        _ style: MatrixStyle, _ finish: ProductFinish, isHalf: Bool, rows: Range<Int>, into result: Tensor
    ) {
        let (depth, columns, halves) = (x.shape.last ?? 0, finish.columns, style.halves)
        let pitch = Halves.pitch(depth)
        // Rows of f16 are divided by a power of two, so that none of their numbers is too large for it.
        let left = self.halves(x, depth: depth, pitch: pitch, halves, isDivided: halves == .f16)
        // A weight that is there as the kernel reads it is not copied.
        let isThere =
            isHalf && depth == pitch && finish.across == 0
            && (weight.map { $0.place % 16 == 0 && $0.first % 8 == 0 } ?? true)
        let right =
            isThere
            ? weight.map { HalfRows(place: $0.place, first: $0.first, pitch: pitch, factors: nil, keeper: $0.keeper) }
            : self.halves(
                weight, rows: columns, lines: columns, depth: depth, pitch: pitch, halves, scales: finish.blocks)
        guard let right else { return }
        // As if rows that are not there came before.
        let place = left.place &- UInt64(2 * rows.lowerBound * pitch)
        let factors = left.factors?.memory.map { $0.address &- UInt64(4 * rows.lowerBound) }
        let lines = slice(2 * Double(depth) * Double(columns), grain: style.tile)
        withExtendedLifetime((left, right, finish)) {
            for row in stride(from: rows.lowerBound, to: rows.upperBound, by: lines) {
                let end = min(row + lines, rows.upperBound)
                run(
                    kernel,
                    [.place(place), .place(right.place)]
                        + finish.arguments(
                            result, self, rows: end, depth: pitch, first: right.first,
                            across: factors == nil ? 0 : 1, start: row, factors: factors ?? 0),
                    groups: grid(columns: columns, rows: end - row, side: style.tile, width: style.tile),
                    operations: 2 * Double(end - row) * Double(depth) * Double(columns))
            }
        }
    }

    func grid(columns: Int, rows: Int, side: Int, width: Int) -> (Int, Int, Int) {
        let down = folded((rows + side - 1) / side)
        return ((columns + width - 1) / width, down.0, down.1)
    }

    /// Where the numbers of x would begin if those of rows that are not there came before.
    private func address(_ x: Tensor, before count: Int) -> UInt64? {
        guard let block = x.gpu.memory else { return nil }
        return block.address &+ UInt64(4 * x.offset) &- UInt64(4 * count)
    }

    // MARK: 8 bits

    func quantized(_ projection: Projection, in unit: ResidencyUnit) -> Weight? {
        let shape = projection.matrix.shape
        let outputs = shape.first ?? 0
        let count = shape.reduce(1, *)
        guard shape.count >= 2, count > 0, count / outputs <= GPUQuantizedWeight.mostInputs else { return nil }
        let inputs = count / outputs
        let words = (inputs + 3) / 4
        let storage: GPUQuantizedWeight
        if case .stored(let weight) = projection.matrix, weight.dtype == .i8, weight.isContiguous,
            let factors = projection.scale.perRow(outputs)
        {
            let bytes =
                isHalted
                ? HostTensor.zeros([outputs * (1 + words)]) : packed(weight.elements, factors, outputs, inputs, words)
            storage = GPUQuantizedWeight(outputs: outputs, inputs: inputs, bytes: bytes)
        } else {
            let matrix =
                switch projection.matrix {
                case .stored(let weight): tensor(weight)
                case .computed(let tensor): dense(tensor)
                }
            let rows = quantizedRows(matrix.reshaped([outputs, inputs]))
            storage = GPUQuantizedWeight(outputs: outputs, inputs: inputs, bytes: read(rows))
        }
        unit.add(storage)
        return Weight(dtype: .i8, layout: Layout([outputs, inputs]), unit: unit, storage: storage)
    }

    /// Integers that are there with their factors, each row from a whole word on.
    private func packed(
        _ integers: HostTensor, _ factors: [Float], _ outputs: Int, _ inputs: Int, _ words: Int
    ) -> HostTensor {
        let bytes = integers.bytes(0..<integers.count, as: .i8)
        var numbers = factors.map(\.bitPattern)
        numbers.reserveCapacity(outputs * (1 + words))
        for row in 0..<outputs {
            for word in 0..<words {
                var value: UInt32 = 0
                for index in 0..<min(4, inputs - 4 * word) {
                    value |= UInt32(bytes[row * inputs + 4 * word + index]) << (8 * index)
                }
                numbers.append(value)
            }
        }
        return HostTensor(numbers, [numbers.count], as: .f32)
    }

    /// The rows of x `[rows, depth]` in 8 bits: their factors, and then their numbers, as float32 that means nothing.
    private func quantizedRows(_ x: Tensor) -> Tensor {
        let (rows, depth) = (x.shape[0], x.shape[1])
        let words = (depth + 3) / 4
        let result = empty([rows * (1 + words)])
        let source = dense(x)
        guard let block = result.gpu.memory else { return result }
        withExtendedLifetime(source) {
            run(
                Kernel("quantize"),
                [
                    place(source), .place(block.address + UInt64(4 * rows)), .place(block.address), .integer(rows),
                    .integer(depth), .integer(words),
                ], groups: folded(rows), operations: Double(8 * x.count))
        }
        return result
    }

    /// Writes the product of dense rows with a quantised weight to these rows of the result.
    private func multiply(
        _ x: Tensor, _ weight: Weight, _ finish: ProductFinish, rows: Range<Int>, into result: Tensor
    ) {
        guard let storage = weight.storage as? GPUQuantizedWeight else { return }
        let depth = x.shape.last ?? 0
        precondition(depth == storage.inputs, "weight \(weight.shape) does not take x \(x.shape)")
        note(
            .integerProduct(inputs: storage.inputs, outputs: storage.outputs),
            2 * Double(x.count) * Double(storage.outputs))
        let left = quantizedRows(x.reshaped([rows.count, depth]))
        guard let copy = copy(of: weight), let block = left.gpu.memory else { return }
        // As if rows that are not there came before: their factors, and their numbers.
        let place = block.address &- UInt64(4 * rows.lowerBound)
        let words = storage.words
        withExtendedLifetime((left, copy, finish)) {
            let lines = slice(2 * Double(depth) * Double(storage.outputs), grain: 8)
            for row in stride(from: rows.lowerBound, to: rows.upperBound, by: lines) {
                let end = min(row + lines, rows.upperBound)
                run(
                    Kernel("integers"),
                    [.place(place), .place(copy.block.address)]
                        + finish.arguments(
                            result, self, rows: end, depth: words, first: storage.outputs,
                            // Where the numbers of the first row would begin, counted from `place`.
                            across: rows.lowerBound + rows.count - rows.lowerBound * words, start: row,
                            factors: copy.block.address),
                    groups: grid(columns: storage.outputs, rows: end - row, side: 8, width: 8),
                    operations: 2 * Double(end - row) * Double(depth) * Double(storage.outputs))
            }
        }
    }

    func narrowed(_ weight: Weight, to dtype: DType) -> Weight {
        precondition(dtype == .f8e4m3 || dtype == .f8e5m2, "\(dtype) is no 8-bit floating-point type")
        let source = tensor(weight)
        let words = (weight.count + 3) / 4
        let result = empty([words])
        withExtendedLifetime(source) {
            run(
                Kernel("narrow", dtype.stored ?? 0),
                [place(source), place(result), .integer(weight.count), .integer(words)], invocations: words,
                operations: Double(16 * weight.count))
        }
        let bytes = HostTensor(dtype: dtype, shape: weight.shape, storage: read(result).storage)
        let storage = GPUWeight(bytes)
        weight.unit.add(storage)
        return Weight(dtype: dtype, layout: Layout(weight.shape), unit: weight.unit, storage: storage)
    }
}

/// What happens to the sums of a product: `residual + gate · activation(scale · x + bias)`.
struct ProductFinish {
    let columns: Int
    /// Blocks of scales side by side; 0 where one number serves all.
    let across: Int
    private let blockWidth: Int
    private let scale: Float
    private let scales: Tensor?
    private let bias: GPUDevice.Block?
    private let activation: Activation
    private let gate: (tensor: Tensor, stride: Int)?
    private let runs: (length: Int, count: Int, ends: GPUMemory.Block?)
    private let residual: Tensor?

    init(_ session: GPUSession, _ product: PendingProduct, residual: Tensor?) {
        let shape = product.shape
        columns = shape.last ?? 0
        switch product.projection.scale {
        case .number(let factor): (scale, scales, across, blockWidth) = (factor, nil, 0, 1)
        case .blocks(let blocks):
            let table = blocks.table(rows: columns)
            (scale, scales, across, blockWidth) = (1, session.upload(table), table.shape[1], blocks.width)
        }
        bias = session.vector(product.projection.bias, count: columns, "bias")
        if case .linear(let activation) = product.kind { self.activation = activation } else { activation = .none }
        gate = session.rows(product.gate, width: columns, "gate")
        runs = session.runs(product.gate, of: shape)
        if let residual { precondition(residual.shape == shape, "residual \(residual.shape) is not \(shape)") }
        self.residual = residual.map(session.dense)
    }

    /// The blocks of scales, if there are any.
    var blocks: (tensor: Tensor, across: Int, width: Int)? { scales.map { ($0, across, blockWidth) } }

    /// The arguments of a kernel that follow those of x and of the weight.
    func arguments(
        _ result: Tensor, _ session: GPUSession, rows: Int, depth: Int, first: Int, across: Int, start: Int,
        factors: UInt64? = nil
    ) -> [Argument] {
        let has = (bias != nil ? 1 : 0) | (gate != nil ? 2 : 0) | (residual != nil ? 4 : 0)
        return [
            session.place(result), .place(bias?.address ?? 0), session.place(gate?.tensor), session.place(residual),
            factors.map { .place($0) } ?? session.place(scales), .place(runs.ends?.memory?.address ?? 0),
            .integer(rows), .integer(columns), .integer(depth), .integer(first), .integer(has),
            .integer(Int(activation.function)), .integer(runs.length), .integer(runs.count),
            .integer(gate?.stride ?? 0), .integer(across), .integer(blockWidth), .number(scale), .integer(start),
        ]
    }
}
