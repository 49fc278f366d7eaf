import RuyiKernelTable
import RuyiTensor

/// A rotary table as kernels read it, for the time of one operation.
///
/// It is made of numbers alone, so that rotating a head counts no references; whoever makes one keeps the table.
struct Rotation: @unchecked Sendable {
    /// `[positions, size]`.
    private let cosines: UnsafePointer<Float>
    private let sines: UnsafePointer<Float>
    private let positions: Int
    private let size: Int
    /// The widths of the parts whose halves are rotated together, then zeros; zeros alone where neighbours are.
    private let parts: SIMD8<Int32>

    /// That of a table in memory.
    init(_ table: RotaryTable) {
        cosines = UnsafePointer(table.cosines.floatPointer)
        sines = UnsafePointer(table.sines.floatPointer)
        (positions, size) = (table.cosines.shape[0], table.cosines.shape[1])
        let widths =
            switch table.pairing {
            case .neighbours: [Int]()
            case .halves: [size]
            case .halvesOfParts(let widths): widths
            }
        var parts = SIMD8<Int32>.zero
        precondition(widths.count <= parts.scalarCount, "heads of \(widths.count) parts are not rotated")
        for (index, width) in widths.enumerated() { parts[index] = Int32(width) }
        self.parts = parts
    }

    /// Rotates a token's head.
    func callAsFunction(
        _ x: UnsafePointer<Float>, token: Int, into y: UnsafeMutablePointer<Float>, streams: Bool = false,
        with kernels: KernelTable
    ) {
        let place = token % positions * size
        let (cosines, sines) = (cosines + place, sines + place)
        if parts[0] == 0 { return kernels.rotateRow(x, size, cosines, sines, y, streams) }
        var start = 0
        for index in 0..<parts.scalarCount where parts[index] > 0 {
            let width = Int(parts[index])
            kernels.rotateHalves(x + start, width, cosines + start, sines + start, y + start)
            start += width
        }
    }
}

extension CPUSession {
    /// A table in memory.
    func dense(_ table: RotaryTable) -> RotaryTable {
        RotaryTable(cosines: dense(table.cosines), sines: dense(table.sines), pairing: table.pairing)
    }
}
