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

    /// A rate as it is written, `24`, `30000/1001`, `12.5` or `23.976`; nil when the text is none of them, has a zero below
    /// the line, or more digits than a video file can hold.
    public init?(_ text: String) {
        if text.contains(".") {
            self.init(decimal: text)
            return
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int32($0) }
        guard parts.count <= 2, let numerator = parts[0], let denominator = parts.count == 1 ? 1 : parts[1],
            denominator > 0
        else { return nil }
        self.init(Int(numerator), Int(denominator))
    }

    /// The whole rates that television slows down by 1000/1001, which people write as decimals.
    private static let television = [24, 30, 48, 60, 120]

    /// A decimal number, exactly, but for those that stand for a rate of television: 23.976 and 23.98 are 24000/1001.
    private init?(decimal text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let digits = parts.joined()
        guard parts.count == 2, !parts[0].isEmpty, (1...12).contains(parts[1].count),
            digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let value = Int(digits)
        else { return nil }
        let unit = parts[1].reduce(1) { scale, _ in scale * 10 }
        if parts[1].count > 1 {
            for rate in FrameRate.television {
                // The rate times the unit, rounded to the nearest as people round it.
                let (rounded, isTooLarge) = (rate * 1000).multipliedReportingOverflow(by: 2 * unit)
                if !isTooLarge, (rounded + 1001) / 2002 == value {
                    self.init(rate * 1000, 1001)
                    return
                }
            }
        }
        var (divisor, rest) = (unit, value)
        while rest != 0 { (divisor, rest) = (rest, divisor % rest) }
        guard value / divisor <= Int32.max, unit / divisor <= Int32.max else { return nil }
        self.init(value / divisor, unit / divisor)
    }

    /// Frames a second as a number.
    public var framesPerSecond: Double { Double(numerator) / Double(denominator) }

    /// `24` or `30000/1001`.
    public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
}
