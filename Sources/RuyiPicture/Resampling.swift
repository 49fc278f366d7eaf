#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The filters of 8-bit resizing, with antialias when a side shrinks.
public enum Resampling: Sendable, CaseIterable {
    /// Triangle filter, two pixels wide at scale 1.
    case bilinear
    /// Keys' cubic with a = -0.5, four pixels wide at scale 1.
    case bicubic
    /// Sinc windowed by a wider sinc, six pixels wide at scale 1.
    case lanczos

    /// Which axis is resized first; it matters because the result of the first pass is rounded to 8 bits.
    public enum PassOrder: Sendable {
        /// Pillow 13: rows first where that shrinks the picture more, columns first otherwise.
        case automatic
        /// Every Pillow up to 11: each row is resized first, then each column.
        case horizontalFirst
    }

    /// Half the width of the filter at scale 1, in pixels.
    var support: Double {
        switch self {
        case .bilinear: 1
        case .bicubic: 2
        case .lanczos: 3
        }
    }

    /// The filter's value at a distance from the centre.
    func callAsFunction(_ distance: Double) -> Double {
        switch self {
        case .bilinear:
            let x = abs(distance)
            return x < 1 ? 1 - x : 0
        case .bicubic:
            let a = -0.5
            let x = abs(distance)
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
            return 0
        case .lanczos:
            guard -3 <= distance, distance < 3 else { return 0 }
            return sinc(distance) * sinc(distance / 3)
        }
    }
}

private func sinc(_ x: Double) -> Double {
    if x == 0 { return 1 }
    let angle = x * Double.pi
    return sin(angle) / angle
}

/// For each of some output positions along one axis: where its taps begin, how many there are, and their fixed-point weights.
struct Taps {
    /// Fractional bits of a weight; 8 bits of pixel, 22 of weight and 2 of headroom fill 32.
    static let precision: Int32 = 22

    /// Weights reserved for each output position.
    let stride: Int
    /// The first input position of each output position.
    var first: [Int]
    /// The number of input positions of each output position.
    var count: [Int]
    /// `[outputs, stride]`, of which the first `count` are used.
    var weights: [Int32]

    /// The input positions that any tap lies on.
    var range: Range<Int> {
        let low = first.min() ?? 0
        return low..<(zip(first, count).map { $0 + $1 }.max() ?? low)
    }

    init(from input: Int, to output: Int, _ positions: Range<Int>, filter: Resampling) {
        let scale = Double(input) / Double(output)
        let filterScale = max(scale, 1)
        let support = filter.support * filterScale
        let inverse = 1 / filterScale
        stride = Int(support.rounded(.up)) * 2 + 1
        first = []
        count = []
        weights = [Int32](repeating: 0, count: positions.count * stride)
        first.reserveCapacity(positions.count)
        count.reserveCapacity(positions.count)
        var exact = [Double](repeating: 0, count: stride)
        for (place, index) in positions.enumerated() {
            let center = (Double(index) + 0.5) * scale
            let low = max(0, Int(center - support + 0.5))
            let high = min(input, Int(center + support + 0.5))
            var sum = 0.0
            for tap in 0..<(high - low) {
                exact[tap] = filter((Double(tap + low) - center + 0.5) * inverse)
                sum += exact[tap]
            }
            for tap in 0..<(high - low) {
                let weight = (sum == 0 ? exact[tap] : exact[tap] / sum) * Double(1 << Taps.precision)
                weights[place * stride + tap] = Int32(weight < 0 ? weight - 0.5 : weight + 0.5)
            }
            first.append(low)
            count.append(high - low)
        }
    }
}
