/// Finds the word that somebody probably meant.
package enum Nearest {
    /// The candidate with the fewest edits to `word`, if that is at most two, or a third of a longer word.
    package static func match(_ word: String, among candidates: [String]) -> String? {
        let limit = max(2, word.count / 3)
        let ranked = candidates.map { (name: $0, edits: edits(word, $0)) }.sorted {
            ($0.edits, $0.name) < ($1.edits, $1.name)
        }
        guard let best = ranked.first, best.edits <= limit, best.edits < best.name.count else { return nil }
        return best.name
    }

    /// The candidates with the nearest to `word` first; those of one distance keep their order.
    static func sorted(_ candidates: [String], by word: String) -> [String] {
        candidates.enumerated().sorted { (edits(word, $0.element), $0.offset) < (edits(word, $1.element), $1.offset) }
            .map(\.element)
    }

    /// The number of insertions, deletions, replacements and swaps of neighbours between two words.
    static func edits(_ first: String, _ second: String) -> Int {
        let a = Array(first.lowercased().prefix(64))
        let b = Array(second.lowercased().prefix(64))
        var rows = [Array(0...b.count)]
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, rows[i - 1][j - 1] + 1) }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
