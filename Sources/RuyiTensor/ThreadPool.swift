import Glibc
import Synchronization

/// The program's worker threads.
///
/// Work is a list of independent tasks; which thread takes which task does not matter to the result, because a task's
/// result depends on its index alone.
public final class ThreadPool: @unchecked Sendable {
    /// Threads that work at one time, the caller included.
    public let threadCount: Int
    private let cancellation: Cancellation
    private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var idle = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // Guarded by `mutex`.
    private var body: (@Sendable (Int) -> Void)?
    private var generation = 0
    private var working = 0
    private var stopping = false
    private var threads: [pthread_t] = []
    private let submission = Mutex<Void>(())
    // The next task, and the number of tasks.
    private let next = Atomic<Int>(0)
    private let taskCount = Atomic<Int>(0)

    /// Whether tasks are left undone, for a backend that only counts memory.
    private let isIdle: Bool

    /// Starts `threadCount − 1` workers, or none if the pool is to be idle.
    ///
    /// A cancelled run skips the tasks that have not begun, an idle pool all of them.
    public init(threadCount: Int, cancellation: Cancellation, isIdle: Bool = false) {
        precondition(threadCount > 0, "a pool needs at least one thread")
        self.threadCount = threadCount
        self.cancellation = cancellation
        self.isIdle = isIdle
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(idle, nil)
        for _ in 1..<(isIdle ? 1 : threadCount) {
            var thread = pthread_t()
            var attributes = pthread_attr_t()
            pthread_attr_init(&attributes)
            pthread_attr_setstacksize(&attributes, 4 << 20)
            let argument = Unmanaged.passUnretained(self).toOpaque()
            let status = pthread_create(
                &thread, &attributes,
                { argument in
                    if let argument { Unmanaged<ThreadPool>.fromOpaque(argument).takeUnretainedValue().work() }
                    return nil
                }, argument)
            pthread_attr_destroy(&attributes)
            if status == 0 { threads.append(thread) }
        }
    }

    deinit {
        pthread_mutex_lock(mutex)
        stopping = true
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
        for thread in threads { pthread_join(thread, nil) }
        pthread_cond_destroy(idle)
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        idle.deallocate()
        wake.deallocate()
        mutex.deallocate()
    }

    /// Runs `body(0) ... body(count − 1)`, each once, on all threads, and returns when all have ended.
    ///
    /// Callers on several threads take turns. Must not be called from inside a task.
    public func parallel(_ count: Int, _ body: @Sendable (Int) -> Void) {
        guard count > 0, !isIdle else { return }
        if count == 1 || threads.isEmpty {
            for index in 0..<count where !cancellation.isCancelled { body(index) }
            return
        }
        submission.withLock { _ in withoutActuallyEscaping(body, do: { run(count, $0) }) }
    }

    private func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        next.store(0, ordering: .relaxed)
        taskCount.store(count, ordering: .relaxed)
        pthread_mutex_lock(mutex)
        self.body = body
        generation += 1
        working = threads.count
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
        drain(body)
        pthread_mutex_lock(mutex)
        while working > 0 { pthread_cond_wait(idle, mutex) }
        self.body = nil
        pthread_mutex_unlock(mutex)
    }

    private func drain(_ body: @Sendable (Int) -> Void) {
        let count = taskCount.load(ordering: .relaxed)
        while !cancellation.isCancelled {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if index >= count { return }
            body(index)
        }
    }

    /// Works on the current list.
    ///
    /// On return nothing holds its closure, which must not outlive `parallel`.
    @inline(never)
    private func drainCurrent() {
        pthread_mutex_lock(mutex)
        let current = body
        pthread_mutex_unlock(mutex)
        if let current { drain(current) }
    }

    private func work() {
        // Signals belong to the main thread.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
        var seen = 0
        while true {
            pthread_mutex_lock(mutex)
            while generation == seen && !stopping { pthread_cond_wait(wake, mutex) }
            if stopping {
                pthread_mutex_unlock(mutex)
                return
            }
            seen = generation
            pthread_mutex_unlock(mutex)
            drainCurrent()
            pthread_mutex_lock(mutex)
            working -= 1
            if working == 0 { pthread_cond_signal(idle) }
            pthread_mutex_unlock(mutex)
        }
    }
}
