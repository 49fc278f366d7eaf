import Glibc
import RuyiCPU
import RuyiTensor

/// The activation in double precision.
func reference(_ activation: Activation, _ x: Float) -> Float {
    let v = Double(x)
    switch activation {
    case .none: return x
    case .silu: return Float(v / (1 + exp(-v)))
    case .quickGelu: return Float(v / (1 + exp(-1.702 * v)))
    case .geluTanh: return Float(0.5 * v * (1 + tanh((2 / Double.pi).squareRoot() * (v + 0.044715 * v * v * v))))
    case .gelu: return Float(0.5 * v * (1 + erf(v / 2.0.squareRoot())))
    }
}

/// Attention by the definition, in double precision.
///
/// q `[B, Nq, H·d]`, k and v `[B, Nk, G·d]`. `visible` tells whether a query of a batch item sees a key, `bias` what is
/// added to a head's score; without any key the result is zero.
func referenceAttention(
    _ q: HostTensor, _ k: HostTensor, _ v: HostTensor, heads: Int, scale: Float,
    visible: (_ item: Int, _ query: Int, _ key: Int) -> Bool = { _, _, _ in true },
    bias: (_ head: Int, _ query: Int, _ key: Int) -> Double = { _, _, _ in 0 }
) -> [Float] {
    let (batch, queries, keys, width) = (q.shape[0], q.shape[1], k.shape[1], q.shape[2])
    let (size, keyWidth) = (width / heads, k.shape[2])
    let (qs, ks, vs) = (q.floats(), k.floats(), v.floats())
    var result = [Float](repeating: 0, count: batch * queries * width)
    for b in 0..<batch {
        for h in 0..<heads {
            let column = h * keyWidth / width * size
            for i in 0..<queries {
                let query = (b * queries + i) * width + h * size
                let seen = (0..<keys).filter { visible(b, i, $0) }
                var scores = seen.map { j -> Double in
                    let key = (b * keys + j) * keyWidth + column
                    let product = (0..<size).reduce(0.0) { $0 + Double(qs[query + $1]) * Double(ks[key + $1]) }
                    return product * Double(scale) + bias(h, i, j)
                }
                let top = scores.max() ?? 0
                scores = scores.map { exp($0 - top) }
                let sum = scores.reduce(0, +)
                for c in 0..<size where sum > 0 {
                    let total = zip(seen, scores).reduce(0.0) {
                        $0 + $1.1 * Double(vs[(b * keys + $1.0) * keyWidth + column + c])
                    }
                    result[query + c] = Float(total / sum)
                }
            }
        }
    }
    return result
}

/// Pairs of every head, neighbours or one of each half, rotated by the row of the table that the token's place falls on.
///
/// x `[B, N, H·d]`.
func referenceRotation(_ x: HostTensor, heads: Int, _ table: HostRotary) -> HostTensor {
    let (tokens, width) = (x.shape[1], x.shape[2])
    let size = width / heads
    let (cosines, sines) = (table.cosines.floats(), table.sines.floats())
    let values = x.floats()
    let turned = values.indices.map { index -> Float in
        let place = index / width % tokens % table.cosines.shape[0] * size + index % width % size
        let partner =
            switch table.pairing {
            case .neighbours: index % 2 == 0 ? -Double(values[index + 1]) : Double(values[index - 1])
            case .halves:
                index % size < size / 2 ? -Double(values[index + size / 2]) : Double(values[index - size / 2])
            }
        return Float(Double(values[index]) * Double(cosines[place]) + partner * Double(sines[place]))
    }
    return HostTensor(turned, x.shape)
}

/// Convolution by the definition, in double precision; result `[T, O, H', W']`.
func referenceConvolution(
    _ timeline: [HostTensor?], _ weight: HostTensor, _ bias: HostTensor?, _ stride: ConvolutionStride,
    _ padding: SpatialPadding
) -> (shape: [Int], values: [Float]) {
    let frame = timeline.compactMap { $0 }[0]
    let (channels, height, width) = (frame.shape[0], frame.shape[1], frame.shape[2])
    let (outputs, kt, kh, kw) = (weight.shape[0], weight.shape[2], weight.shape[3], weight.shape[4])
    let frames = timeline.map { $0?.floats() }
    let (w, b) = (weight.floats(), bias?.floats())
    let count = (timeline.count - kt) / stride.time + 1
    let outHeight = (height + padding.before + padding.after - kh) / stride.height + 1
    let outWidth = (width + padding.before + padding.after - kw) / stride.width + 1
    var result: [Float] = []
    for t in 0..<count {
        for o in 0..<outputs {
            for y in 0..<outHeight {
                for x in 0..<outWidth {
                    var sum = Double(b?[o] ?? 0)
                    for dt in 0..<kt {
                        guard let source = frames[t * stride.time + dt] else { continue }
                        for c in 0..<channels {
                            for dy in 0..<kh {
                                for dx in 0..<kw {
                                    var row = y * stride.height + dy - padding.before
                                    var column = x * stride.width + dx - padding.before
                                    if padding.border == .edge {
                                        row = min(max(row, 0), height - 1)
                                        column = min(max(column, 0), width - 1)
                                    }
                                    guard row >= 0, row < height, column >= 0, column < width else { continue }
                                    let tap = (((o * channels + c) * kt + dt) * kh + dy) * kw + dx
                                    sum += Double(source[(c * height + row) * width + column]) * Double(w[tap])
                                }
                            }
                        }
                    }
                    result.append(Float(sum))
                }
            }
        }
    }
    return ([count, outputs, outHeight, outWidth], result)
}
