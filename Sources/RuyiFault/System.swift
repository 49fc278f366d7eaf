#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The system calls that take or give the names of files, for names as `FileName` has them.
///
/// They return what the calls return and leave `errno` as the calls do. No other code hands a name to the system.
public enum System {
    /// Calls `body` with a path as the system takes it; `failure` with ENOENT where it holds a NUL.
    public static func withPath<Result>(
        _ path: String, failure: Result, _ body: (UnsafePointer<CChar>) -> Result
    ) -> Result {
        let bytes = FileName.bytes(of: path)
        guard !bytes.contains(0) else {
            errno = ENOENT
            return failure
        }
        return (bytes.map(CChar.init(bitPattern:)) + [0]).withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return failure }
            return body(start)
        }
    }

    /// Opens a file; -1 when that fails.
    public static func open(_ path: String, _ flags: Int32, _ mode: mode_t = 0) -> Int32 {
        withPath(path, failure: -1) { call in
            #if canImport(Glibc)
                Glibc.open(call, flags, mode)
            #else
                Darwin.open(call, flags, mode)
            #endif
        }
    }

    /// Looks at what a path leads to.
    public static func stat(_ path: String, _ status: inout stat) -> Int32 {
        withPath(path, failure: -1) { fstatat(AT_FDCWD, $0, &status, 0) }
    }

    /// Looks at a path without following its last link.
    public static func lstat(_ path: String, _ status: inout stat) -> Int32 {
        withPath(path, failure: -1) { fstatat(AT_FDCWD, $0, &status, AT_SYMLINK_NOFOLLOW) }
    }

    /// Asks whether something may be done to a file.
    public static func access(_ path: String, _ mode: Int32) -> Int32 {
        withPath(path, failure: -1) { faccessat(AT_FDCWD, $0, mode, 0) }
    }

    /// Makes a folder.
    public static func mkdir(_ path: String, _ mode: mode_t) -> Int32 {
        withPath(path, failure: -1) { mkdirat(AT_FDCWD, $0, mode) }
    }

    /// Removes an empty folder.
    @discardableResult
    public static func rmdir(_ path: String) -> Int32 {
        withPath(path, failure: -1) { unlinkat(AT_FDCWD, $0, AT_REMOVEDIR) }
    }

    /// Removes a file.
    @discardableResult
    public static func unlink(_ path: String) -> Int32 {
        withPath(path, failure: -1) { unlinkat(AT_FDCWD, $0, 0) }
    }

    /// Gives a file another name, replacing what has it.
    public static func rename(_ path: String, _ target: String) -> Int32 {
        withPath(path, failure: -1) { from in
            withPath(target, failure: -1) { renameat(AT_FDCWD, from, AT_FDCWD, $0) }
        }
    }

    /// Gives a file a second name.
    @discardableResult
    public static func link(_ path: String, _ target: String) -> Int32 {
        withPath(path, failure: -1) { from in
            withPath(target, failure: -1) { linkat(AT_FDCWD, from, AT_FDCWD, $0, 0) }
        }
    }

    /// Asks for the size and the free space of a file system.
    public static func statvfs(_ path: String, _ status: inout statvfs) -> Int32 {
        withPath(path, failure: -1) { spaceOfFileSystem($0, &status) }
    }

    /// The absolute path without links; nil when that fails.
    public static func realpath(_ path: String) -> String? {
        withPath(path, failure: nil) { call in
            #if canImport(Glibc)
                let resolved = Glibc.realpath(call, nil)
            #else
                let resolved = Darwin.realpath(call, nil)
            #endif
            guard let resolved else { return nil }
            defer { free(resolved) }
            return FileName.text(resolved)
        }
    }

    /// The names in a folder in no order, without `.` and `..`; nil when it cannot be listed.
    public static func names(in path: String) -> [String]? {
        withPath(path, failure: nil) { call in
            guard let folder = opendir(call) else { return nil }
            defer { closedir(folder) }
            var names: [String] = []
            errno = 0
            while let entry = readdir(folder) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { FileName.text($0.prefix { $0 != 0 }) }
                if name != ".", name != ".." { names.append(name) }
                errno = 0
            }
            return errno == 0 ? names : nil
        }
    }

    /// The value of an environment variable, which may hold the name of a file; nil where it is not set.
    public static func variable(_ name: String) -> String? { getenv(name).map { FileName.text($0) } }
}

/// The call whose name, inside `System`, is that of the function there and of a type outside.
private func spaceOfFileSystem(_ path: UnsafePointer<CChar>, _ status: inout statvfs) -> Int32 {
    statvfs(path, &status)
}

extension Fault {
    /// A fault from a failed system call.
    ///
    /// The kind is what the error number says of the machine (too many open files and no memory are `.resources`, a
    /// failing disk `.io`), and `kind` for the others.
    public static func system(
        _ kind: Kind, _ what: String, _ path: String? = nil, _ code: Int32, hint: String? = nil
    ) -> Fault {
        let reason = String(cString: strerror(code)).lowercased()
        switch code {
        case EMFILE, ENFILE:
            return Fault(
                .resources, "\(what): \(reason)", at: path, hint: "allow more open files with 'ulimit -n', 256 or more")
        case ENOMEM: return Fault(.resources, "\(what): \(reason)", at: path, hint: hint)
        case EIO: return Fault(.io, "\(what): \(reason)", at: path, hint: hint)
        default: return Fault(kind, "\(what): \(reason)", at: path, hint: hint)
        }
    }

    /// Whether it is the machine that failed, so that nothing is known about what was looked at.
    public var isOfSystem: Bool { kind == .io || kind == .resources }
}
