import Glibc

/// The control groups that the process is in, as the kernel shows them.
package enum ControlGroup {
    /// The folders of the process's group and all its parents: in the unified hierarchy, or of one controller of the
    /// older kind.
    static func folders(controller: String?) -> [String] {
        var result: [String] = []
        for line in Path.smallText("/proc/self/cgroup")?.split(separator: "\n") ?? [] {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let roots: [String]
            if let controller {
                guard fields[1].split(separator: ",").contains(Substring(controller)) else { continue }
                roots = ["/sys/fs/cgroup/" + fields[1], "/sys/fs/cgroup/" + controller]
            } else {
                guard fields[1].isEmpty else { continue }
                roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            }
            let names = fields[2].split(separator: "/").filter { $0 != ".." }
            for root in roots {
                for depth in 0...names.count {
                    result.append(([root] + names.prefix(depth).map(String.init)).joined(separator: "/"))
                }
            }
        }
        return result
    }

    /// The first word of a file of a group.
    static func word(_ path: String) -> String? {
        Path.smallText(path)?.split(whereSeparator: \.isWhitespace).first.map(String.init)
    }

    /// A line's number in a file of `name value` lines.
    package static func value(_ name: String, in path: String) -> Int? {
        for line in Path.smallText(path)?.split(separator: "\n") ?? [] {
            let words = line.split(whereSeparator: \.isWhitespace)
            if words.count >= 2, words[0] == name { return Int(words[1]) }
        }
        return nil
    }
}
