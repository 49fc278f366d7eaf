import Glibc
import RuyiFault
import RuyiTensor

/// Bytes that do not have to stay in memory, in a file without a name: it is gone with the process, however that ends.
package final class ScratchFile: Sendable {
    private let descriptor: Int32
    /// What the file is for, for messages.
    private let target: String

    /// Makes the file in the folder of an output, where there has to be room.
    ///
    /// Throws `.cannotCreate` and `.io` as `AtomicFile` does.
    package init(beside target: String) throws(Fault) {
        let file = try AtomicFile(target, overwrite: true, isPrivate: true)
        defer { file.discard() }
        descriptor = System.open(file.path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        self.target = target
        guard descriptor >= 0 else { throw Fault.system(.cannotCreate, "cannot create a file", target, errno) }
    }

    deinit { close(descriptor) }

    /// So many bytes of an empty file as memory, which outlives the file.
    ///
    /// Throws `.io` where the disk has no room for them: what is not there would end the process when it is written to.
    func memory(_ byteCount: Int) throws(Fault) -> HostStorage {
        let refusal = posix_fallocate(descriptor, 0, byteCount)
        guard refusal == 0 else { throw Fault.system(.io, "there is no room for a file", target, refusal) }
        guard let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED
        else { throw Fault.system(.io, "cannot map a file", target, errno) }
        return HostStorage(base: base, byteCount: byteCount) { base, count in munmap(base, count) }
    }

    /// Puts bytes at a place.
    ///
    /// Throws `.io` when the disk is full or fails.
    package func write(_ bytes: [UInt8], at offset: Int) throws(Fault) {
        var done = 0
        while done < bytes.count {
            let step = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, offset + done)
            }
            if step > 0 {
                done += step
            } else if step == 0 || errno != EINTR {
                throw OutputTarget.fault(errno, "cannot keep frames beside the file", target, otherwise: .io)
            }
        }
    }

    /// The bytes at a place.
    ///
    /// Throws `.io` when the disk fails.
    package func read(_ count: Int, at offset: Int) throws(Fault) -> [UInt8] {
        var done = 0
        var bytes = [UInt8](repeating: 0, count: count)
        while done < count {
            let step = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + done }, count - done, offset + done)
            }
            if step > 0 {
                done += step
            } else if step == 0 || errno != EINTR {
                throw Fault.system(.io, "cannot read the frames that are kept beside the file", target, errno)
            }
        }
        return bytes
    }
}
