import Glibc
import RuyiFault

/// A file that arrives piece by piece, over several runs of the program if need be.
///
/// It grows as `NAME.part` beside its target, with a record `NAME.part.json` of what it is to become, and gets its name
/// when its content has been checked. Unlike an `AtomicFile` it stays when the process ends. One thread at a time uses
/// it, and the caller sees to it that no other process does.
package final class PartialFile {
    /// The bytes that are there.
    package private(set) var count = 0
    /// What the server called the version that the bytes are of.
    package private(set) var version: String?

    private let target: String
    private let expected: ModelManifest.Entry
    private var check: ContentCheck
    private var descriptor: Int32
    /// Whether there is a record of the version.
    private var isNoted = false

    private var path: String { target + PartialFile.ending }
    private var record: String { target + PartialFile.recordEnding }

    /// What the name of the growing file ends with.
    package static let ending = ".part"
    /// What the name of its record ends with.
    package static let recordEnding = ".part.json"

    /// The bytes that an earlier run has left of a file, as far as they can be taken over.
    package static func count(_ target: String, of expected: ModelManifest.Entry) -> Int {
        guard let mark = FileMark(target + ending), mark.byteCount <= expected.byteCount,
            (try? version(target, expected)) != nil
        else { return 0 }
        return mark.byteCount
    }

    /// Removes what killed processes have left in a folder: what they wrote records of these files into, and records of
    /// files that have got their names.
    package static func removeLeftovers(inFolder folder: String, names: [String]) {
        let records = Set(names.map { $0 + recordEnding }).subtracting(names)
        TemporaryName.sweep(folder, targets: records)
        for name in names where records.contains(name + recordEnding) && FileMark(folder + "/" + name + ending) == nil {
            System.unlink(folder + "/" + name + recordEnding)
        }
    }

    /// Opens what is there, reads it through for the digest, and goes on after it; what was to become another file is
    /// thrown away.
    ///
    /// `proceed` is asked now and then and ends the reading by throwing. Throws `.cannotCreate` or `.io`.
    package init(_ target: String, _ expected: ModelManifest.Entry, proceed: () throws -> Void) throws {
        self.target = target
        self.expected = expected
        check = ContentCheck(expected.digest, byteCount: expected.byteCount)
        let path = target + PartialFile.ending
        descriptor = System.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o666)
        guard descriptor >= 0 else {
            throw OutputTarget.fault(errno, "cannot create the file", path, otherwise: .cannotCreate)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Fault(.cannotCreate, "there is something other than a file of this name", at: path)
        }
        guard status.st_size > 0, status.st_size <= expected.byteCount,
            let version = try? PartialFile.version(target, expected)
        else {
            try restart()
            return
        }
        (self.version, isNoted) = (version.isEmpty ? nil : version, true)
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while count < Int(status.st_size) {
            try proceed()
            let step = pread(descriptor, &piece, min(piece.count, Int(status.st_size) - count), count)
            if step < 0, errno == EINTR { continue }
            guard step > 0 else { throw Fault.system(.io, "cannot read the file", path, step == 0 ? EIO : errno) }
            check.update(step == piece.count ? piece : Array(piece[..<step]))
            count += step
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The version that the record names, `""` for none.
    ///
    /// Throws where there is no record, or one of another file.
    private static func version(_ target: String, _ expected: ModelManifest.Entry) throws(Fault) -> String {
        let path = target + recordEnding
        let json = try JSONObject(parsing: try FileBytes.read(path, limit: 1 << 16), file: path)
        guard try json.string("digest") == expected.digest.digits, try json.int("bytes") == expected.byteCount else {
            throw json.fault("digest", expected: expected.digest.digits)
        }
        return try json.string("version", default: "")
    }

    /// Forgets everything that is there.
    ///
    /// Throws `.io`.
    package func restart() throws(Fault) {
        guard ftruncate(descriptor, 0) == 0 else {
            throw OutputTarget.fault(errno, "cannot write the file", path, otherwise: .io)
        }
        check = ContentCheck(expected.digest, byteCount: expected.byteCount)
        (count, version, isNoted) = (0, nil, false)
        System.unlink(record)
    }

    /// Notes what the server calls the version that comes in, so that a later run can go on with it.
    ///
    /// The record need not outlive a loss of power: the digest judges whatever is there. Throws `.io`.
    package func note(_ version: String?) throws(Fault) {
        if isNoted, self.version == version { return }
        (self.version, isNoted) = (version, true)
        let json: JSON = .object([
            .init("digest", .string(expected.digest.digits)), .init("bytes", .int(expected.byteCount)),
            .init("version", version.map(JSON.string) ?? .null),
        ])
        let file = try AtomicFile(record, overwrite: true)
        try file.write(json.text() + "\n")
        try file.commit(overwrite: true, durable: false)
    }

    /// Adds bytes, which must not be more than the file is to have.
    ///
    /// Throws `.io` when the disk is full or fails.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(Fault) {
        var done = 0
        while done < bytes.count {
            let step = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, count + done)
            if step >= 0 {
                done += step
            } else if errno != EINTR {
                let code = errno
                check.update(Array(bytes[..<done]))
                count += done
                throw OutputTarget.fault(code, "cannot write the file", path, otherwise: .io)
            }
        }
        check.update(Array(bytes))
        count += bytes.count
    }

    /// Whether the whole content is there and is what was expected.
    package var isWhole: Bool { count == expected.byteCount && check.finish() }

    /// Brings the file to the disk and gives it its name; `isWhole` must hold.
    ///
    /// Throws `.io` or `.cannotCreate`.
    package func commit() throws(Fault) {
        precondition(isWhole, "the file is not what it should be")
        guard fsync(descriptor) == 0 else {
            throw OutputTarget.fault(errno, "cannot bring the file to the disk", path, otherwise: .io)
        }
        let descriptor = self.descriptor
        self.descriptor = -1
        guard close(descriptor) == 0 || errno == EINTR else {
            throw OutputTarget.fault(errno, "cannot write the file", path, otherwise: .io)
        }
        let place = try OutputTarget(target)
        // A name that a loss of power takes back costs another download of the file, and is not worth a wait for each.
        try place.take(path, overwrite: true)
        System.unlink(record)
    }
}
