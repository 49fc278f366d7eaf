/// The families that the program knows; adding one is adding a line.
public enum Registry {
    public static let families: [any Family.Type] = [
        Ruyi.self
    ]
}
