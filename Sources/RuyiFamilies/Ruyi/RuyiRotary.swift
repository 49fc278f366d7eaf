import Glibc
import RuyiTensor

/// The rotary table of one frame's positions (specification section 5.5; diffusers 0.31 `get_2d_rotary_pos_embed`).
package enum RuyiRotary {
    /// The side of the square grid that positions are scaled to.
    private static let base = 32

    /// Where a grid lies in the base grid: rows `top..<bottom`, columns `left..<right`.
    package static func crop(rows: Int, columns: Int) -> (top: Int, left: Int, bottom: Int, right: Int) {
        let ratio = Double(rows) / Double(columns)
        let side = Double(base)
        let height = ratio > 1 ? base : Int((side / Double(columns) * Double(rows)).rounded(.toNearestOrEven))
        let width = ratio > 1 ? Int((side / Double(rows) * Double(columns)).rounded(.toNearestOrEven)) : base
        let top = Int((Double(base - height) / 2).rounded(.toNearestOrEven))
        let left = Int((Double(base - width) / 2).rounded(.toNearestOrEven))
        return (top, left, top + height, left + width)
    }

    /// Cosines and sines `[rows · columns, headSize]`: the first half of a head turns by the column, the second by the
    /// row, neighbouring pairs together.
    package static func table(rows: Int, columns: Int, headSize: Int, on session: any Session) -> RotaryTable {
        let crop = crop(rows: rows, columns: columns)
        func positions(_ start: Int, _ stop: Int, _ count: Int) -> [Float] {
            (0..<count).map { Float(Double(start) + Double($0) * (Double(stop - start) / Double(count))) }
        }
        let rowPositions = positions(crop.top, crop.bottom, rows)
        let columnPositions = positions(crop.left, crop.right, columns)
        let axis = headSize / 2
        let frequencies = (0..<axis / 2).map { Float(1 / pow(10_000, Double(2 * $0) / Double(axis))) }
        var cosines: [Float] = []
        var sines: [Float] = []
        for row in rowPositions {
            for column in columnPositions {
                for position in [column, row] {
                    for frequency in frequencies {
                        let angle = position * frequency
                        cosines += [cosf(angle), cosf(angle)]
                        sines += [sinf(angle), sinf(angle)]
                    }
                }
            }
        }
        let shape = [rows * columns, headSize]
        return RotaryTable(
            cosines: session.upload(HostTensor(cosines, shape)), sines: session.upload(HostTensor(sines, shape)))
    }
}
