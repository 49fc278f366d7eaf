import RuyiTensor

/// Numbers of 16 bits, of which units multiply whole matrices.
enum Halves: UInt32, Sendable, CaseIterable {
    case f16 = 0
    case bf16 = 1

    init?(_ arithmetic: Arithmetic) {
        switch arithmetic {
        case .float32: return nil
        case .f16: self = .f16
        case .bf16: self = .bf16
        }
    }

    var arithmetic: Arithmetic { self == .f16 ? .f16 : .bf16 }
    var type: DType { self == .f16 ? .f16 : .bf16 }
    /// Numbers of a row with the zeros that follow them, as kernels read 32 at a time.
    static func pitch(_ count: Int) -> Int { (count + 31) / 32 * 32 }
}

/// The matrices that a device's units multiply: rows and columns of the result, and the depth.
struct MatrixUnits: Sendable, Equatable {
    let rows: Int
    let columns: Int
    let depth: Int
}

/// How matrices of halves are multiplied.
struct MatrixStyle: Sendable, Equatable {
    let halves: Halves
    /// Rows and columns of a product that a group makes.
    let tile: Int
    let way: GPUFindings.Way
}

/// Rows of halves, each from a multiple of 16 bytes on.
struct HalfRows {
    let place: UInt64
    /// The element that comes first.
    let first: Int
    /// Numbers of a row, with the zeros at its end.
    let pitch: Int
    /// By what the rows have to be multiplied, if they have been divided.
    let factors: GPUMemory.Block?
    /// What keeps the memory.
    let keeper: AnyObject
}

extension GPUSession {
    /// A kernel whose subgroups have the device's units multiply matrices of their size; nil where it has none.
    func matrices(_ name: String, _ halves: Halves, _ constants: UInt32...) -> Kernel? {
        guard let units = gpu.facts.units(halves) else { return nil }
        let lanes = UInt32(gpu.facts.lanes)
        var kernel = Kernel("\(name)_matrices_\(halves)")
        kernel.constants =
            [4 * lanes, lanes, UInt32(units.rows), UInt32(units.columns), UInt32(units.depth)] + constants
        kernel.lanes = lanes
        return kernel
    }

    /// Dense rows of floats as halves; rows of zeros follow up to `lines`.
    func halves(
        _ x: Tensor, depth: Int, pitch: Int, lines: Int? = nil, _ halves: Halves, isDivided: Bool = false
    ) -> HalfRows {
        let rows = x.count / max(depth, 1)
        return self.halves(
            operand(x), rows: rows, lines: lines ?? rows, depth: depth, pitch: pitch, halves, isDivided: isDivided)
    }

    /// Stored rows as halves, multiplied by blocks of scales where there are any.
    func halves(
        _ source: (place: UInt64, first: Int, type: UInt32, keeper: AnyObject)?, rows: Int, lines: Int, depth: Int,
        pitch: Int, _ halves: Halves, scales: (tensor: Tensor, across: Int, width: Int)? = nil, isDivided: Bool = false
    ) -> HalfRows {
        let block = self.block(2 * lines * pitch)
        let factors = isDivided ? self.block(4 * rows) : nil
        let place = block.memory?.address ?? 0
        if let source {
            withExtendedLifetime((source.keeper, scales?.tensor)) {
                run(
                    Kernel("halves", source.type, halves.rawValue, scales != nil ? 1 : 0, isDivided ? 1 : 0),
                    [
                        .place(source.place), .place(place), self.place(scales?.tensor),
                        .place(factors?.memory?.address ?? 0), .integer(source.first), .integer(rows),
                        .integer(lines), .integer(depth), .integer(pitch), .integer(scales?.across ?? 0),
                        .integer(scales?.width ?? 1),
                    ], groups: folded(lines), operations: Double(8 * lines * pitch))
            }
        }
        return HalfRows(place: place, first: 0, pitch: pitch, factors: factors, keeper: block)
    }

    /// Numbers `[items, channels, places]` as halves `[items, places, pitch]`.
    func channelsLast(
        _ source: (place: UInt64, first: Int, type: UInt32, keeper: AnyObject)?, items: Int, channels: Int, places: Int,
        _ halves: Halves
    ) -> (place: UInt64, keeper: AnyObject) {
        let pitch = Halves.pitch(channels)
        let block = self.block(2 * items * places * pitch)
        let place = block.memory?.address ?? 0
        let count = items * places * pitch / 8
        if let source {
            withExtendedLifetime(source.keeper) {
                run(
                    Kernel("channels", source.type, halves.rawValue),
                    [
                        .place(source.place), .place(place), .integer(source.first), .integer(count),
                        .integer(channels), .integer(places), .integer(pitch),
                    ], invocations: count, operations: Double(64 * count))
            }
        }
        return (place, block)
    }
}
