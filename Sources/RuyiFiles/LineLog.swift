import Glibc
import RuyiFault

/// A text file that grows by whole lines and that one process at a time may hold.
///
/// A line is on the disk when `append` returns. What a crash leaves of an unfinished line is no line. The hold ends
/// with the process, however it ends.
public final class LineLog: Sendable {
    /// How the file is held: by one process alone, or by any number that all share it.
    public enum Hold: Sendable { case alone, shared }

    /// The file.
    public let path: String
    private let descriptor: Int32

    /// Opens the file, which is made if it is missing, and holds it.
    ///
    /// Where the file system has no locks, nobody is kept out.
    ///
    /// - Throws: `.locked` when another process holds it, `.cannotCreate` when it cannot be opened or is not a file.
    public init(_ path: String, hold: Hold) throws(Fault) {
        let descriptor = System.open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o666)
        guard descriptor >= 0 else { throw OutputTarget.fault(errno, "cannot open", path, otherwise: .cannotCreate) }
        self.path = path
        self.descriptor = descriptor
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Fault(.cannotCreate, "not a regular file", at: path)
        }
        if flock(descriptor, (hold == .alone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0, errno == EWOULDBLOCK {
            throw Fault(.locked, "another run is at work here", at: path, hint: "wait until it has ended")
        }
    }

    deinit { close(descriptor) }

    /// Hands the whole lines of the file, without their ends, to `body` one after the other, with their numbers.
    ///
    /// An unfinished line at the end is cut off. Throws what `body` throws, and `.badData` for a file of more than `limit`
    /// bytes or a line of more than `lineLimit`.
    public func lines(
        limit: Int, lineLimit: Int, _ body: (Int, ArraySlice<UInt8>) throws(Fault) -> Void
    ) throws(Fault) {
        let count = try LineLog.lines(path, limit: limit, lineLimit: lineLimit, body)
        var status = stat()
        guard fstat(descriptor, &status) == 0, Int(status.st_size) > count else { return }
        guard ftruncate(descriptor, off_t(count)) == 0 else {
            throw Fault.system(.io, "cannot cut off an unfinished line", path, errno)
        }
    }

    /// The same with a file that another process may hold and write, whose unfinished line is left out.
    ///
    /// - Returns: the bytes of the whole lines.
    @discardableResult
    public static func lines(
        _ path: String, limit: Int, lineLimit: Int, _ body: (Int, ArraySlice<UInt8>) throws(Fault) -> Void
    ) throws(Fault) -> Int {
        var reader = try LineReader(path: path, limit: limit, lineLimit: lineLimit)
        while let line = try reader.next() {
            guard reader.isWhole else { return reader.byteCount - line.count }
            try body(reader.number, line)
        }
        return reader.byteCount
    }

    /// Adds a line and brings it to the disk.
    ///
    /// Throws `.io` when the disk is full or fails.
    public func append(_ line: String) throws(Fault) {
        let bytes = Array((line + "\n").utf8)
        let written = bytes.withUnsafeBytes { buffer in
            var count = Glibc.write(descriptor, buffer.baseAddress, buffer.count)
            while count < 0, errno == EINTR { count = Glibc.write(descriptor, buffer.baseAddress, buffer.count) }
            return count
        }
        guard written == bytes.count else {
            throw OutputTarget.fault(written < 0 ? errno : ENOSPC, "cannot write", path, otherwise: .io)
        }
        // Some file systems cannot do this and say EINVAL.
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw OutputTarget.fault(errno, "cannot bring to the disk", path, otherwise: .io)
        }
    }
}
