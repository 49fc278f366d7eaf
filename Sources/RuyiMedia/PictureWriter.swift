import CPNG
import RuyiFault
import RuyiPicture

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Writes 8-bit RGB PNG pictures; the same picture always gives the same bytes.
public enum PictureWriter {
    /// The picture as a PNG file's bytes, with text tags (keys of 1 to 79 ASCII characters) if there are any.
    public static func png(_ picture: Picture, tags: [(key: String, text: String)] = []) throws(Fault) -> [UInt8] {
        for tag in tags where !(1...79).contains(tag.key.utf8.count) || !tag.key.utf8.allSatisfy({ 32...126 ~= $0 }) {
            throw Fault(.software, "a PNG picture cannot hold a text tag called \(tag.key)")
        }
        var message = MessageBuffer()
        var data: UnsafeMutablePointer<UInt8>?
        var length = 0
        let status = withCStrings(tags.flatMap { [$0.key, $0.text] }) { strings in
            let keys = stride(from: 0, to: strings.count, by: 2).map { strings[$0] }
            let texts = stride(from: 1, to: strings.count, by: 2).map { strings[$0] }
            return picture.pixels.withUnsafeBufferPointer { rgb in
                message.fill { text, room in
                    ruyi_png_encode(
                        rgb.baseAddress, UInt32(picture.width), UInt32(picture.height), keys, texts, Int32(tags.count),
                        &data, &length, text, room)
                }
            }
        }
        guard status == 0, let data else {
            throw Fault(
                status == Int32(RUYI_PNG_MEMORY) ? .resources : .software,
                "cannot encode a PNG picture of \(picture.width)x\(picture.height): \(message.text)")
        }
        defer { ruyi_png_free(data) }
        return [UInt8](UnsafeBufferPointer(start: data, count: length))
    }

    /// Writes the picture to a path, which the caller renames when all is well; bytes are on the disk on return.
    public static func write(
        _ picture: Picture, to path: String, tags: [(key: String, text: String)] = []
    ) throws(Fault) {
        let bytes = try png(picture, tags: tags)
        let descriptor = System.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Fault.system(.cannotCreate, "cannot create", path, errno) }
        var failure = writeAll(bytes, to: descriptor)
        if failure == 0 { failure = flushed(descriptor) }
        if close(descriptor) != 0 && failure == 0 { failure = errno }
        guard failure == 0 else { throw Fault.system(.io, "cannot write", path, failure) }
    }
}

/// Writes all of the bytes; the error number, 0 if all is well.
private func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    bytes.withUnsafeBytes { buffer in
        var done = 0
        while done < buffer.count {
            let written = write(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
            if written >= 0 { done += written } else if errno != EINTR { return errno }
        }
        return 0
    }
}

/// Brings a file's bytes to the disk; the error number, 0 if all is well or the file cannot be synchronised at all.
func flushed(_ descriptor: Int32) -> Int32 {
    if fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS { return 0 }
    return errno
}

/// Calls `body` with C copies of the strings, which live until it returns.
func withCStrings<Result>(_ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> Result) -> Result {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies.map { UnsafePointer($0) })
}
