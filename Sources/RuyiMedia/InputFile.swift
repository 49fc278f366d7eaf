import RuyiFault

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A regular file that is open for reading, for as long as a closure runs.
struct InputFile {
    /// Files larger than this are no pictures.
    static let limit = 1 << 30

    let path: String
    let size: Int
    private let descriptor: Int32

    /// Opens the file, which must be a regular one, and closes it when `body` is done.
    static func with<Result>(_ path: String, _ body: (InputFile) throws(Fault) -> Result) throws(Fault) -> Result {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw Fault(.cannotOpen, "not a file name", at: path)
        }
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let descriptor = System.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Fault.system(.cannotOpen, "cannot open", path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Fault.system(.cannotOpen, "cannot open", path, errno) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw Fault(.cannotOpen, "is a folder, not a file", at: path)
        default: throw Fault(.cannotOpen, "is not a regular file", at: path)
        }
        return try body(InputFile(path: path, size: Int(status.st_size), descriptor: descriptor))
    }

    /// The first bytes of the file, at most `limit`.
    func prefix(_ limit: Int) throws(Fault) -> [UInt8] {
        let wanted = min(limit, size)
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            while count < wanted {
                let got = pread(descriptor, buffer.baseAddress?.advanced(by: count), wanted - count, off_t(count))
                if got > 0 { count += got }
                if got == 0 { break }
                if got < 0 && errno != EINTR {
                    failure = errno
                    break
                }
            }
        }
        guard failure == 0 else { throw Fault.system(.io, "cannot read", path, failure) }
        return bytes
    }

    /// The whole file.
    func bytes() throws(Fault) -> [UInt8] {
        guard size <= InputFile.limit else {
            throw Fault(.badData, "is larger than a picture may be, \(size) of \(InputFile.limit) bytes", at: path)
        }
        return try prefix(size)
    }
}
