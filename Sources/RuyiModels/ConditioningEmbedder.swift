import RuyiFiles
import RuyiLayers
import RuyiTensor

/// A scalar or a vector, embedded by two linear layers with a SiLU between them (diffusers: TimestepEmbedding,
/// PixArtAlphaTextProjection).
package struct ConditioningEmbedder: Sendable {
    /// The width of a scalar's sinusoids.
    package static let sinusoidWidth = 256

    private let linear1, linear2: Linear

    /// Takes `linear_1` and `linear_2` of an embedding of `width` values; a scalar has the width of its sinusoids.
    package init(_ scope: WeightScope, _ width: Int, input: Int = ConditioningEmbedder.sinusoidWidth) {
        linear1 = Linear(scope / "linear_1", input, width)
        linear2 = Linear(scope / "linear_2", width, width)
    }

    /// The embedding `[B, width]` of x `[B, input]`.
    package func callAsFunction(_ x: Tensor) -> Tensor { linear2(linear1(x, .silu)) }

    /// The embedding of a number's sinusoids, `[1, width]`.
    package func callAsFunction(_ value: Float, on session: any Session) -> Tensor {
        let width = ConditioningEmbedder.sinusoidWidth
        return self(session.upload(HostTensor(Embeddings.sinusoid(value, width: width), [1, width])))
    }
}
