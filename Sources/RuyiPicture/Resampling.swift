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

/// For each of some output positions along one axis: where its taps begin, and their weights, whose sum is one.
struct FilterTaps {
    /// The first input position of each output position.
    private(set) var first: [Int] = []
    /// Where the weights of each output position begin, and behind the last one their number.
    private var starts = [0]
    private var weights: [Double] = []

    /// Half the width of the filter in input positions.
    let support: Double

    /// The number of output positions.
    var count: Int { first.count }

    /// The first input position of an output position, and the weights from there on.
    subscript(position: Int) -> (first: Int, weights: ArraySlice<Double>) {
        (first[position], weights[starts[position]..<starts[position + 1]])
    }

    /// The input positions that any tap lies on.
    var range: Range<Int> {
        let low = first.min() ?? 0
        return low..<((0..<count).map { first[$0] + self[$0].weights.count }.max() ?? low)
    }

    init(from input: Int, to output: Int, _ positions: Range<Int>, filter: Resampling) {
        let scale = Double(input) / Double(output)
        let filterScale = max(scale, 1)
        support = filter.support * filterScale
        let inverse = 1 / filterScale
        first.reserveCapacity(positions.count)
        starts.reserveCapacity(positions.count + 1)
        for index in positions {
            let center = (Double(index) + 0.5) * scale
            let low = max(0, Int(center - support + 0.5))
            let high = min(input, Int(center + support + 0.5))
            var sum = 0.0
            let start = weights.count
            for tap in low..<high {
                let weight = filter((Double(tap) - center + 0.5) * inverse)
                weights.append(weight)
                sum += weight
            }
            if sum != 0 { for place in start..<weights.count { weights[place] /= sum } }
            first.append(low)
            starts.append(weights.count)
        }
    }
}

/// The taps of some output positions along one axis with fixed-point weights.
struct Taps {
    /// Fractional bits of a weight; 8 bits of pixel, 22 of weight and 2 of headroom fill 32.
    static let precision: Int32 = 22

    /// Weights reserved for each output position.
    let stride: Int
    /// The first input position of each output position.
    let first: [Int]
    /// The number of input positions of each output position.
    let count: [Int]
    /// `[outputs, stride]`, of which the first `count` are used.
    let weights: [Int32]
    /// The input positions that any tap lies on.
    let range: Range<Int>

    init(from input: Int, to output: Int, _ positions: Range<Int>, filter: Resampling) {
        let exact = FilterTaps(from: input, to: output, positions, filter: filter)
        let stride = Int(exact.support.rounded(.up)) * 2 + 1
        var weights = [Int32](repeating: 0, count: positions.count * stride)
        for place in 0..<positions.count {
            for (tap, weight) in exact[place].weights.enumerated() {
                let scaled = weight * Double(1 << Taps.precision)
                weights[place * stride + tap] = Int32(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
            }
        }
        (self.stride, self.weights) = (stride, weights)
        (first, range) = (exact.first, exact.range)
        count = (0..<positions.count).map { exact[$0].weights.count }
    }
}
