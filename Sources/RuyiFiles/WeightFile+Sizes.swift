import RuyiTensor

extension WeightFile {
    /// Bytes of the tensors of some names, as stored.
    package func byteCount(_ isCounted: (String) -> Bool) -> Int {
        keys.filter(isCounted).reduce(0) { $0 + byteCount(of: $1) }
    }

    /// Bytes of every block: of the tensors whose names begin alike up to the number behind one of `lists`, such as
    /// `blocks.3`; under an empty name, of those that stand outside.
    package func blockByteCounts(_ lists: Set<Substring>) -> [String: Int] {
        var counts: [String: Int] = [:]
        for key in keys {
            let parts = key.split(separator: ".", omittingEmptySubsequences: false)
            let list = parts.firstIndex { lists.contains($0) }
            let block = list.map { parts.prefix($0 + 2).joined(separator: ".") } ?? ""
            counts[block, default: 0] += byteCount(of: key)
        }
        return counts
    }

    private func byteCount(of key: String) -> Int {
        dtype(of: key)?.byteCount(of: (shape(of: key) ?? []).reduce(1, *)) ?? 0
    }
}
