/// The arithmetic of a transformer's large linear layers; everything else is always float32.
public enum Precision: String, Sendable, CaseIterable {
    /// Weights as stored, float32 arithmetic.
    case float32
    /// Weights and activations in 8 bits with exact sums: faster, and less precise.
    case int8
}

extension Plan {
    /// Whether the large linear layers compute in 8 bits.
    var isQuantized: Bool { settings[.precision] == Precision.int8.rawValue }
}
