import Glibc
import RuyiFault
import RuyiTensor

/// A regular file mapped for reading.
///
/// The map lives as long as anybody holds the file or a storage made from it.
public final class MappedFile: PagedFile, @unchecked Sendable {
    private let file: OpenFile
    /// The first byte; nil for an empty file.
    ///
    /// Nothing writes through it.
    private let base: UnsafeMutableRawPointer?
    private let slot: Int?

    /// Maps a file.
    ///
    /// Throws `.cannotOpen` for what is missing or not a regular file, `.io` or `.resources` when mapping fails.
    public init(path: String, shown: String? = nil) throws(Fault) {
        let file = try OpenFile(path: path, shown: shown)
        let base = try file.map()
        slot = base.flatMap { MapRegistry.add(base: $0, byteCount: file.byteCount, path: file.path) }
        self.file = file
        self.base = base
    }

    deinit {
        if let slot { MapRegistry.remove(slot) }
        if let base { munmap(base, file.byteCount) }
    }

    /// The name for messages: the path it was opened under if nothing else was said.
    public var path: String { file.path }
    /// The size in bytes.
    public var byteCount: Int { file.byteCount }

    /// Copies a range, which must lie inside the file, by reading and not through the map: a file that shrinks or a
    /// failing disk becomes a fault instead of a signal.
    ///
    /// For headers and everything that is parsed.
    public func read(_ range: Range<Int>) throws(Fault) -> [UInt8] { try file.read(range) }

    /// A range, which must lie inside the file, as memory for tensors, without a copy.
    ///
    /// It keeps the map alive.
    public func storage(_ range: Range<Int>) -> HostStorage {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "\(range) is outside \(path)")
        guard let base else { return .zeros(byteCount: 0) }
        return HostStorage(base: base + range.lowerBound, byteCount: range.count, pages: (self, range)) { _, _ in
            withExtendedLifetime(self) {}
        }
    }

    /// Whether elements of this size can be read in place at a byte offset.
    func isAligned(_ offset: Int, to elementSize: Int) -> Bool { offset.isMultiple(of: elementSize) }

    /// A range copied into memory of its own, through the map: for data that lies askew.
    func copy(_ range: Range<Int>) -> HostStorage {
        let source = storage(range)
        let copy = HostStorage.zeros(byteCount: range.count)
        copy.base.copyMemory(from: source.base, byteCount: range.count)
        return copy
    }

    /// Throws `.badData` when the file's size or time of change is not what it was at opening.
    public func checkUnchanged() throws(Fault) { try file.checkUnchanged() }

    /// Tells the system that the pages inside a range are not needed soon.
    ///
    /// They are read again when touched.
    package func release(_ range: Range<Int>) { advise(range, MADV_DONTNEED, inward: true) }

    /// Tells the system to read a range ahead, which takes place while others compute.
    package func willNeed(_ range: Range<Int>) {
        // Of a longer range Linux reads the device's read-ahead size only.
        for start in stride(from: range.lowerBound, to: range.upperBound, by: MappedFile.readAhead) {
            advise(start..<min(start + MappedFile.readAhead, range.upperBound), MADV_WILLNEED, inward: false)
        }
    }

    /// The read-ahead size that Linux gives to most devices.
    private static let readAhead = 128 << 10

    private func advise(_ range: Range<Int>, _ advice: Int32, inward: Bool) {
        guard let base else { return }
        let page = sysconf(Int32(_SC_PAGESIZE))
        let part = range.clamped(to: 0..<byteCount)
        // Pages that other ranges share are kept.
        let first = inward ? (part.lowerBound + page - 1) / page * page : part.lowerBound / page * page
        let isAtEnd = part.upperBound == byteCount
        let last = inward && !isAtEnd ? part.upperBound / page * page : part.upperBound
        if first < last { madvise(base + first, last - first, advice) }
    }

    /// From here on a mapped file that shrinks or fails ends the process with one line that names the file and exit
    /// code 74, instead of a bare SIGBUS.
    ///
    /// To be called once at start.
    ///
    /// - Parameter cleanup: called first, from the signal handler: it may only do what signal handlers may.
    public static func installBusErrorHandler(cleanup: @escaping @convention(c) () -> Void) {
        MapRegistry.install(cleanup)
    }
}
