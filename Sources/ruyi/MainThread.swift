import Glibc

/// The thread that the program runs on.
///
/// `ulimit -s` may give the first thread, and all those that libraries make, a stack that is too small for anything: then
/// it is another one. A second thread takes address space for memory of its own, which few can spare.
enum MainThread {
    private static let stackSize = 8 << 20

    private final class Work: Sendable {
        let body: @Sendable () -> Int32

        init(_ body: @escaping @Sendable () -> Int32) { self.body = body }
    }

    /// Runs `body` on a thread with a stack that is large enough, and returns what it returns.
    static func run(_ body: @escaping @Sendable () -> Int32) -> Int32 {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_STACK.rawValue), &limit) == 0, limit.rlim_cur < 1 << 20 else {
            return body()
        }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackSize)
        setDefault(&attributes)
        var thread = pthread_t()
        let work = Unmanaged.passRetained(Work(body))
        let code = pthread_create(
            &thread, &attributes,
            { raw in
                guard let raw else { return nil }
                let code = Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body()
                return UnsafeMutableRawPointer(bitPattern: Int(code))
            }, work.toOpaque())
        guard code == 0 else { return work.takeRetainedValue().body() }
        var result: UnsafeMutableRawPointer?
        pthread_join(thread, &result)
        return Int32(truncatingIfNeeded: Int(bitPattern: result))
    }

    private typealias SetDefault = @convention(c) (UnsafePointer<pthread_attr_t>) -> CInt

    /// Gives every thread that is made later such a stack, where the C library can do that.
    private static func setDefault(_ attributes: inout pthread_attr_t) {
        // Looked up by name: the C library's module does not declare it.
        guard let function = dlsym(nil, "pthread_setattr_default_np") else { return }
        _ = unsafeBitCast(function, to: SetDefault.self)(&attributes)
    }
}
