import Glibc
import RuyiFault

/// Where an output goes: its folder and name, checked before anything is written.
struct OutputTarget: Sendable {
    let path: String
    let folder: String
    let name: String

    /// Takes a path apart.
    ///
    /// Throws `.cannotCreate` for what cannot be the name of a file, and when the folder is missing or cannot be
    /// written to.
    init(_ path: String) throws(Fault) {
        // By bytes: a slash and an accent behind it are one character.
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        name = String(slash.map { path[path.utf8.index(after: $0)...] } ?? path[...])
        let before = slash.map { String(path[..<$0]) }
        folder = before.map { $0.isEmpty ? "/" : $0 } ?? "."
        self.path = path
        guard !name.isEmpty, name != ".", name != "..", !path.utf8.contains(0) else {
            throw Fault(.cannotCreate, "not the name of a file", at: path, hint: "name a file, such as clip.mp4")
        }
        guard FileName.bytes(of: name).count <= 255 else {
            throw Fault(.cannotCreate, "the name has more than 255 bytes", at: path)
        }
        var status = stat()
        guard System.stat(folder, &status) == 0 else {
            let hint = errno == ENOENT ? "make the folder first: mkdir -p \(folder)" : nil
            throw Fault.system(.cannotCreate, "cannot write into the folder \(folder)", path, errno, hint: hint)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw Fault(.cannotCreate, "\(folder) is not a folder", at: path)
        }
        guard System.access(folder, W_OK | X_OK) == 0 else {
            throw Fault.system(
                .cannotCreate, "cannot write into the folder \(folder)", path, errno,
                hint: "choose another place with --output, or change the folder's permissions")
        }
    }

    private init(folder: String, name: String, path: String) {
        self.folder = folder
        self.name = name
        self.path = path
    }

    /// Another name in the same folder.
    func sibling(_ name: String) -> OutputTarget {
        OutputTarget(folder: folder, name: name, path: folder == "." ? name : place(of: name))
    }

    /// The path of a name in the folder.
    func place(of name: String) -> String { folder == "/" ? "/" + name : folder + "/" + name }

    /// Throws `.cannotCreate` when something is there that must not or cannot be replaced.
    func check(overwrite: Bool) throws(Fault) {
        var status = stat()
        guard System.lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR { throw Fault(.cannotCreate, "there is a folder of this name", at: path) }
        if !overwrite { throw exists }
        if status.st_mode & S_IFMT != S_IFREG, status.st_mode & S_IFMT != S_IFLNK {
            throw Fault(.cannotCreate, "there is something other than a file of this name", at: path)
        }
    }

    private var exists: Fault {
        Fault(.cannotCreate, "the file exists", at: path, hint: "choose another name, or replace it with --overwrite")
    }

    /// Gives a finished temporary its final name in one step.
    func take(_ temporary: String, overwrite: Bool) throws(Fault) {
        try check(overwrite: overwrite)
        if overwrite {
            guard System.rename(temporary, path) == 0 else { throw failure(errno) }
            return
        }
        if let renameat2 = OutputTarget.renameat2 {
            let code = System.withPath(temporary, failure: -1) { from in
                System.withPath(path, failure: -1) { renameat2(AT_FDCWD, from, AT_FDCWD, $0, 1) }
            }
            if code == 0 { return }
            if errno == EEXIST { throw exists }
            // File systems that do not know the flag say so; every other failure is one.
            if errno != EINVAL, errno != ENOSYS, errno != EOPNOTSUPP { throw failure(errno) }
        }
        guard System.link(temporary, path) == 0 else { throw errno == EEXIST ? exists : failure(errno) }
        System.unlink(temporary)
    }

    private func failure(_ code: Int32) -> Fault {
        OutputTarget.fault(code, "cannot give the finished file its name", path, otherwise: .cannotCreate)
    }

    /// A full disk and failing hardware are `.io`, whatever was being done.
    static func fault(_ code: Int32, _ what: String, _ path: String, otherwise: Fault.Kind) -> Fault {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: Fault.system(.io, what, path, code, hint: "free some space and run again")
        default: Fault.system(otherwise, what, path, code)
        }
    }

    /// Brings the contents of a file or folder to the disk.
    static func synchronise(_ path: String, shown: String) throws(Fault) {
        let descriptor = System.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Fault.system(.io, "cannot bring the file to the disk", shown, errno) }
        defer { close(descriptor) }
        // Some file systems cannot do this for folders and say EINVAL.
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw fault(errno, "cannot bring the file to the disk", shown, otherwise: .io)
        }
    }

    private typealias Rename =
        @convention(c) (CInt, UnsafePointer<CChar>, CInt, UnsafePointer<CChar>, CUnsignedInt) -> CInt
    /// Looked up by name: the C library's module does not declare it.
    private static let renameat2: Rename? = dlsym(nil, "renameat2").map { unsafeBitCast($0, to: Rename.self) }
}
