/// What the stored numbers of a weight are multiplied by to give it.
public enum WeightScale: Sendable, Equatable {
    /// One number for all of them.
    case number(Float)
    /// One number for each block of a matrix.
    case blocks(ScaleBlocks)

    /// The numbers are what they say.
    public static let none = WeightScale.number(1)

    /// The factor of an element of a matrix; of any element where there is one number.
    public subscript(row: Int, column: Int) -> Float {
        switch self {
        case .number(let factor): factor
        case .blocks(let blocks): blocks[row, column]
        }
    }

    /// The factors of a weight of so many rows, `[]` or `[rows, blocks side by side]`.
    public func table(rows: Int) -> HostTensor {
        switch self {
        case .number(let factor): HostTensor([factor], [])
        case .blocks(let blocks): blocks.table(rows: rows)
        }
    }

    /// A factor for each of so many rows; nil where a row has several.
    public func perRow(_ count: Int) -> [Float]? {
        switch self {
        case .number(let factor): [Float](repeating: factor, count: count)
        case .blocks(let blocks): blocks.perRow(count)
        }
    }

    /// The scale of some rows.
    public func rows(_ range: Range<Int>) -> WeightScale {
        switch self {
        case .number: self
        case .blocks(let blocks): .blocks(blocks.from(range.lowerBound))
        }
    }
}

extension WeightScale: ExpressibleByFloatLiteral {
    public init(floatLiteral value: Float) { self = .number(value) }
}

/// The scales of a matrix's blocks of so many rows and columns; the last ones may be cut off by the matrix's edges.
public struct ScaleBlocks: Sendable, Equatable {
    /// Row after row of blocks.
    private let values: [Float]
    /// Blocks side by side.
    private let across: Int
    /// Rows of a block.
    private let height: Int
    /// Columns of a block.
    public let width: Int
    /// Rows of the first block that lie above the matrix.
    private var start = 0

    /// Scales `[rows of blocks, across]` of blocks of `height` rows and `width` columns.
    public init(_ values: [Float], across: Int, height: Int, width: Int) {
        precondition(across > 0 && height > 0 && width > 0 && values.count.isMultiple(of: across), "no grid of blocks")
        (self.values, self.across, self.height, self.width) = (values, across, height, width)
    }

    /// The scale of an element.
    public subscript(row: Int, column: Int) -> Float { values[(start + row) / height * across + column / width] }

    /// The scales of the rows from one on.
    public func from(_ row: Int) -> ScaleBlocks {
        var copy = self
        copy.start += row
        return copy
    }

    /// A scale for each of so many rows; nil where a row has several.
    public func perRow(_ count: Int) -> [Float]? { across == 1 ? (0..<count).map { self[$0, 0] } : nil }

    /// A scale for each of so many rows and each block's columns, `[rows, across]`.
    public func table(rows: Int) -> HostTensor {
        let values = (0..<rows).flatMap { row in (0..<across).map { self[row, $0 * width] } }
        return HostTensor(values, [rows, across])
    }

    /// The scales of a matrix of so many rows whose halves change places.
    public func halvesSwapped(rows: Int) -> ScaleBlocks {
        let values = table(rows: rows).floats()
        let half = values.count / 2
        return ScaleBlocks(Array(values[half...] + values[..<half]), across: across, height: 1, width: width)
    }
}
