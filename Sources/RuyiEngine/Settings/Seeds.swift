import RuyiFamilies
import RuyiFiles

/// Seeds that a person leaves to chance.
public enum Seeds {
    /// The word that stands for one.
    public static let random = "random"
    /// The number that stands for one in other programs.
    static let anyNumber = "-1"

    /// Draws a seed that is short enough to be typed again.
    static func draw() -> UInt64 { UInt64(UInt32.random(in: 0...UInt32.max)) }
}

/// One seed or several, or one that is drawn.
public struct SeedList: Sendable {
    /// The seeds in the order of their clips.
    public let seeds: [UInt64]
    /// Whether the seed was drawn, not chosen.
    public let isDrawn: Bool

    /// Seeds that were chosen.
    public init(_ seeds: [UInt64], isDrawn: Bool = false) {
        self.seeds = seeds
        self.isDrawn = isDrawn
    }

    /// Reads `7`, `1,2,3`, `random` or `-1`, which is the same.
    init?(_ text: String) {
        if [Seeds.random, Seeds.anyNumber].contains(text) {
            self.init([Seeds.draw()], isDrawn: true)
            return
        }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { part in
            part.allSatisfy { ("0"..."9").contains($0) } ? UInt64(part) : nil
        }
        guard numbers.count == parts.count else { return nil }
        self.init(numbers)
    }

    /// Reads a number, a list of them, `random` or -1.
    init?(_ json: JSON) {
        if let text = json.string ?? json.int.map(String.init), let drawn = SeedList(text), drawn.isDrawn {
            self = drawn
            return
        }
        let seeds = (json.array ?? [json]).compactMap { value -> UInt64? in
            guard case .number(let number) = value else { return nil }
            return UInt64(number.text)
        }
        guard !seeds.isEmpty, seeds.count == (json.array ?? [json]).count else { return nil }
        self.init(seeds)
    }

    /// The seeds as a file holds them.
    var json: JSON { seeds.count == 1 ? .exact(seeds[0]) : .array(seeds.map(JSON.exact)) }
}

extension Order {
    /// How many clips of one picture may be asked for by number.
    static let variationRange = 1...10_000

    /// The seed of each clip: those that are given, or as many as there are variations, counted up from the one given.
    ///
    /// After the largest seed comes 0.
    public var clipSeeds: [UInt64] {
        let given = seeds.isEmpty ? [request.seed ?? 42] : seeds
        guard let variations = self.variations, Order.variationRange.contains(variations), given.count == 1 else {
            return given
        }
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
