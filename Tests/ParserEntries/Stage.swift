import Glibc
import RuyiFault
import RuyiFiles

/// A folder in memory for parsers that read files, kept for the life of the process.
struct Stage {
    let folder: String

    init() {
        // A name of its own for each process; what an earlier one of the same number left is written over.
        let base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        folder = "\(base)/ruyi-entries-\(getpid())"
        mkdir(folder, 0o700)
        atexit { ParserEntry.clean() }
    }

    /// Writes a file, in a folder that is made if need be, and returns its path.
    func file(_ name: String, _ bytes: some Collection<UInt8>) -> String {
        let path = folder + "/" + name
        if let slash = name.lastIndex(of: "/") { mkdir(folder + "/" + name[..<slash], 0o700) }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        precondition(descriptor >= 0, "cannot write \(path)")
        let content = Array(bytes)
        precondition(write(descriptor, content, content.count) == content.count, "cannot write \(path)")
        close(descriptor)
        return path
    }

    /// A small checkpoint, copied when it is asked for first.
    func model() throws(Fault) -> String {
        let copy = folder + "/model"
        if access(copy + "/model_index.json", F_OK) == 0 { return copy }
        let root = #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined()
        let source = try ModelFolder(path: root + "/Goldens/ruyi/i2v-bucket/model")
        for part in try [""] + source.names().filter(source.hasFolder) {
            mkdir(copy + "/" + part, 0o700)
            for name in try source.names(in: part) where try source.has(part.isEmpty ? name : part + "/" + name) {
                let inner = part.isEmpty ? name : part + "/" + name
                _ = file("model/" + inner, try source.bytes(inner))
            }
        }
        return copy
    }

    /// Removes the folder with everything in it.
    func remove() { Stage.remove(folder) }

    private static func remove(_ path: String) {
        if unlink(path) == 0 { return }
        guard let folder = opendir(path) else { return }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { remove(path + "/" + name) }
        }
        rmdir(path)
    }
}
