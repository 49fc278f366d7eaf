import RuyiFault
import RuyiFiles

/// The files of one commit of a repository, as the hub lists them.
package struct HubListing: Sendable {
    /// The commit that the revision means.
    package let commit: String
    /// The files to download, in the order of their names; hidden ones, such as `.gitattributes`, are left out.
    package let files: [ModelManifest.Entry]

    /// Their bytes together.
    package var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }

    /// The most bytes that a model may have by its listing.
    private static let byteLimit = 1 << 50

    /// Reads the hub's answer, which is as hostile as any file.
    ///
    /// Throws `.badData` for what is no listing, for names that are no plain paths or stand in each other's way, and
    /// for files without size or digest.
    package init(parsing bytes: [UInt8], from place: String) throws(Fault) {
        let json = try JSONObject(parsing: bytes, file: place)
        commit = try json.string("sha")
        guard case .gitBlob = ContentDigest(digits: commit) else {
            throw json.fault("sha", expected: "a commit of 40 hexadecimal digits")
        }
        var files: [ModelManifest.Entry] = []
        var total = 0
        for element in try json.array("siblings") {
            let entry = try JSONObject(element, file: place)
            let name = try entry.string("rfilename")
            let parts = try RelativePath.components(name, in: place)
            if parts.contains(where: { $0.hasPrefix(".") }) { continue }
            let isUsed = [PartialFile.ending, PartialFile.recordEnding].contains { name.hasSuffix($0) }
            // What is added to the name while the file comes in must fit too.
            guard !isUsed, parts.allSatisfy({ $0.utf8.count <= 200 }) else {
                throw Fault(.badData, "the hub lists a file whose name cannot be used: \(name.prefix(120))", at: place)
            }
            let file = try HubListing.file(name, entry)
            let (sum, overflow) = total.addingReportingOverflow(file.byteCount)
            guard !overflow, sum <= HubListing.byteLimit else {
                throw Fault(.badData, "the hub lists files of more bytes than any disk has", at: place)
            }
            total = sum
            files.append(file)
        }
        self.files = files.sorted { $0.name < $1.name }
        try checkNames(place)
        guard !files.isEmpty else { throw Fault(.badData, "the repository has no files", at: place) }
    }

    /// The same of some files.
    func limited(to isWanted: (String) -> Bool) -> HubListing {
        HubListing(commit: commit, files: files.filter { isWanted($0.name) })
    }

    private init(commit: String, files: [ModelManifest.Entry]) { (self.commit, self.files) = (commit, files) }

    private static func file(_ name: String, _ entry: JSONObject) throws(Fault) -> ModelManifest.Entry {
        let large = try entry.objectIfPresent("lfs")
        let size = try (large ?? entry).int("size")
        guard size >= 0 else { throw entry.fault("size", expected: "a size") }
        let digits = large == nil ? try entry.string("blobId") : try large?.string("sha256") ?? ""
        let digest = ContentDigest(digits: digits)
        switch digest {
        case .sha256? where large != nil, .gitBlob? where large == nil:
            return ModelManifest.Entry(name: name, byteCount: size, digest: digest ?? .gitBlob(digits))
        default: throw entry.fault(large == nil ? "blobId" : "lfs", expected: "a digest of \(name.prefix(120))")
        }
    }

    /// Throws when a name is there twice, also in other letters or another spelling of accents, or is a folder as well.
    private func checkNames(_ place: String) throws(Fault) {
        var names = Set<String>()
        for file in files where !names.insert(file.name.lowercased()).inserted {
            throw Fault(.badData, "the hub lists two files that share a name: \(file.name)", at: place)
        }
        for file in files {
            var parts = file.name.lowercased().split(separator: "/")
            while parts.count > 1 {
                parts.removeLast()
                if names.contains(parts.joined(separator: "/")) {
                    throw Fault(.badData, "the hub lists a file in a file: \(file.name)", at: place)
                }
            }
        }
    }
}
