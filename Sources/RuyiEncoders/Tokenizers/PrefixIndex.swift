/// Byte strings with values, among which all that a text begins with at some place are found.
struct PrefixIndex: Sendable {
    /// In the order of their bytes: those with a common beginning lie together, and the shortest of them first.
    private let values: [Int]
    /// The bytes of all strings one after the other, and where each begins and the last ends.
    private let bytes: [UInt8]
    private let starts: [Int]

    /// Takes strings, of which empty ones are left out.
    init(_ strings: [[UInt8]: Int]) {
        let ordered = strings.filter { !$0.key.isEmpty }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        values = ordered.map(\.value)
        bytes = ordered.flatMap(\.key)
        starts = ordered.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.key.count) }
    }

    /// The longest string that stands at a place of a text; nil where there is none.
    func longestMatch(in text: [UInt8], at place: Int) -> (value: Int, length: Int)? {
        var longest: (value: Int, length: Int)?
        forEachMatch(in: text, at: place) { longest = ($0, $1) }
        return longest
    }

    /// The value of the string that a part of a text is; nil where it is none.
    func value(of part: Range<Int>, in text: [UInt8]) -> Int? {
        var found: Int?
        forEachMatch(in: text, at: part.lowerBound, before: part.upperBound) { value, length in
            if length == part.count { found = value }
        }
        return found
    }

    /// Calls `body` with each string that stands at a place of a text, and before an end, the shortest first.
    ///
    /// Byte by byte the strings that still fit are narrowed down, so that their number hardly counts.
    func forEachMatch(
        in text: [UInt8], at place: Int, before end: Int = .max, _ body: (_ value: Int, _ length: Int) -> Void
    ) {
        let end = min(end, text.count)
        var (low, high, depth) = (0, values.count, 0)
        while low < high {
            if starts[low] + depth == starts[low + 1] {
                body(values[low], depth)
                low += 1
                continue
            }
            guard place + depth < end else { break }
            let byte = text[place + depth]
            if bytes[starts[low] + depth] != byte || bytes[starts[high - 1] + depth] != byte {
                low = boundary(low, high) { bytes[starts[$0] + depth] < byte }
                high = boundary(low, high) { bytes[starts[$0] + depth] == byte }
            }
            depth += 1
        }
    }

    /// The first place in an ordered range where something no longer holds.
    private func boundary(_ first: Int, _ end: Int, _ holds: (Int) -> Bool) -> Int {
        var (low, high) = (first, end)
        while low < high {
            let middle = (low + high) / 2
            if holds(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
