/// Frames a second, as a fraction.
public struct FrameRate: Sendable, Equatable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// Frames in `denominator` seconds.
    public let numerator: Int
    /// Seconds in which `numerator` frames are shown.
    public let denominator: Int

    /// A rate such as 30000/1001.
    public init(_ numerator: Int, _ denominator: Int = 1) {
        self.numerator = numerator
        self.denominator = denominator
    }

    /// A whole number of frames a second.
    public init(integerLiteral value: Int) { self.init(value) }

    /// A rate as it is written, `24` or `30000/1001`; nil when the text is neither, or has a zero below the line.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count <= 2, let numerator = parts[0], let denominator = parts.count == 1 ? 1 : parts[1],
            denominator > 0
        else { return nil }
        self.init(numerator, denominator)
    }

    /// Frames a second as a number.
    public var framesPerSecond: Double { Double(numerator) / Double(denominator) }

    /// `24` or `30000/1001`.
    public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
}
