/// How a matrix `[outputs, inputs]` is made of stored ones.
public indirect enum MatrixFormula<Element: TensorView>: Sendable {
    /// The stored matrix itself.
    case whole(Element)
    /// `up · down`; up `[outputs, rank]`, down `[rank, inputs]`.
    case product(up: Element, down: Element)
    /// The product element by element (Hyeon-Woo et al. 2021, "FedPara", and LyCORIS' LoHa).
    case hadamard(MatrixFormula, MatrixFormula)
    /// The Kronecker product, every element of the first matrix times the whole second one (LyCORIS' LoKr).
    case kronecker(MatrixFormula, MatrixFormula)
    /// Some rows of another matrix, one range after the other.
    case rows(MatrixFormula, [Range<Int>])

    /// The formula with every stored matrix replaced.
    public func map<Other>(_ transform: (Element) -> Other) -> MatrixFormula<Other> {
        switch self {
        case .whole(let matrix): .whole(transform(matrix))
        case .product(let up, let down): .product(up: transform(up), down: transform(down))
        case .hadamard(let left, let right): .hadamard(left.map(transform), right.map(transform))
        case .kronecker(let left, let right): .kronecker(left.map(transform), right.map(transform))
        case .rows(let matrix, let ranges): .rows(matrix.map(transform), ranges)
        }
    }

    /// The number of rows.
    public var outputs: Int {
        switch self {
        case .whole(let matrix): matrix.shape[0]
        case .product(let up, _): up.shape[0]
        case .hadamard(let left, _): left.outputs
        case .kronecker(let left, let right): left.outputs * right.outputs
        case .rows(_, let ranges): ranges.reduce(0) { $0 + $1.count }
        }
    }
}

/// What an adapter makes of a matrix of weights `[outputs, inputs]`.
public struct WeightUpdate<Element: TensorView>: Sendable {
    /// What is added to the weight.
    public let change: MatrixFormula<Element>
    /// What the change is multiplied by.
    public let factor: Float
    /// What becomes of the sum, where its rows' or columns' lengths are learned apart.
    public let lengths: LearnedLengths<Element>?

    /// `W + factor · change`, and then its lengths if there are any.
    public init(_ change: MatrixFormula<Element>, factor: Float, lengths: LearnedLengths<Element>? = nil) {
        self.change = change
        self.factor = factor
        self.lengths = lengths
    }

    /// The update with every stored matrix replaced.
    public func map<Other>(_ transform: (Element) -> Other) -> WeightUpdate<Other> {
        WeightUpdate<Other>(change.map(transform), factor: factor, lengths: lengths?.map(transform))
    }
}

/// Lengths of a matrix's rows, or of its columns, that are learned apart from their directions.
///
/// A row `v` becomes `m · v / ‖v‖` (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation").
public struct LearnedLengths<Element: TensorView>: Sendable {
    /// The lengths, `[rows, 1]` or `[columns, 1]`.
    public let values: Element
    /// As many ones as a row or a column has elements.
    public let ones: Element
    /// Whether they are those of columns.
    public let areOfColumns: Bool
    /// How far the way from the weight to the result is gone, 1 for the whole of it.
    public let strength: Float

    /// Lengths.
    public init(_ values: Element, ones: Element, areOfColumns: Bool, strength: Float) {
        self.values = values
        self.ones = ones
        self.areOfColumns = areOfColumns
        self.strength = strength
    }

    func map<Other>(_ transform: (Element) -> Other) -> LearnedLengths<Other> {
        LearnedLengths<Other>(
            transform(values), ones: transform(ones), areOfColumns: areOfColumns, strength: strength)
    }
}
