import Glibc
import RuyiFault

/// A regular file opened for reading; closed when nobody holds it.
final class OpenFile: Sendable {
    /// What tells a file from another, and from itself after a change.
    struct Identity: Sendable, Equatable {
        let device: UInt64
        let number: UInt64
        let byteCount: Int
        let modifiedSeconds: Int
        let modifiedNanoseconds: Int

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            number = UInt64(status.st_ino)
            byteCount = Int(status.st_size)
            modifiedSeconds = status.st_mtim.tv_sec
            modifiedNanoseconds = status.st_mtim.tv_nsec
        }
    }

    /// The name for messages.
    let path: String
    let identity: Identity
    private let descriptor: Int32

    var byteCount: Int { identity.byteCount }

    /// Opens a regular file.
    ///
    /// Throws `.cannotOpen` when it is missing, not allowed, or something else than a file.
    init(path place: String, shown: String? = nil) throws(Fault) {
        let path = shown ?? place
        if place.utf8.contains(0) { throw Fault(.cannotOpen, "the name of a file contains a NUL", at: path) }
        // Looked at before it is opened: opening a device or a pipe can do things.
        var status = stat()
        guard System.stat(place, &status) == 0 else {
            if errno == ENOENT { throw Fault(.cannotOpen, "the file does not exist", at: path) }
            throw Fault.system(.cannotOpen, "cannot open the file", path, errno)
        }
        try OpenFile.checkRegular(status, path)
        let descriptor = System.open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw Fault.system(.cannotOpen, "cannot open the file", path, errno) }
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw Fault(.cannotOpen, "not a regular file", at: path)
        }
        self.path = path
        self.descriptor = descriptor
        identity = Identity(status)
    }

    deinit { close(descriptor) }

    static func checkRegular(_ status: stat, _ path: String) throws(Fault) {
        let kind: String? =
            switch status.st_mode & S_IFMT {
            case S_IFREG: nil
            case S_IFDIR: "a folder, not a file"
            case S_IFIFO: "a pipe, not a regular file"
            case S_IFSOCK: "a socket, not a regular file"
            default: "a device, not a regular file"
            }
        if let kind { throw Fault(.cannotOpen, kind, at: path) }
    }

    /// Copies a range that lies inside the size seen at opening.
    ///
    /// Throws `.io` when reading fails or the file has shrunk.
    func read(_ range: Range<Int>) throws(Fault) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "\(range) is outside \(path)")
        guard !range.isEmpty else { return [] }
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            while count < range.count {
                let step = pread(
                    descriptor, buffer.baseAddress.map { $0 + count }, range.count - count, range.lowerBound + count)
                if step > 0 {
                    count += step
                } else if step == 0 || errno != EINTR {
                    code = step == 0 ? 0 : errno
                    return
                }
            }
        }
        if code != 0 { throw Fault.system(.io, "cannot read the file", path, code) }
        if bytes.count < range.count { throw Fault(.io, "the file became shorter while it was read", at: path) }
        return bytes
    }

    /// Throws `.badData` when the size or the time of the last change differs from what was seen at opening.
    func checkUnchanged() throws(Fault) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Fault.system(.io, "cannot read the file", path, errno) }
        if Identity(status) != identity {
            throw Fault(
                .badData, "the file was changed while it was in use", at: path, hint: "run again once it is complete")
        }
    }

    /// Maps the whole file for reading; nil when it is empty.
    func map() throws(Fault) -> UnsafeMutableRawPointer? {
        if byteCount == 0 { return nil }
        guard let base = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
            throw Fault.system(errno == ENOMEM ? .resources : .io, "cannot map the file", path, errno)
        }
        return base
    }
}
