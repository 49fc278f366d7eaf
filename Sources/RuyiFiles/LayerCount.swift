import RuyiFault

/// How many layers a configuration file states, and where it does.
///
/// The weights have the last word: `WeightScope.list` gives no more places than they have layers.
public struct LayerCount: Sendable, Equatable {
    /// The number.
    public let value: Int
    /// The key and the file, for messages.
    let place: String

    /// Reads a key; throws `.badData` that names it.
    public init(_ file: JSONObject, _ key: String, default value: Int? = nil) throws(Fault) {
        let found: Int
        if let value { found = try file.int(key, default: value) } else { found = try file.int(key) }
        guard found > 0, found <= 1 << 24 else { throw file.fault(key, expected: "a positive integer") }
        (self.value, place) = (found, "\"\(key)\" in \(file.file)")
    }
}

extension WeightScope {
    /// The places of the elements of a numbered list, as many as are stated.
    ///
    /// Where the file has fewer, which is noted as a problem that names the configuration's key, there are no more than
    /// that: nothing is made of a number alone.
    public func list(_ name: String, _ count: LayerCount) -> [WeightScope] {
        let list = self / name
        let numbers = list.keys.compactMap { $0.split(separator: ".", maxSplits: 1).first.flatMap { Int($0) } }
        let present = Set(numbers).count
        guard present < count.value else { return (0..<count.value).map { list / $0 } }
        ledger.note(
            .missing, "\(list.prefix)\(present) and on (\(count.place) is \(count.value), the weights have \(present))")
        return (0..<present).map { list / $0 }
    }
}
