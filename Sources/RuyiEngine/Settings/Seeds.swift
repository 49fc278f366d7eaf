import RuyiFamilies

/// Seeds that a person leaves to chance.
public enum Seeds {
    /// The word that stands for one.
    public static let random = "random"

    /// Draws a seed that is short enough to be typed again.
    public static func draw() -> UInt64 { UInt64(UInt32.random(in: 0...UInt32.max)) }
}

extension Order {
    /// How many clips of one picture may be asked for by number.
    static let variationRange = 1...10_000

    /// The seed of each clip: those that are given, or as many as there are variations, counted up from the one given.
    ///
    /// After the largest seed comes 0.
    public var clipSeeds: [UInt64] {
        let given = seeds.isEmpty ? [request.seed ?? 42] : seeds
        guard let variations, Order.variationRange.contains(variations), given.count == 1 else { return given }
        return (0..<UInt64(variations)).map { given[0] &+ $0 }
    }

    /// This order with the gaps filled by what its checkpoint recommends.
    func over(recommended: Order) -> Order {
        var merged = over(recommended)
        if takesFewerSteps, let steps = request.steps, let few = recommended.request.steps {
            merged.request.steps = min(steps, few)
        }
        return merged
    }
}
