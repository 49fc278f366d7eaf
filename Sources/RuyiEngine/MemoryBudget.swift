/// The memory that a run may take, as a person says it: `8G`, `512MiB` or `75%`.
public enum MemoryBudget: Sendable, Equatable {
    /// So many bytes.
    case bytes(Int)
    /// A share of what is available, above 0 to 1.
    case share(Double)

    /// Reads a number with a unit: K, M, G and T are powers of 1000, with or without a B, and KiB, MiB, GiB and TiB
    /// powers of 1024; a bare number is bytes, and % a share of the memory that is available.
    public init?(_ text: String) {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let value = Double(number), value.isFinite, value > 0 else { return nil }
        let unit = text.dropFirst(number.count).lowercased()
        if unit == "%" {
            guard value <= 100 else { return nil }
            self = .share(value / 100)
            return
        }
        let powers = ["", "k", "m", "g", "t"]
        guard
            let power = powers.firstIndex(where: {
                [$0, $0 + "b"].contains(unit) || !$0.isEmpty && unit == $0 + "ib"
            })
        else { return nil }
        let base = unit.hasSuffix("ib") ? 1024.0 : 1000
        let bytes = (0..<power).reduce(value) { value, _ in value * base }
        guard bytes >= 1, bytes < 0x1p60 else { return nil }
        self = .bytes(Int(bytes))
    }

    /// The budget where so many bytes are available.
    func bytes(of available: Int) -> Int {
        switch self {
        case .bytes(let count): count
        case .share(let share): Int(Double(available) * share)
        }
    }
}
