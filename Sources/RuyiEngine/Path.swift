import Glibc
import RuyiFault

/// Paths as text, in the way of POSIX.
package enum Path {
    /// Compared by bytes: a slash and an accent behind it are one character.
    private static let slash = UInt8(ascii: "/")

    /// The part after the last slash.
    package static func name(_ path: String) -> String {
        path.utf8.lastIndex(of: slash).map { String(path[path.utf8.index(after: $0)...]) } ?? path
    }

    /// The part before the last slash, `.` when there is none.
    package static func folder(_ path: String) -> String {
        guard let last = path.utf8.lastIndex(of: slash) else { return "." }
        return last == path.startIndex ? "/" : String(path[..<last])
    }

    /// The name without its last extension.
    package static func stem(_ path: String) -> String {
        let name = name(path)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return name }
        return String(name[..<dot])
    }

    /// The last extension in lower case without its dot, empty when there is none.
    package static func suffix(_ path: String) -> String {
        let name = name(path)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "" }
        return name[name.index(after: dot)...].lowercased()
    }

    /// `path` seen from `folder`, unless it is absolute.
    package static func resolve(_ path: String, in folder: String) -> String {
        if path.utf8.first == slash || folder == "." || folder.isEmpty { return path }
        return folder.utf8.last == slash ? folder + path : folder + "/" + path
    }

    /// What is at a path.
    package enum Kind: Sendable, Equatable { case nothing, file, folder, unreachable(String) }

    /// Looks at a path, following links.
    package static func kind(_ path: String) -> Kind {
        var info = stat()
        guard System.stat(path, &info) == 0 else {
            return errno == ENOENT ? .nothing : .unreachable(Path.reason(errno))
        }
        return info.st_mode & S_IFMT == S_IFDIR ? .folder : .file
    }

    /// The size of a file in bytes; nil where there is none.
    package static func fileSize(_ path: String) -> Int? {
        var info = stat()
        return System.stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG ? Int(info.st_size) : nil
    }

    /// The absolute path without links; nil where there is nothing.
    package static func real(_ path: String) -> String? { path.isEmpty ? nil : System.realpath(path) }

    /// The names in a folder in no order; none where there is no folder.
    ///
    /// Throws `.cannotOpen` or `.resources` where the system does not list it.
    static func names(in path: String) throws(Fault) -> [String] {
        if let names = System.names(in: path) { return names }
        if errno == ENOENT || errno == ENOTDIR { return [] }
        throw Fault.system(.cannotOpen, "cannot list the folder", path, errno)
    }

    /// Whether there is a folder at a path that is not a link to one.
    static func isPlainFolder(_ path: String) -> Bool {
        var info = stat()
        return System.lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether both paths lead to the same existing file.
    static func isSame(_ first: String, _ second: String) -> Bool {
        var a = stat()
        var b = stat()
        return System.stat(first, &a) == 0 && System.stat(second, &b) == 0 && a.st_dev == b.st_dev
            && a.st_ino == b.st_ino
    }

    /// The system's words for an error number, in lower case.
    static func reason(_ code: Int32) -> String { String(cString: strerror(code)).lowercased() }

    /// The text of a small file such as those under `/proc`, nil when it cannot be read.
    static func smallText(_ path: String) -> String? {
        let descriptor = System.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        var filled = 0
        while filled < bytes.count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                read(descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            if got <= 0 { break }
            filled += got
        }
        return String(decoding: bytes[..<filled], as: UTF8.self)
    }
}
