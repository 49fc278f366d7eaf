import RuyiTensor

/// The activation in double precision.
func reference(_ activation: Activation, _ x: Float) -> Float { Float(Reference.activate(Double(x), activation)) }

/// Attention by its definition.
///
/// `visible` tells whether a query of a batch item sees a key, `bias` what is added to a head's score; without any key
/// the result is zero.
func referenceAttention(
    _ q: HostTensor, _ k: HostTensor, _ v: HostTensor, heads: Int, scale: Float,
    visible: (_ item: Int, _ query: Int, _ key: Int) -> Bool = { _, _, _ in true },
    bias: (_ head: Int, _ query: Int, _ key: Int) -> Double = { _, _, _ in 0 }
) -> [Float] {
    let items = (0..<q.shape[0]).map { item in
        func part(_ x: HostTensor) -> HostTensor { x.sliced(0, item..<item + 1) }
        return Reference.attention(part(q), part(k), part(v), heads: heads, scale: scale) { head, query, key in
            visible(item, query, key) ? bias(head, query, key) : -.infinity
        }
    }
    return items.flatMap { $0.floats() }
}

/// Pairs of every head, neighbours or one of each half, turned by the row of the table that the token's place falls on.
///
/// x `[B, N, H·d]`.
func referenceRotation(_ x: HostTensor, heads: Int, _ table: HostRotary) -> HostTensor {
    Reference.rotate(x, heads: heads, cosines: table.cosines, sines: table.sines, table.pairing)
}

/// Convolution by its definition; result `[T, O, H', W']`.
func referenceConvolution(
    _ timeline: [HostTensor?], _ weight: HostTensor, _ bias: HostTensor?, _ stride: ConvolutionStride,
    _ padding: SpatialPadding
) -> (shape: [Int], values: [Float]) {
    let result = Reference.convolution(timeline, weight, bias: bias, stride: stride, padding: padding)
    return (result.shape, result.floats())
}
