/// Products of few rows, whose time is that of reading the weight: it is read once, where it lies, and nothing is packed.
public struct DotKernels: Sendable {
    /// The most rows of the left operand that are worked on together.
    public static let mostRows = 2
    /// The most rows of the weight that are worked on together.
    public static let mostOutputs = 4

    /// `y[row][output] = (accumulate ? y : 0) + Σ_k x[row][k] · w[output][k]` over `depth` numbers.
    ///
    /// The order of a sum depends on the depth alone. Rows of w are so many bytes apart, those of x and y so many floats.
    public let multiply:
        @Sendable (
            _ element: Element, _ w: UnsafeRawPointer, _ wStride: Int, _ outputs: Int, _ x: UnsafePointer<Float>,
            _ xStride: Int, _ rows: Int, _ depth: Int, _ y: UnsafeMutablePointer<Float>, _ yStride: Int,
            _ accumulate: Bool
        ) -> Void

    /// Assembles the kernels of one level.
    public init(
        multiply:
            @escaping @Sendable (
                Element, UnsafeRawPointer, Int, Int, UnsafePointer<Float>, Int, Int, Int, UnsafeMutablePointer<Float>,
                Int, Bool
            ) -> Void
    ) {
        self.multiply = multiply
    }
}
