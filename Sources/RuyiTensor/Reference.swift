#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What each operation means, by plain loops over numbers of the host in double precision.
///
/// Backends are tested against these, and a new one may stand on them until it has its own. Shapes are those of
/// `Operations`; results are contiguous `f32`.
public enum Reference {
    /// The activation of one number.
    public static func activate(_ value: Double, _ activation: Activation) -> Double {
        switch activation {
        case .none: value
        case .silu: value / (1 + exp(-value))
        case .quickGelu: value / (1 + exp(-1.702 * value))
        case .geluTanh:
            0.5 * value * (1 + tanh((2 / Double.pi).squareRoot() * (value + 0.044715 * value * value * value)))
        case .gelu: 0.5 * value * (1 + erf(value / 2.0.squareRoot()))
        }
    }

    /// `activation(x (scale · W)ᵀ + b)`.
    public static func linear(
        _ x: HostTensor, _ weight: HostTensor, scale: WeightScale = .none, bias: HostTensor? = nil,
        _ activation: Activation = .none
    ) -> HostTensor {
        let (depth, columns) = (x.shape.last ?? 0, weight.shape.first ?? 0)
        let rows = x.count / max(depth, 1)
        let (left, right, offsets) = (x.doubles(), weight.doubles(), bias?.doubles())
        var result = [Float](repeating: 0, count: rows * columns)
        for row in 0..<rows {
            for column in 0..<columns {
                var sum = 0.0
                for k in 0..<depth {
                    sum += left[row * depth + k] * right[column * depth + k] * Double(scale[column, k])
                }
                let value = sum + (offsets?[column] ?? 0)
                result[row * columns + column] = Float(activate(value, activation))
            }
        }
        return HostTensor(result, x.shape.dropLast() + [columns])
    }

    /// `softmax(q kᵀ · scale + bias) v` per head; heads of k and v may serve several of q.
    ///
    /// `bias` is what is added to a head's score, −∞ hides a key.
    public static func attention(
        _ q: HostTensor, _ k: HostTensor, _ v: HostTensor, heads: Int, scale: Float, mask: AttentionMask? = nil,
        bias: (_ head: Int, _ query: Int, _ key: Int) -> Double = { _, _, _ in 0 }
    ) -> HostTensor {
        let (batch, queries, keys, width) = (q.shape[0], q.shape[1], k.shape[1], q.shape[2])
        let (size, keyWidth) = (width / heads, k.shape[2])
        let (qs, ks, vs) = (q.doubles(), k.doubles(), v.doubles())
        var result = [Float](repeating: 0, count: batch * queries * width)
        for item in 0..<batch {
            for head in 0..<heads {
                let column = head * keyWidth / width * size
                for query in 0..<queries {
                    let start = (item * queries + query) * width + head * size
                    let offsets = (0..<(mask?.count(item, query) ?? keys)).map { bias(head, query, $0) }
                    let seen = offsets.indices.filter { offsets[$0] != -.infinity }
                    let scores = seen.map { key -> Double in
                        let place = (item * keys + key) * keyWidth + column
                        var product = 0.0
                        for c in 0..<size { product += qs[start + c] * ks[place + c] }
                        return product * Double(scale) + offsets[key]
                    }
                    let top = scores.max() ?? 0
                    let weights = scores.map { exp($0 - top) }
                    let sum = weights.reduce(0, +)
                    for c in 0..<size where sum > 0 {
                        var total = 0.0
                        for (key, weight) in Swift.zip(seen, weights) {
                            total += weight * vs[(item * keys + key) * keyWidth + column + c]
                        }
                        result[start + c] = Float(total / sum)
                    }
                }
            }
        }
        return HostTensor(result, q.shape)
    }

    /// The other one of a pair of values, one of each half of a part of a head, with its sign.
    private static func half(_ index: Int, _ place: Int, _ parts: [Int], _ values: [Double]) -> Double {
        var place = place
        for part in parts {
            if place < part {
                return place < part / 2 ? -values[index + part / 2] : values[index - part / 2]
            }
            place -= part
        }
        preconditionFailure("parts \(parts) are shorter than a head")
    }

    /// Pairs of every head of x `[B, N, H·d]`, turned by the row of a table `[positions, d]` that the token falls on.
    public static func rotate(
        _ x: HostTensor, heads: Int, cosines: HostTensor, sines: HostTensor, _ pairing: RotaryTable.Pairing
    ) -> HostTensor {
        let (tokens, width) = (x.shape[1], x.shape[2])
        let (size, positions) = (width / heads, cosines.shape[0])
        let (cosines, sines, values) = (cosines.doubles(), sines.doubles(), x.doubles())
        let turned = values.indices.map { index -> Float in
            let place = index / width % tokens % positions * size + index % width % size
            let partner =
                switch pairing {
                case .neighbours: index % 2 == 0 ? -values[index + 1] : values[index - 1]
                case .halves: index % size < size / 2 ? -values[index + size / 2] : values[index - size / 2]
                case .halvesOfParts(let parts): half(index, index % size, parts, values)
                }
            return Float(values[index] * cosines[place] + partner * sines[place])
        }
        return HostTensor(turned, x.shape)
    }

