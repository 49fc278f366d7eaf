#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension Reference {
    // MARK: Norms

    /// `((x − mean) / sqrt(variance + ε) · weight + bias)` over runs of as many values as the weight has, or the last
    /// axis.
    public static func layerNorm(
        _ x: HostTensor, width: Int? = nil, weight: HostTensor? = nil, bias: HostTensor? = nil, epsilon: Float
    ) -> HostTensor {
        let width = width ?? x.shape.last ?? 1
        let (gains, offsets) = (weight?.doubles(), bias?.doubles())
        return mapRows(x, width) { row in
            let mean = row.reduce(0, +) / Double(width)
            let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
            let factor = 1 / (variance + Double(epsilon)).squareRoot()
            return row.indices.map { (row[$0] - mean) * factor * (gains?[$0] ?? 1) + (offsets?[$0] ?? 0) }
        }
    }

    /// `x / sqrt(mean(x²) + ε) · weight` over runs of as many values as the weight has.
    public static func rmsNorm(_ x: HostTensor, weight: HostTensor, epsilon: Float) -> HostTensor {
        let (width, gains) = (weight.count, weight.doubles())
        return mapRows(x, width) { row in
            let square = row.reduce(0) { $0 + $1 * $1 } / Double(width)
            return row.indices.map { row[$0] / (square + Double(epsilon)).squareRoot() * gains[$0] }
        }
    }

    /// Group norm of x `[T, C, H, W]` over each frame or over all together, then the activation.
    public static func groupNorm(
        _ x: HostTensor, groups: Int, weight: HostTensor, bias: HostTensor, epsilon: Float, perFrame: Bool,
        activation: Activation
    ) -> HostTensor {
        func normed(_ part: HostTensor) -> [Float] {
            groupNorm(
                part, statistics: statistics([part], groups: groups), weight: weight, bias: bias, epsilon: epsilon,
                activation: activation
            ).floats()
        }
        guard perFrame else { return HostTensor(normed(x), x.shape) }
        return HostTensor((0..<x.shape[0]).flatMap { normed(x.sliced(0, $0..<$0 + 1)) }, x.shape)
    }

    /// Mean and variance of each group over all frames of the parts `[T, C, H, W]` of a video, `[groups, 2]`.
    public static func groupStatistics(_ parts: [HostTensor], groups: Int) -> HostTensor {
        HostTensor(statistics(parts, groups: groups).flatMap { [Float($0.mean), Float($0.variance)] }, [groups, 2])
    }

    /// Group norm of x `[T, C, H, W]` by such statistics, then the activation.
    public static func groupNorm(
        _ x: HostTensor, statistics: HostTensor, weight: HostTensor, bias: HostTensor, epsilon: Float,
        activation: Activation
    ) -> HostTensor {
        let values = statistics.doubles()
        return groupNorm(
            x, statistics: (0..<statistics.shape[0]).map { (values[2 * $0], values[2 * $0 + 1]) }, weight: weight,
            bias: bias, epsilon: epsilon, activation: activation)
    }

    private static func groupNorm(
        _ x: HostTensor, statistics: [(mean: Double, variance: Double)], weight: HostTensor, bias: HostTensor,
        epsilon: Float, activation: Activation
    ) -> HostTensor {
        let (channels, area) = (x.shape[1], x.shape[2] * x.shape[3])
        let (gains, offsets) = (weight.doubles(), bias.doubles())
        let result = x.doubles().enumerated().map { place, value -> Float in
            let channel = place / area % channels
            let (mean, variance) = statistics[channel * statistics.count / channels]
            let normed = (value - mean) / (variance + Double(epsilon)).squareRoot()
            return Float(activate(normed * gains[channel] + offsets[channel], activation))
        }
        return HostTensor(result, x.shape)
    }

    private static func statistics(_ parts: [HostTensor], groups: Int) -> [(mean: Double, variance: Double)] {
        (0..<groups).map { group in
            var values: [Double] = []
            for part in parts {
                let (all, perGroup) = (part.doubles(), part.count / (part.shape[0] * groups))
                for start in stride(from: group * perGroup, to: all.count, by: groups * perGroup) {
                    values += all[start..<start + perGroup]
                }
            }
            let mean = values.reduce(0, +) / Double(values.count)
            let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
            return (mean, variance)
        }
    }

    private static func mapRows(_ x: HostTensor, _ width: Int, _ body: ([Double]) -> [Double]) -> HostTensor {
        let values = x.doubles()
        let result = stride(from: 0, to: values.count, by: max(width, 1)).flatMap { start in
            body(Array(values[start..<start + width])).map { Float($0) }
        }
        return HostTensor(result, x.shape)
    }

    // MARK: Element by element

    /// `e^x` of every element.
    public static func exponential(_ x: HostTensor) -> HostTensor { map(x) { exp($0) } }

    /// `f` of every element.
    public static func map(_ x: HostTensor, _ f: (Double) -> Double) -> HostTensor {
        HostTensor(x.floats().map { Float(f(Double($0))) }, x.shape)
    }

    /// `f` of the elements of x and y; y has x's shape, repeats over x's leading axes, or is one number.
    public static func zip(_ x: HostTensor, _ y: HostTensor, _ f: (Double, Double) -> Double) -> HostTensor {
        let (left, right) = (x.doubles(), y.doubles())
        return HostTensor(left.indices.map { Float(f(left[$0], right[$0 % right.count])) }, x.shape)
    }

    /// `f` of every element of x `[B, ..., C]` and that of the row of its run.
    public static func zip(
        _ x: HostTensor, rows: HostTensor, lengths: [Int]?, _ f: (Double, Double) -> Double
    ) -> HostTensor {
        let (values, factors, width) = (x.doubles(), rows.doubles(), x.shape.last ?? 1)
        let count = values.count / max(width, 1)
        let runs = (lengths ?? Array(repeating: count / rows.shape[0], count: rows.shape[0])).enumerated().flatMap {
            Array(repeating: $0.offset, count: $0.element)
        }
        return HostTensor(
            values.indices.map { Float(f(values[$0], factors[runs[$0 / width] * width + $0 % width])) }, x.shape)
    }

    /// `left · activation(right)` where x `[..., 2C]` holds left and right side by side.
    public static func gated(_ x: HostTensor, _ activation: Activation) -> HostTensor {
        let (values, width) = (x.doubles(), (x.shape.last ?? 0) / 2)
        let result = (0..<values.count / 2).map { index in
            let place = index / width * 2 * width + index % width
            return Float(values[place] * activate(values[place + width], activation))
        }
        return HostTensor(result, x.shape.dropLast() + [width])
    }

    // MARK: Places

    /// The tensors one after the other along `axis`.
    public static func concatenate(_ parts: [HostTensor], axis: Int) -> HostTensor {
        var shape = parts[0].shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        let outer = shape[..<axis].reduce(1, *)
        let values = parts.map { $0.floats() }
        let result = (0..<outer).flatMap { index in
            values.flatMap { part in part[index * part.count / outer..<(index + 1) * part.count / outer] }
        }
        return HostTensor(result, shape)
    }

    /// The rows of a table `[rows, C]` at these places.
    public static func gather(_ table: HostTensor, _ places: [Int]) -> HostTensor {
        HostTensor(places.flatMap { table.selected(0, $0).floats() }, [places.count, table.shape[1]])
    }

    /// Nearest-neighbour doubling of the last two axes.
    public static func upsampleNearest(_ x: HostTensor) -> HostTensor {
        let (height, width) = (x.shape[2], x.shape[3])
        let values = x.floats()
        let shape = [x.shape[0], x.shape[1], 2 * height, 2 * width]
        let result = (0..<4 * values.count).map { index in
            let (column, row, plane) = (
                index % (2 * width), index / (2 * width) % (2 * height), index / (4 * width * height)
            )
            return values[(plane * height + row / 2) * width + column / 2]
        }
        return HostTensor(result, shape)
    }
}
