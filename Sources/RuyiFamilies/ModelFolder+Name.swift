import RuyiFiles

extension ModelFolder {
    /// The name of the checkpoint in hand, for messages: its folder's, or the repository's in a hub's cache.
    public var name: String {
        if let title { return title }
        let parts = root.split(separator: "/").map(String.init)
        let repository = "models--"
        if parts.count > 2, parts[parts.count - 2] == "snapshots", parts[parts.count - 3].hasPrefix(repository) {
            let name = parts[parts.count - 3].dropFirst(repository.count)
            return name.firstRange(of: "--").map { String(name[$0.upperBound...]) } ?? String(name)
        }
        // A link is called as it is named, whatever it leads to.
        let named = path.split(separator: "/").last.map(String.init) ?? ""
        return [".", "..", ""].contains(named) ? parts.last ?? root : named
    }
}