    /// Convolution over a timeline of frames `[C, H, W]`, nil being zeros; result `[T, O, H', W']`.
    public static func convolution(
        _ timeline: [HostTensor?], _ weight: HostTensor, bias: HostTensor? = nil, stride: ConvolutionStride,
        padding: SpatialPadding
    ) -> HostTensor {
        guard let frame = timeline.compactMap({ $0 }).first else { preconditionFailure("there is no frame") }
        let (channels, height, width) = (frame.shape[0], frame.shape[1], frame.shape[2])
        let (outputs, kt, kh, kw) = (weight.shape[0], weight.shape[2], weight.shape[3], weight.shape[4])
        let frames = timeline.map { $0?.doubles() }
        let (taps, offsets) = (weight.doubles(), bias?.doubles())
        let count = (timeline.count - kt) / stride.time + 1
        let outHeight = (height + padding.before + padding.after - kh) / stride.height + 1
        let outWidth = (width + padding.before + padding.after - kw) / stride.width + 1
        /// The place of what a tap sees along an axis; nil outside the frame.
        func place(_ index: Int, _ tap: Int, _ step: Int, _ length: Int) -> Int? {
            let position = index * step + tap - padding.before
            if padding.border == .edge { return min(max(position, 0), length - 1) }
            return (0..<length).contains(position) ? position : nil
        }
        let rows = (0..<kh).map { tap in (0..<outHeight).map { place($0, tap, stride.height, height) } }
        let columns = (0..<kw).map { tap in (0..<outWidth).map { place($0, tap, stride.width, width) } }
        var result: [Float] = []
        result.reserveCapacity(count * outputs * outHeight * outWidth)
        for t in 0..<count {
            for output in 0..<outputs {
                var sums = [Double](repeating: offsets?[output] ?? 0, count: outHeight * outWidth)
                for dt in 0..<kt {
                    guard let source = frames[t * stride.time + dt] else { continue }
                    for c in 0..<channels {
                        for dy in 0..<kh {
                            for dx in 0..<kw {
                                let tap = taps[(((output * channels + c) * kt + dt) * kh + dy) * kw + dx]
                                for y in 0..<outHeight {
                                    guard let row = rows[dy][y] else { continue }
                                    let line = (c * height + row) * width
                                    for x in 0..<outWidth {
                                        guard let column = columns[dx][x] else { continue }
                                        sums[y * outWidth + x] += source[line + column] * tap
                                    }
                                }
                            }
                        }
                    }
                }
                result += sums.map { Float($0) }
            }
        }
        return HostTensor(result, [count, outputs, outHeight, outWidth])
    }

    /// How much frames attend to one another, as `Operations.crossFrameAttention` says.
    public static func crossFrameAttention(
        _ q: HostTensor, _ k: HostTensor, frames: Int, heads: Int, scale: Float
    ) -> Double {
        let (batch, places, width) = (q.shape[0], q.shape[1] / frames, q.shape[2])
        let (size, queries, keys) = (width / heads, q.doubles(), k.doubles())
        var sum = 0.0
        for item in 0..<batch {
            for place in 0..<places {
                for head in 0..<heads {
                    func start(_ frame: Int) -> Int { ((item * frames + frame) * places + place) * width + head * size }
                    for row in 0..<frames {
                        let scores = (0..<frames).map { column in
                            Double(scale)
                                * (0..<size).reduce(0) { $0 + queries[start(row) + $1] * keys[start(column) + $1] }
                        }
                        let weights = scores.map { exp($0 - (scores.max() ?? 0)) }
                        sum += 1 - weights[row] / weights.reduce(0, +)
                    }
                }
            }
        }
        return sum / Double(batch * places * heads * frames * (frames - 1))
    }
}

extension AttentionMask {
    /// The keys that a query of a batch item sees.
    fileprivate func count(_ item: Int, _ query: Int) -> Int {
        let row = visibleKeys.count == 1 ? visibleKeys[0] : visibleKeys[item]
        return row.count == 1 ? row[0] : row[query]
    }
}

extension HostTensor {
    /// The elements in row-major order in double precision.
    func doubles() -> [Double] { floats().map(Double.init) }
}
