import Glibc
import Synchronization

/// The program's worker threads.
///
/// Work is a list of independent tasks; which thread takes which task does not matter to the result, because a task's
/// result depends on its index alone.
package final class ThreadPool: @unchecked Sendable {
    /// Threads that work at one time, the caller included.
    package let threadCount: Int
    private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var idle = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // Guarded by `mutex`.
    private var work: (body: @Sendable (Int) -> Void, halt: Halt)?
    private var generation = 0
    private var working = 0
    private var stopping = false
    private var threads: [pthread_t] = []
    private let submission = Mutex<Void>(())
    // The next task, and the number of tasks.
    private let next = Atomic<Int>(0)
    private let taskCount = Atomic<Int>(0)

    /// Starts `threadCount − 1` workers.
    package init(threadCount: Int) {
        precondition(threadCount > 0, "a pool needs at least one thread")
        self.threadCount = threadCount
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(idle, nil)
        for _ in 1..<threadCount {
            var thread = pthread_t()
            var attributes = pthread_attr_t()
            pthread_attr_init(&attributes)
            pthread_attr_setstacksize(&attributes, 4 << 20)
            let argument = Unmanaged.passUnretained(self).toOpaque()
            let status = pthread_create(
                &thread, &attributes,
                { argument in
                    if let argument { Unmanaged<ThreadPool>.fromOpaque(argument).takeUnretainedValue().serve() }
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
    /// Tasks that have not begun when `halt` says so are skipped. Callers on several threads take turns. Must not be
    /// called from inside a task.
    package func parallel(_ count: Int, _ halt: Halt, _ body: @Sendable (Int) -> Void) {
        guard count > 0 else { return }
        if count == 1 || threads.isEmpty {
            for index in 0..<count where !halt.isHalted { body(index) }
            return
        }
        submission.withLock { _ in withoutActuallyEscaping(body, do: { run(count, halt, $0) }) }
    }

    private func run(_ count: Int, _ halt: Halt, _ body: @escaping @Sendable (Int) -> Void) {
        next.store(0, ordering: .relaxed)
        taskCount.store(count, ordering: .relaxed)
        pthread_mutex_lock(mutex)
        work = (body, halt)
        generation += 1
        working = threads.count
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
        drain(body, halt)
        pthread_mutex_lock(mutex)
        while working > 0 { pthread_cond_wait(idle, mutex) }
        work = nil
        pthread_mutex_unlock(mutex)
    }

    private func drain(_ body: @Sendable (Int) -> Void, _ halt: Halt) {
        let count = taskCount.load(ordering: .relaxed)
        while !halt.isHalted {
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
        let current = work
        pthread_mutex_unlock(mutex)
        if let current { drain(current.body, current.halt) }
    }

    private func serve() {
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
