/// The arithmetic of a transformer's large linear layers; everything else is always float32.
public enum Precision: String, Sendable, CaseIterable {
    /// Weights as stored, float32 arithmetic.
    case float32
    /// Weights and activations in 8 bits with exact sums: faster, and less precise.
    case int8
}
