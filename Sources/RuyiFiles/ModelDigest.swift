import RuyiFault

extension ModelFolder {
    /// What tells this checkpoint from others: 64 hexadecimal digits that take a moment, not a pass over all weights.
    ///
    /// The SHA-256 of, in the order of their names, every file that holds configuration, vocabulary or weights: its name,
    /// its size, and its bytes. Of weights it takes the header (safetensors) and 32 blocks of 4 KiB at even distances,
    /// so that checkpoints that differ in training differ in digest, while a single changed number may go unseen.
    ///
    /// Throws what opening and reading the files throws.
    public func digest() throws(Fault) -> String { try digest(of: digestedFiles("", depth: 4)) }

    /// The digests of what lies in folders of these names, wherever they are, by name, and under an empty name that of
    /// everything else.
    ///
    /// Folders without weights are left out. Throws as `digest` does.
    public func digests(of folders: Set<String>) throws(Fault) -> [String: String] {
        let parts = Dictionary(grouping: try digestedFiles("", depth: 4)) { name in
            name.split(separator: "/").dropLast().map(String.init).first(where: folders.contains) ?? ""
        }
        var digests: [String: String] = [:]
        for (folder, files) in parts {
            let hasWeights = files.contains { name in ModelFolder.weightEndings.contains { name.hasSuffix($0) } }
            if hasWeights || folder.isEmpty { digests[folder] = try digest(of: files) }
        }
        return digests
    }

    private func digest(of names: [String]) throws(Fault) -> String {
        var digest = SHA256()
        for name in names.sorted() {
            let file = try OpenFile(path: try file(name), shown: shown(name))
            digest.update(Array("\(name)\n\(file.byteCount)\n".utf8))
            let isWeight = ModelFolder.weightEndings.contains { name.hasSuffix($0) }
            for range in try isWeight ? ModelFolder.samples(of: file, name) : [0..<file.byteCount] {
                for start in stride(from: range.lowerBound, to: range.upperBound, by: 1 << 20) {
                    digest.update(try file.read(start..<min(start + 1 << 20, range.upperBound)))
                }
            }
        }
        return digest.finish()
    }

    /// How the names of weights end.
    static let weightEndings = [".safetensors", ".bin", ".pt", ".pth", ".gguf"]
    private static let textEndings = [".json", ".txt", ".model"]

    /// The names of the files that count; links that lead out of the folder do not.
    private func digestedFiles(_ folder: String, depth: Int) throws(Fault) -> [String] {
        var files: [String] = []
        for name in try names(in: folder) where !name.hasPrefix(".") {
            let inner = folder.isEmpty ? name : folder + "/" + name
            if hasFolder(inner) {
                if depth > 1 { files += try digestedFiles(inner, depth: depth - 1) }
                continue
            }
            let isCounted = (ModelFolder.weightEndings + ModelFolder.textEndings).contains { name.hasSuffix($0) }
            if isCounted, try has(inner) { files.append(inner) }
        }
        return files
    }

    /// The parts of a weight file that are read.
    private static func samples(of file: OpenFile, _ name: String) throws(Fault) -> [Range<Int>] {
        let block = 4096
        var start = 0
        if name.hasSuffix(".safetensors"), file.byteCount >= 8 {
            let length = try file.read(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            start = 8 + Int(min(length, UInt64(file.byteCount - 8), UInt64(SafetensorsHeader.byteLimit)))
        }
        let header = start > 0 ? [0..<start] : []
        let rest = file.byteCount - start
        guard rest > 32 * block else { return header + [start..<file.byteCount] }
        return header
            + (0..<32).map { index in
                let place = start + (rest - block) / 31 * index
                return place..<place + block
            }
    }
}
