import Glibc
import RuyiFault

/// An output file that appears complete or not at all.
///
/// It is written under a hidden temporary name in the target's folder and gets its name when `commit` has brought it to
/// the disk. Without `commit` it disappears, also when the process is stopped by a signal whose handler calls
/// `Temporaries.removeAll`. One thread at a time uses it.
public final class AtomicFile {
    /// The temporary file, which exists and is empty: for libraries that write by path.
    public let path: String
    /// The final path.
    public var target: String { place.path }
    private let place: OutputTarget
    private var descriptor: Int32
    private var slot: Int?

    /// Makes the temporary file, which with `isPrivate` is for this user's eyes alone; old ones of dead processes in the
    /// folder are removed.
    ///
    /// - Throws: `.cannotCreate` with a hint when the target exists and is not to be overwritten, or its folder is
    ///   missing or not writable; `.io` when the disk is full.
    public init(_ target: String, overwrite: Bool = false, isPrivate: Bool = false) throws(Fault) {
        let place = try OutputTarget(target)
        try place.check(overwrite: overwrite)
        TemporaryName.sweep(place.folder)
        while true {
            let path = place.place(of: TemporaryName.make(for: place.name))
            let slot = try Temporaries.add(path, .file)
            let descriptor = System.open(
                path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, isPrivate ? 0o600 : 0o666)
            if descriptor >= 0 {
                (self.place, self.path, self.descriptor, self.slot) = (place, path, descriptor, slot)
                return
            }
            let code = errno
            Temporaries.remove(slot)
            if code == EEXIST { continue }
            throw OutputTarget.fault(code, "cannot create the file", target, otherwise: .cannotCreate)
        }
    }

    deinit { discard() }

    /// Appends bytes.
    ///
    /// Throws `.io` when the disk is full or fails.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(Fault) {
        precondition(descriptor >= 0, "the file has been committed or discarded")
        var done = 0
        while done < bytes.count {
            let step = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, min(bytes.count - done, 1 << 30))
            if step >= 0 {
                done += step
            } else if errno != EINTR {
                throw OutputTarget.fault(errno, "cannot write the file", target, otherwise: .io)
            }
        }
    }

    /// Appends bytes.
    ///
    /// Throws `.io` when the disk is full or fails.
    public func write(_ bytes: [UInt8]) throws(Fault) {
        try bytes.withUnsafeBytes { buffer in Result { () throws(Fault) in try write(buffer) } }.get()
    }

    /// Appends a text in UTF-8.
    ///
    /// Throws `.io` when the disk is full or fails.
    public func write(_ text: String) throws(Fault) { try write(Array(text.utf8)) }

    /// Brings the file to the disk and gives it its final name.
    ///
    /// After a fault the temporary file is gone. A file that is not to be `durable` may be missing or empty after the
    /// machine has lost its power.
    ///
    /// - Throws: `.cannotCreate` when the target has come to exist and is not to be overwritten, `.io` when writing
    ///   fails.
    public func commit(overwrite: Bool = false, durable: Bool = true) throws(Fault) {
        precondition(descriptor >= 0, "the file has been committed or discarded")
        defer { discard() }
        // A library may have put another file under the name; that one is meant, so it is opened again.
        if durable { try OutputTarget.synchronise(path, shown: target) }
        let descriptor = self.descriptor
        self.descriptor = -1
        guard close(descriptor) == 0 || errno == EINTR else {
            throw OutputTarget.fault(errno, "cannot write the file", target, otherwise: .io)
        }
        try place.take(path, overwrite: overwrite)
        if let slot { Temporaries.remove(slot) }
        slot = nil
        if durable { try OutputTarget.synchronise(place.folder, shown: target) }
    }

    /// Removes the temporary file.
    ///
    /// Does nothing after `commit` or `discard`.
    public func discard() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        guard let slot else { return }
        System.unlink(path)
        Temporaries.remove(slot)
        self.slot = nil
    }
}
