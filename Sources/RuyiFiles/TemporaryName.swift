import Glibc
import RuyiFault

/// The names of temporaries, `.<name>.<pid>-<random>.part`, and the sweeping of those that dead processes have left.
enum TemporaryName {
    /// How old a temporary of a dead process must be, in seconds.
    static let staleSeconds = 3600

    /// A new name for a target of this name; a long name is cut so that the whole fits 255 bytes.
    static func make(for name: String) -> String {
        let random = String(UInt64.random(in: .min ... .max), radix: 16)
        let digits = String(repeating: "0", count: 16 - random.count) + random
        let end = ".\(getpid())-\(digits).part"
        var name = name
        while FileName.bytes(of: name).count + end.utf8.count + 1 > 255 { name.unicodeScalars.removeLast() }
        return ".\(name)\(end)"
    }

    /// The process that made a temporary of this name; nil for every other name.
    static func process(of name: String) -> pid_t? {
        guard name.hasPrefix("."), name.hasSuffix(".part") else { return nil }
        let middle = name.dropFirst().dropLast(5)
        guard let dot = middle.lastIndex(of: "."), dot > middle.startIndex else { return nil }
        let parts = middle[middle.index(after: dot)...].split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].utf8.count == 16, parts[1].allSatisfy({ $0.isHexDigit && $0.isASCII }),
            parts[0].allSatisfy({ $0.isASCII && $0.isNumber }), let process = pid_t(parts[0]), process > 0
        else { return nil }
        return process
    }

    /// Removes temporaries in a folder whose process is dead and which have not changed for an hour.
    static func sweep(_ folder: String) {
        for name in System.names(in: folder) ?? [] {
            guard let process = process(of: name), kill(process, 0) != 0, errno == ESRCH else { continue }
            var status = stat()
            guard System.lstat(folder + "/" + name, &status) == 0, time(nil) - status.st_mtim.tv_sec > staleSeconds
            else { continue }
            remove(folder + "/" + name)
        }
    }

    /// Removes every temporary of these targets in a folder, whichever process made it and however young it is.
    ///
    /// For callers who know that nobody else is writing them.
    static func sweep(_ folder: String, targets: Set<String>) {
        for name in System.names(in: folder) ?? [] where process(of: name) != nil {
            // `.<name>.<pid>-<random>.part`, of which the last two parts hold no further dot.
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            if targets.contains(parts.dropFirst().dropLast(2).joined(separator: ".")) { remove(folder + "/" + name) }
        }
    }

    /// Removes a temporary file, or a temporary folder with everything in it; no link is followed.
    static func remove(_ path: String) {
        var status = stat()
        guard System.lstat(path, &status) == 0 else { return }
        switch status.st_mode & S_IFMT {
        case S_IFREG: System.unlink(path)
        case S_IFDIR:
            for inner in System.names(in: path) ?? [] {
                if System.unlink(path + "/" + inner) != 0 { remove(path + "/" + inner) }
            }
            System.rmdir(path)
        default: break
        }
    }
}
