import Glibc
import RuyiFault

/// What comes in through standard input.
enum StandardInput {
    /// All of it.
    ///
    /// Throws `.badData` for more than `limit` bytes, `.io` when reading fails.
    static func bytes(limit: Int) throws(Fault) -> [UInt8] {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(STDIN_FILENO, &part, part.count)
            if count == 0 { return bytes }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw Fault(.io, "cannot read: \(Path.reason(errno))", at: "standard input")
            }
            bytes += part[..<count]
            if bytes.count > limit {
                throw Fault(.badData, "the list has more than \(limit) bytes", at: "standard input")
            }
        }
    }
}
