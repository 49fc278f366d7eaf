import Glibc

/// The thread that has parts of mapped files read before they are used, in the order in which they are asked for.
///
/// The system keeps whoever asks it waiting while the device's queue is full; that is this thread, and nobody who computes.
final class ReadAhead: @unchecked Sendable {
    static let shared = ReadAhead()

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // Guarded by `mutex`.
    private var requests: [(file: MappedFile, range: Range<Int>)] = []
    private var hasThread = false

    private init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
    }

    /// Has a range of a file read soon.
    func add(_ file: MappedFile, _ range: Range<Int>) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if !hasThread { hasThread = start() }
        // Without a thread nothing is read ahead.
        guard hasThread else { return }
        requests.append((file, range))
        pthread_cond_signal(wake)
    }

    private func start() -> Bool {
        var (thread, attributes) = (pthread_t(), pthread_attr_t())
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        return pthread_create(
            &thread, &attributes,
            { _ in
                ReadAhead.shared.serve()
                return nil
            }, nil) == 0
    }

    private func serve() {
        // Signals belong to the main thread.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
        while true {
            let request = next()
            request.file.fetch(request.range)
        }
    }

    /// Waits for the next request.
    private func next() -> (file: MappedFile, range: Range<Int>) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while requests.isEmpty { pthread_cond_wait(wake, mutex) }
        return requests.removeFirst()
    }
}
