/// The element types that matrix products read directly from a weight.
public enum Element: Sendable {
    case f32, f16, bf16, f8e4m3, f8e5m2
}
