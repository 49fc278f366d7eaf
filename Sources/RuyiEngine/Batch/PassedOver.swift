import RuyiFault
import RuyiFiles

/// Files of a batch's folder that are no pictures, by their suffixes.
package struct PassedOver: Sendable, Equatable {
    /// How many files there are of each suffix in lower case; the empty one stands for names without.
    private(set) var counts: [String: Int] = [:]

    /// No files.
    init() {}

    /// Files of a folder beside its pictures, whose prompts are not counted.
    init(_ files: [String], besides pictures: [String]) {
        let stems = Set(pictures.map(PassedOver.stem))
        for file in files {
            let suffix = Path.suffix(file)
            if suffix == "txt", stems.contains(PassedOver.stem(file)) { continue }
            counts[suffix, default: 0] += 1
        }
    }

    /// Whether a name is one of those that systems leave in folders, of which nobody needs to hear.
    static func isHidden(_ name: String) -> Bool {
        name.utf8.first == UInt8(ascii: ".") || ["thumbs.db", "desktop.ini"].contains(name.lowercased())
    }

    /// A path without its last suffix.
    static func stem(_ path: String) -> String {
        guard !Path.suffix(path).isEmpty, let dot = path.lastIndex(of: ".") else { return path }
        return String(path[..<dot])
    }

    /// `3 files passed over: 2 mp4, 1 pdf`; nil where there are none.
    package var text: String? {
        guard !counts.isEmpty else { return nil }
        let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        let kinds = sorted.prefix(8).map {
            "\($0.value) \($0.key.isEmpty ? "without a suffix" : String($0.key.prefix(20)))"
        }
        let rest = sorted.dropFirst(8).reduce(0) { $0 + $1.value }
        let all = counts.values.reduce(0, +)
        let list = (kinds + (rest > 0 ? ["\(rest) others"] : [])).joined(separator: ", ")
        return Fault.printable("\(all) \(all == 1 ? "file" : "files") passed over: \(list)")
    }

    /// The counts by suffix.
    var json: JSON { .sorted(counts.mapValues(JSON.int)) }
}
