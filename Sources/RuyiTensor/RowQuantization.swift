/// How a row of a weight is rounded to 8-bit integers with one scale: `w ≈ q · scale`, `scale = max|w| / 127`, q from −127 to
/// 127, ties to even.
///
/// Backends' `quantized` gives the same numbers.
public struct RowQuantization: Sendable {
    /// What the integers are multiplied by; 0 for a row that is as good as zero.
    public let scale: Float
    private let factor: Float

    /// Below this magnitude the factor would overflow.
    private static let least: Float = 1e-30

    /// That of a row of numbers; nil where one of them is not finite.
    public init?(_ row: UnsafeBufferPointer<Float>) {
        var largest: UInt32 = 0
        // Magnitudes compare like their bits.
        for value in row { largest = max(largest, value.magnitude.bitPattern) }
        let magnitude = Float(bitPattern: largest)
        guard magnitude.isFinite else { return nil }
        let isUsable = magnitude >= RowQuantization.least
        (scale, factor) = isUsable ? (magnitude / 127, 127 / magnitude) : (0, 0)
    }

    /// A number of the row.
    public func callAsFunction(_ value: Float) -> Int8 { Int8((value * factor).rounded(.toNearestOrEven)) }
}
