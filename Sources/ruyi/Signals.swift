import Glibc
import RuyiEngine
import Synchronization

/// The end of the pipe into which the handler writes; -1 before the pipe exists.
nonisolated(unsafe) private var wakeDescriptor: Int32 = -1

/// What was done about each signal before, by its number.
nonisolated(unsafe) private let formerActions = {
    let actions = UnsafeMutablePointer<sigaction>.allocate(capacity: 128)
    actions.initialize(repeating: sigaction(), count: 128)
    return actions
}()

/// Turns signals into a request to stop, a second one into the end, and SIGUSR1 into a report.
///
/// The handler only writes the signal's number into a pipe; a thread reads it and does the rest.
final class Signals: Sendable {
    /// Set by the first signal.
    let cancellation = Cancellation()
    private let first = Atomic<Int32>(0)
    private let status = Mutex<(@Sendable () -> Void)?>(nil)

    /// The signal that asked for the stop, if any did.
    var received: Int32? {
        let signal = first.load(ordering: .relaxed)
        return signal == 0 ? nil : signal
    }

    /// The exit code for a signal: 130 from the keyboard, 143 for the others.
    static func exitCode(_ signal: Int32) -> Int32 { signal == SIGINT ? 130 : 143 }

    /// Begins to listen.
    ///
    /// A broken pipe and a file-size limit show as errors of the write from here on.
    func listen() {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        wakeDescriptor = ends[1]
        let reading = ends[0]
        watch(reading)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in
            let kept = errno
            var number = UInt8(truncatingIfNeeded: signal)
            _ = write(wakeDescriptor, &number, 1)
            errno = kept
        }
        action.sa_flags = Int32(SA_RESTART)
        // A caller may have started the program from a thread that blocks signals, and the mask is inherited.
        var heard = sigset_t()
        sigemptyset(&heard)
        let asking = [SIGINT, SIGTERM, SIGUSR1]
        for number in asking + Signals.ending { sigaddset(&heard, number) }
        pthread_sigmask(SIG_UNBLOCK, &heard, nil)
        for number in asking { sigaction(number, &action, nil) }
        for number in Signals.ending {
            var before = sigaction()
            sigaction(number, nil, &before)
            // `nohup` means that the end of the terminal is not the end of the run, and a profiler has its own handler.
            if Signals.isDefault(before) { sigaction(number, &action, nil) }
        }
        Signals.tidyAfterCrashes()
    }

    /// Signals that end a process which does nothing about them; here they ask for the end as SIGTERM does.
    private static let ending: [Int32] =
        [SIGHUP, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR2, SIGIO, SIGPWR, SIGSTKFLT]
        + (__libc_current_sigrtmin()...__libc_current_sigrtmax())

    /// Signals after which nothing can go on.
    private static let crashing: [Int32] = [SIGQUIT, SIGABRT, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS]

    /// Removes the temporaries when a signal ends the process at once, which it then does as it would have.
    private static func tidyAfterCrashes() {
        // A stack that has overflown has no room for the handler.
        var stack = stack_t()
        if sigaltstack(nil, &stack) == 0, Int(stack.ss_flags) & Int(SS_DISABLE) != 0 {
            stack = stack_t()
            stack.ss_size = 64 << 10
            stack.ss_sp = UnsafeMutableRawPointer.allocate(byteCount: stack.ss_size, alignment: 16)
            sigaltstack(&stack, nil)
        }
        var action = sigaction()
        action.__sigaction_handler.sa_sigaction = { signal, info, _ in
            Engine.tidy()
            // What somebody has sent ends the process; only a fault of its own is worth a look at where it was.
            if let info, info.pointee.si_code <= 0 {
                var standard = sigaction()
                sigaction(signal, &standard, nil)
            } else {
                sigaction(signal, formerActions + Int(signal), nil)
            }
            raise(signal)
        }
        action.sa_flags = Int32(SA_ONSTACK) | SA_SIGINFO
        for number in crashing {
            sigaction(number, &action, formerActions + Int(number))
            if isIgnored(formerActions[Int(number)]) { sigaction(number, formerActions + Int(number), nil) }
        }
    }

    /// Calls `report` whenever somebody asks with SIGUSR1 how far the run is, from a thread of its own.
    func answerStatus(_ report: @escaping @Sendable () -> Void) { status.withLock { $0 = report } }

    private static func isIgnored(_ action: sigaction) -> Bool {
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }

    private static func isDefault(_ action: sigaction) -> Bool {
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 0
    }

    /// Reads the pipe on a thread of its own for as long as the process lives.
    private func watch(_ descriptor: Int32) {
        let box = Unmanaged.passRetained(Watch(signals: self, descriptor: descriptor))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<Watch>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        if code == 0 { pthread_detach(thread) } else { box.release() }
    }

    fileprivate func arrived(_ signal: Int32) {
        if signal == SIGUSR1 {
            status.withLock { $0 }?()
            return
        }
        let (isFirst, _) = first.compareExchange(expected: 0, desired: signal, ordering: .relaxed)
        if isFirst {
            cancellation.cancel()
        } else {
            Engine.removeTemporaries()
            _exit(Signals.exitCode(signal))
        }
    }
}

private final class Watch: Sendable {
    let signals: Signals
    let descriptor: Int32

    init(signals: Signals, descriptor: Int32) {
        self.signals = signals
        self.descriptor = descriptor
    }

    func run() {
        var number: UInt8 = 0
        while true {
            let count = read(descriptor, &number, 1)
            if count == 1 { signals.arrived(Int32(number)) } else if count == 0 || errno != EINTR { return }
        }
    }
}
