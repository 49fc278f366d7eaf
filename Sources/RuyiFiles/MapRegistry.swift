import Glibc
import RuyiFault
import Synchronization

/// Which file is mapped where, in a form that a signal handler can read: a fixed table, no locks, no allocation.
enum MapRegistry {
    /// One mapped file.
    ///
    /// A slot is free when `base` is 0, and being written when it is 1.
    fileprivate struct Slot: ~Copyable {
        let base = Atomic<UInt>(0)
        let byteCount = Atomic<UInt>(0)
        /// The address of the path, escaped for terminals, as a C string.
        let path = Atomic<UInt>(0)
    }

    fileprivate static let capacity = 1024
    /// Made once and never freed, since a handler may read it at any time.
    nonisolated(unsafe) fileprivate static let slots: UnsafeMutablePointer<Slot> = {
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: capacity)
        for index in 0..<capacity { (slots + index).initialize(to: Slot()) }
        return slots
    }()

    /// Enters a map; nil when the table is full, which costs only the name in the message.
    static func add(base: UnsafeMutableRawPointer, byteCount: Int, path: String) -> Int? {
        for index in 0..<capacity
        where slots[index].base.compareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged {
            slots[index].byteCount.store(UInt(byteCount), ordering: .relaxed)
            slots[index].path.store(UInt(bitPattern: strdup(Fault.printable(path))), ordering: .relaxed)
            slots[index].base.store(UInt(bitPattern: base), ordering: .releasing)
            return index
        }
        return nil
    }

    /// Takes a map out; called before it is unmapped.
    static func remove(_ index: Int) {
        slots[index].base.store(1, ordering: .sequentiallyConsistent)
        let path = slots[index].path.exchange(0, ordering: .sequentiallyConsistent)
        // While a handler runs the process is ending, and it may be reading the path.
        if !busErrorIsHandled.load(ordering: .sequentiallyConsistent) {
            free(UnsafeMutableRawPointer(bitPattern: path))
        }
        slots[index].base.store(0, ordering: .releasing)
    }

    static func install(_ cleanup: @escaping @convention(c) () -> Void) {
        busErrorSlots = slots
        busErrorCleanup = cleanup
        _ = busErrorIsHandled.load(ordering: .relaxed)
        var action = sigaction()
        action.__sigaction_handler.sa_sigaction = { _, info, _ in handleBusError(info) }
        action.sa_flags = SA_SIGINFO
        sigemptyset(&action.sa_mask)
        sigaction(SIGBUS, &action, nil)
    }
}

// What the handler reads: plain globals that are set before it is installed.
nonisolated(unsafe) private var busErrorSlots: UnsafeMutablePointer<MapRegistry.Slot>?
nonisolated(unsafe) private var busErrorCleanup: (@convention(c) () -> Void)?
private let busErrorIsHandled = Atomic<Bool>(false)

/// Ends the process with one line.
///
/// Runs in a signal handler: system calls and atomics only.
private func handleBusError(_ info: UnsafeMutablePointer<siginfo_t>?) {
    let address = UInt(bitPattern: info?.pointee._sifields._sigfault.si_addr)
    if busErrorIsHandled.exchange(true, ordering: .sequentiallyConsistent) {
        while true { pause() }  // another thread is ending the process
    }
    var path: UInt = 0
    if let slots = busErrorSlots {
        for index in 0..<1024 {
            let base = slots[index].base.load(ordering: .acquiring)
            let byteCount = slots[index].byteCount.load(ordering: .relaxed)
            if base > 1, address >= base, address - base < byteCount {
                path = slots[index].path.load(ordering: .relaxed)
            }
        }
    }
    guard let text = UnsafePointer<CChar>(bitPattern: path) else {
        // Not one of the mapped files: the fault repeats on return and ends the process as usual.
        signal(SIGBUS, SIG_DFL)
        return
    }
    if let cleanup = busErrorCleanup { cleanup() }
    writeError("ruyi: error: a mapped file became shorter or could not be read (")
    _ = write(STDERR_FILENO, text, strlen(text))
    writeError(")\nruyi: hint: leave model files alone during a run, and check the disk or the network share\n")
    _exit(Fault.Kind.io.rawValue)
}

private func writeError(_ text: StaticString) {
    _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
}
