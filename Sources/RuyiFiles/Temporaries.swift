import Glibc
import RuyiFault
import Synchronization

/// The temporary files and folders of this process, in a form that a signal handler can remove.
///
/// The table has a fixed size and holds C strings; `removeAll` takes no lock and allocates nothing.
public enum Temporaries {
    /// How many there can be at once.
    public static let capacity = 65_536

    /// A file or an empty folder; folders are removed after files.
    enum Kind: UInt {
        case file = 0
        case folder = 1
    }

    /// Addresses of C strings with the kind in the lowest bit; 0 is free.
    ///
    /// Made once and never freed.
    nonisolated(unsafe) fileprivate static let slots: UnsafeMutablePointer<AtomicSlot> = {
        let slots = UnsafeMutablePointer<AtomicSlot>.allocate(capacity: capacity)
        for index in 0..<capacity { (slots + index).initialize(to: AtomicSlot()) }
        temporarySlots = slots
        return slots
    }()

    /// Where to look for a free slot first.
    private static let hint = Atomic<Int>(0)

    /// Enters a path before the thing is made, so that a signal in between leaves nothing.
    ///
    /// Throws when the table is full.
    static func add(_ path: String, _ kind: Kind) throws(Fault) -> Int {
        guard let text = System.withPath(path, failure: nil, { strdup($0) }) else {
            throw Fault(.resources, "no memory for a name", at: path)
        }
        let value = UInt(bitPattern: text)
        // malloc aligns to 16 bytes: the lowest bit is free.
        let tagged = value | kind.rawValue
        let first = hint.load(ordering: .relaxed)
        for step in 0..<capacity {
            let index = (first + step) % capacity
            let slot = slots + index
            if slot.pointee.value.compareExchange(expected: 0, desired: tagged, ordering: .sequentiallyConsistent)
                .exchanged
            {
                hint.store((index + 1) % capacity, ordering: .relaxed)
                highestTemporary.max(index + 1, ordering: .sequentiallyConsistent)
                return index
            }
        }
        free(text)
        throw Fault(.resources, "more than \(capacity) temporary files", at: path)
    }

    /// Takes a path out, after the thing has got its final name or is gone.
    static func remove(_ index: Int) {
        let value = slots[index].value.exchange(0, ordering: .sequentiallyConsistent)
        // A handler that is at work may be reading the text: then it is left, since the process is ending.
        if !isRemovingTemporaries.load(ordering: .sequentiallyConsistent) {
            free(UnsafeMutableRawPointer(bitPattern: value & ~1))
        }
        hint.store(index, ordering: .relaxed)
    }

    /// Removes every temporary file and folder.
    ///
    /// May be called from a signal handler and on any fatal path; nothing is thrown, and what is gone already does not
    /// matter.
    public static func removeAll() { removeTemporaries() }

    /// Removes what a process that was killed has left of an output, however long ago that was.
    ///
    /// For callers who know that nobody else is writing this target, whose name has at most 200 bytes.
    public static func removeLeftovers(of target: String) {
        guard let place = try? OutputTarget(target) else { return }
        TemporaryName.sweep(place.folder, targets: [place.name])
    }

    /// `removeAll` as a C function, for `MappedFile.installBusErrorHandler` and the like.
    public static let removeAllFunction: @convention(c) () -> Void = { removeTemporaries() }
}

/// One entry of the table.
private struct AtomicSlot: ~Copyable {
    let value = Atomic<UInt>(0)
}

// What the handler reads: plain globals.
nonisolated(unsafe) private var temporarySlots: UnsafeMutablePointer<AtomicSlot>?
private let highestTemporary = Atomic<Int>(0)
private let isRemovingTemporaries = Atomic<Bool>(false)

/// Runs in signal handlers: system calls and atomics only.
private func removeTemporaries() {
    guard let slots = temporarySlots else { return }
    let error = errno
    isRemovingTemporaries.store(true, ordering: .sequentiallyConsistent)
    let count = highestTemporary.load(ordering: .sequentiallyConsistent)
    var kind: UInt = 0
    while kind <= 1 {
        var index = 0
        while index < count {
            let value = slots[index].value.load(ordering: .sequentiallyConsistent)
            if value & 1 == kind, let path = UnsafePointer<CChar>(bitPattern: value & ~1) {
                if kind == 0 { unlink(path) } else { rmdir(path) }
            }
            index += 1
        }
        kind += 1
    }
    isRemovingTemporaries.store(false, ordering: .sequentiallyConsistent)
    errno = error
}
