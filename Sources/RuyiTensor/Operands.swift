/// The pointwise functions that can follow a product or a normalisation.
public enum Activation: Sendable, CaseIterable {
    /// The identity.
    case none
    /// `x · sigmoid(x)`.
    case silu
    /// `x · Φ(x)` with the tanh approximation of GELU.
    case geluTanh
    /// `x · Φ(x)` with the error function.
    case gelu
    /// `x · sigmoid(1.702 x)`.
    case quickGelu
}

/// Cosines and sines of rotary position embedding, `[positions, d]`; positions repeat for later tokens (frames).
public struct RotaryTable: Sendable {
    /// Which two values of a head are rotated together.
    public enum Pairing: Sendable, Equatable {
        /// Neighbours, 2i and 2i + 1.
        case neighbours
        /// One of each half, i and i + d/2.
        case halves
        /// One of each half of every part of a head, the parts being so wide.
        case halvesOfParts([Int])
    }

    public let cosines: Tensor
    public let sines: Tensor
    public let pairing: Pairing

    /// Both tables `[positions, d]`, of the session that will rotate with them.
    public init(cosines: Tensor, sines: Tensor, pairing: Pairing = .neighbours) {
        precondition(cosines.shape == sines.shape && cosines.rank == 2, "rotary tables must be [positions, d]")
        if case .halvesOfParts(let parts) = pairing {
            precondition(
                parts.reduce(0, +) == cosines.shape[1] && parts.allSatisfy { $0 > 0 && $0 % 2 == 0 },
                "parts \(parts) do not make heads of \(cosines.shape[1])")
        }
        self.cosines = cosines
        self.sines = sines
        self.pairing = pairing
    }
}

/// The steps of a convolution in time, down and across.
public struct ConvolutionStride: Sendable, Equatable {
    public let time: Int
    public let height: Int
    public let width: Int

    public init(_ time: Int, _ height: Int, _ width: Int) {
        self.time = time
        self.height = height
        self.width = width
    }

    public static let one = ConvolutionStride(1, 1, 1)
}

/// Rows and columns around every frame.
public struct SpatialPadding: Sendable, Equatable {
    /// What they hold.
    public enum Border: Sendable {
        case zeros
        /// The nearest value of the frame.
        case edge
    }

    /// At the top and at the left.
    public let before: Int
    /// At the bottom and at the right.
    public let after: Int
    public let border: Border

    public init(before: Int, after: Int, border: Border = .zeros) {
        self.before = before
        self.after = after
        self.border = border
    }

    public static let none = SpatialPadding(before: 0, after: 0)
}
