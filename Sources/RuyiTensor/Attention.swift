/// What attention may do besides `softmax(q kᵀ · scale) v`; all of it happens on the fly, so that no score is stored.
public struct AttentionOptions: Sendable {
    /// The keys that each query sees; nil is all of them.
    public let mask: AttentionMask?
    /// What is added to the scaled scores.
    public let bias: AttentionBias?
    /// The rotation of every head of q before the product, as `headNorm` does it.
    public let queryRotary: RotaryTable?
    /// The rotation of every head of k before the product.
    public let keyRotary: RotaryTable?

    /// Everything that is left out is not done.
    public init(
        mask: AttentionMask? = nil, bias: AttentionBias? = nil, queryRotary: RotaryTable? = nil,
        keyRotary: RotaryTable? = nil
    ) {
        self.mask = mask
        self.bias = bias
        self.queryRotary = queryRotary
        self.keyRotary = keyRotary
    }
}

/// The keys that each query sees: always the first so many, which serves causal order, causal frames and padding.
///
/// Keys that no query of a block sees cost nothing. A query that sees no key gives zeros. What an unseen key holds does
/// not matter, but its value must be finite: it may be multiplied by a weight of zero.
public struct AttentionMask: Sendable, Equatable {
    /// How many keys are seen: a row for each batch item, or one for all; in it a number for each query, or one for all.
    public let visibleKeys: [[Int]]

    /// Any numbers from 0 to that of the keys, in rows of equal length.
    public init(visibleKeys: [[Int]]) {
        precondition(
            Set(visibleKeys.map(\.count)).count == 1, "rows of \(visibleKeys.map(\.count)) queries differ in length")
        self.visibleKeys = visibleKeys
    }

    /// Padding: batch item b sees its first `lengths[b]` keys, for every query; what lies behind takes no part.
    public static func lengths(_ lengths: [Int]) -> AttentionMask {
        AttentionMask(visibleKeys: lengths.map { [$0] })
    }

    /// Causal order: a query sees the key of its own place and all before it, and `past` keys before the first place.
    public static func causal(_ queries: Int, past: Int = 0) -> AttentionMask {
        AttentionMask(visibleKeys: [(0..<queries).map { past + $0 + 1 }])
    }

    /// Causal order of blocks, such as the frames of a video, whose tokens see their whole block and all before it.
    ///
    /// A text that goes before the frames and sees the first of them is one block with it.
    public static func causal(blocks: [Int], past: Int = 0) -> AttentionMask {
        var (counts, seen) = ([Int](), past)
        for length in blocks {
            seen += length
            counts += repeatElement(seen, count: length)
        }
        return AttentionMask(visibleKeys: [counts])
    }
}

/// What is added to the scaled scores of attention before the softmax.
public enum AttentionBias: Sendable {
    /// `−slopes[h] · |i − j|` for query i and key j (Press et al. 2022, "Train Short, Test Long", ALiBi).
    case alibi(slopes: [Float])
    /// `−slopes[h] · √|i − j|`, the form in Step-Video's text encoder.
    case alibiSquareRoot(slopes: [Float])
    /// A tensor `[H, Nq, Nk]`, or `[1, Nq, Nk]` for all heads, as T5's relative positions need; −∞ hides a key.
    case tensor(Tensor)
}
