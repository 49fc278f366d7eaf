import RuyiFiles
import RuyiTensor

/// Layer norm over the last axis with learned weight and bias.
public struct LayerNorm: Sendable {
    public let weight: Weight
    public let bias: Weight
    public let epsilon: Float

    /// Takes `weight` and `bias` `[width]`.
    public init(_ scope: WeightScope, _ width: Int, epsilon: Float) {
        weight = scope.take("weight", [width])
        bias = scope.take("bias", [width])
        self.epsilon = epsilon
    }

    /// x `[B, ..., width]`; the tokens of each run are multiplied by `1 + scale`, and shift is added.
    public func callAsFunction(_ x: Tensor, scale: TokenRows? = nil, shift: TokenRows? = nil) -> Tensor {
        x.session.layerNorm(x, weight: weight, bias: bias, epsilon: epsilon, scale: scale, shift: shift)
    }

    /// The norm over each head of x `[B, N, heads · width]`, then the rotation.
    public func perHead(_ x: Tensor, heads: Int, rotary: RotaryTable?) -> Tensor {
        x.session.headNorm(x, heads: heads, weight: weight, bias: bias, epsilon: epsilon, rotary: rotary)
    }
}

/// RMS norm over the last axis with a learned weight.
public struct RMSNorm: Sendable {
    public let weight: Weight
    public let epsilon: Float

    /// Takes `weight` `[width]`.
    public init(_ scope: WeightScope, _ width: Int, epsilon: Float) {
        weight = scope.take("weight", [width])
        self.epsilon = epsilon
    }

    /// x `[..., width]`.
    public func callAsFunction(_ x: Tensor) -> Tensor { x.session.rmsNorm(x, weight: weight, epsilon: epsilon) }

    /// The norm over each head of x `[B, N, heads · width]`, then the rotation.
    public func perHead(_ x: Tensor, heads: Int, rotary: RotaryTable?) -> Tensor {
        x.session.headRMSNorm(x, heads: heads, weight: weight, epsilon: epsilon, rotary: rotary)
    }
}

/// Group norm with learned weight and bias, followed by an activation.
public struct GroupNorm: Sendable {
    public let weight: Weight
    public let bias: Weight
    public let groups: Int
    public let epsilon: Float

    /// Takes `weight` and `bias` `[channels]`.
    public init(_ scope: WeightScope, _ channels: Int, groups: Int, epsilon: Float) {
        weight = scope.take("weight", [channels])
        bias = scope.take("bias", [channels])
        self.groups = groups
        self.epsilon = epsilon
    }

    /// x `[T, C, H, W]`; statistics over each frame or over all frames.
    public func callAsFunction(_ x: Tensor, perFrame: Bool, _ activation: Activation = .none) -> Tensor {
        x.session.groupNorm(
            x, groups: groups, weight: weight, bias: bias, epsilon: epsilon, perFrame: perFrame, activation: activation)
    }

    /// The statistics of a video in parts `[T, C, H, W]`, over all frames.
    public func statistics(_ parts: [Tensor]) -> Tensor { parts[0].session.groupStatistics(parts, groups: groups) }

    /// x `[T, C, H, W]`, a part of a video whose statistics are known.
    public func callAsFunction(_ x: Tensor, _ statistics: Tensor, _ activation: Activation = .none) -> Tensor {
        x.session.groupNorm(
            x, statistics: statistics, weight: weight, bias: bias, epsilon: epsilon, activation: activation)
    }
}
