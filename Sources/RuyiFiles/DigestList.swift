import RuyiFault

/// The digests that lie beside the files of a folder, as `sha256sum` writes and checks them.
public struct DigestList: Sendable {
    /// The file's name.
    public static let file = "SHA256SUMS"

    /// The files in the order of the list, by their paths in the folder.
    public let entries: [(name: String, digest: ContentDigest)]

    /// Reads the list of a folder.
    ///
    /// Throws `.badData` with the line that is none, and as `ModelFolder.file` does.
    public init(_ folder: ModelFolder) throws(Fault) {
        let shown = folder.path + "/" + DigestList.file
        var lines = try LineReader(path: folder.file(DigestList.file), limit: 1 << 20, lineLimit: 1 << 13)
        var entries: [(name: String, digest: ContentDigest)] = []
        while let line = try lines.next() {
            if line.isEmpty { continue }
            let place = "\(shown):\(lines.number)"
            // 64 digits, a blank, and another or the asterisk of binary files.
            guard line.count > 66, let digest = ContentDigest(digits: FileName.text(line.prefix(64))),
                line[line.startIndex + 64] == 0x20
            else { throw Fault(.badData, "the line is not a digest and a name", at: place) }
            let name = FileName.text(line.dropFirst(66))
            try RelativePath.components(name, in: place)
            entries.append((name, digest))
        }
        self.entries = entries
    }
}
